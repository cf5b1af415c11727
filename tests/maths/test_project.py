"""Slices against numpy's transforms of turned maps, the written-down transform of a blob, and EMAN2's projections."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.maths.fourier.polar import PolarGrid
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.image.phantom import random_rotations
from mpirefine.maths.likelihood.central_slices import in_plane, polar_slices, slices
from tests.arrays import load_npz

WIDTH = 1.8


def plane(nx):
    """Points (h, k, 2) of an image's half-spectrum, without the Nyquist frequencies of even boxes."""
    full, half = np.fft.fftfreq(nx) * nx, np.arange((nx + 1) // 2)
    full = full[np.abs(full) < nx / 2]
    return np.stack(np.broadcast_arrays(half[None], full[:, None]), -1)


def transform(image, points):
    """Values of a centred image's transform at whole points, by numpy."""
    spectrum = np.fft.fft2(np.fft.ifftshift(image))
    x, y = points[..., 0].astype(int), points[..., 1].astype(int)
    return spectrum[y, x]


def blob(nx, centre):
    """A Gaussian at x, y, z from the origin."""
    z, y, x = np.mgrid[:nx, :nx, :nx] - nx // 2
    return np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2) / (2 * WIDTH**2))


def blob_transform(points, nx, centre):
    """Transform of its projection when the image's centre of mass is `centre` (x, y)."""
    k2 = (points**2).sum(axis=-1) / nx**2
    return (2 * np.pi * WIDTH**2) ** 1.5 * np.exp(
        -2 * np.pi**2 * WIDTH**2 * k2 - 2j * np.pi * (points @ np.asarray(centre)) / nx
    )


@pytest.mark.parametrize("nx", [15, 16])
def test_identity_is_the_sum_along_z(nx, rng):
    volume, points = rng.standard_normal((nx,) * 3), plane(nx)
    found = slices(volume, np.eye(3)[None], points)[0]
    np.testing.assert_allclose(found, transform(volume.sum(axis=0), points), atol=1e-3 * nx**1.5)


@pytest.mark.parametrize(
    "rotation, image",
    [
        ([[0, 1, 0], [0, 0, 1], [1, 0, 0]], lambda v: v.sum(axis=2)),  # x' = y, y' = z, seen along x
        ([[1, 0, 0], [0, 0, -1], [0, 1, 0]], lambda v: v.sum(axis=1)[::-1]),  # y' = -z, seen along y
        ([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], lambda v: v.sum(axis=0)[:, ::-1].T),  # a quarter turn in the plane
        ([[-1, 0, 0], [0, 1, 0], [0, 0, -1]], lambda v: v.sum(axis=0)[:, ::-1]),  # from behind
    ],
)
def test_quarter_turns_are_sums_along_axes(rotation, image, rng):
    volume, points = rng.standard_normal((15,) * 3), plane(15)
    rotation = np.array(rotation, float)
    assert np.linalg.det(rotation) == pytest.approx(1)
    expected = transform(image(volume), points)
    found = slices(volume, rotation[None], points)[0]
    np.testing.assert_allclose(found, expected, atol=1e-3 * 15**1.5)


@pytest.mark.parametrize("nx", [23, 24])
def test_a_blob_lands_where_the_rotation_takes_it(nx):
    centre, points = np.array([3.0, -2.0, 1.5]), plane(nx)
    rotations = Rotation.random(6, random_state=1).as_matrix()
    for rotation, found in zip(rotations, slices(blob(nx, centre), rotations, points)):
        expected = blob_transform(points, nx, (rotation @ centre)[:2])
        np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("mirror", [False, True])
def test_in_plane_mirrors_then_turns(mirror, rng):
    """Content at x, y of the projection is at y → −y when mirrored, then turned clockwise by the angle (axes turn the
    other way).
    """
    centre, points = np.array([2.0, 3.0, -1.0]), plane(24)
    rotation, angle = Rotation.random(random_state=2).as_matrix(), 0.6
    full = in_plane(rotation[None], np.array([angle]), np.array([mirror]))
    x, y = (rotation @ centre)[:2]
    turned = (x + 1j * (-y if mirror else y)) * np.exp(-1j * angle)
    found = slices(blob(24, centre), full, points)[0]
    expected = blob_transform(points, 24, (turned.real, turned.imag))
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())
    assert np.linalg.det(full[0]) == pytest.approx(1)


def test_in_plane_turn_is_phi():
    angles = np.array([20.0, -75.0])
    full = in_plane(rotation_from_eman([10, 30], [40, 50], 0), np.radians(angles), np.zeros(2, bool))
    np.testing.assert_allclose(full, rotation_from_eman([10, 30], [40, 50], angles), atol=1e-12)


@pytest.mark.parametrize("name", ["c3", "d2", "tet", "oct"])
def test_a_symmetric_map_looks_the_same_from_all_copies(name):
    group, points = operations(name), plane(24)
    volume = sum(blob(24, operation @ [4.0, 1.0, 2.5]) for operation in group)
    views = Rotation.random(random_state=4).as_matrix() @ group
    found = slices(volume, views, points)
    np.testing.assert_allclose(found, np.broadcast_to(found[:1], found.shape), atol=3e-3 * np.abs(found).max())
    stranger = slices(volume, Rotation.random(1, random_state=5).as_matrix(), points)
    assert np.abs(stranger - found[:1]).max() > 0.02 * np.abs(found).max()


def test_opposite_points_are_conjugates(rng):
    volume, rotations = rng.standard_normal((16,) * 3), random_rotations(3, rng)
    points = rng.uniform(-7, 7, (20, 2))
    np.testing.assert_allclose(slices(volume, rotations, -points), slices(volume, rotations, points).conj(), atol=0.05)


def test_many_directions_are_cut_into_calls(monkeypatch, rng):
    volume, rotations, points = rng.standard_normal((16,) * 3), random_rotations(7, rng), rng.uniform(-7, 7, (4, 5, 2))
    whole = slices(volume, rotations, points)
    monkeypatch.setattr("mpirefine.maths.likelihood.central_slices.POINTS_PER_CALL", 45)
    cut = slices(volume, rotations, points)
    assert cut.shape == (7, 4, 5) and cut.dtype == np.complex64
    np.testing.assert_allclose(cut, whole, atol=0.02)


@pytest.mark.parametrize("directions, points", [(0, 4), (3, 0)])
def test_nothing_asked_for(directions, points):
    assert slices(np.ones((8,) * 3), np.zeros((directions, 3, 3)), np.zeros((points, 2))).shape == (directions, points)


def test_polar_slices_are_the_blob_on_rings():
    grid, centre = PolarGrid(24, 9, 40, first=0), np.array([-2.0, 1.0, 3.0])
    rotation = Rotation.random(random_state=6).as_matrix()
    found = polar_slices(blob(24, centre), rotation[None], grid)[0]
    angle = 2 * np.pi * np.arange(20) / 40
    points = np.arange(10)[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    expected = blob_transform(points, 24, (rotation @ centre)[:2])
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("key, volume", [("std28", "vol28"), ("std27", "vol27"), ("std24", "vol24")])
def test_projections_are_those_of_eman2(oracle, key, volume):
    """Near the centre: its `standard` projector leaves out the corners of the map. Oblique views: it interpolates
    linearly.
    """
    arrays = load_npz(oracle / "projections.npz")
    orientations = np.array(json.loads((oracle / "projections.json").read_text())["orientations"], float)
    nx, theirs = len(arrays[volume]), arrays[key]
    points = np.stack(np.broadcast_arrays(np.arange(nx // 2 + 1), (np.fft.fftfreq(nx) * nx)[:, None]), -1)
    spectra = slices(arrays[volume], rotation_from_eman(*orientations.T), points)
    ours = np.fft.fftshift(np.fft.irfft2(spectra, s=(nx, nx)), axes=(1, 2))
    y, x = np.mgrid[:nx, :nx] - nx // 2
    centre = np.hypot(x, y) < 0.3 * nx
    np.testing.assert_allclose(ours[:2, centre], theirs[:2, centre], atol=1e-3 * theirs.std())
    alike = np.corrcoef(ours[:, centre], theirs[:, centre])[:12, 12:]
    assert np.diag(alike).min() > 0.96
    assert (alike.argmax(axis=1) == np.arange(12)).all()
