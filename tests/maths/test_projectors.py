"""Projectors: sums along axes, moments, shifts, mirrors, and the Fourier slices' agreement with line integrals."""

import inspect

import numpy as np
import pytest
from scipy import ndimage

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.gridding import PROJECTORS
from mpirefine.maths.eman2.projectors import KERNELS, gauss_fft, maxval, pawel, standard

VIEW = rotation_from_eman([25.0], [70.0], [130.0])


def noise(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, n, n)).astype(np.float32)


def blobs(n):
    """A smooth map well inside its box."""
    z, y, x = np.indices((n, n, n)) - n // 2
    places = ((1.0, (2, -3, 1)), (0.7, (-4, 2, 3)), (1.3, (1, 4, -3)))
    return sum(h * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 8.0) for h, (a, b, c) in places).astype(
        np.float32
    )


def integral(volume, rotation, reduce=np.sum):
    """scipy's turned map, summed."""
    back, centre = np.linalg.inv(rotation)[::-1, ::-1], np.full(3, len(volume) // 2)
    turned = ndimage.affine_transform(volume.astype(np.float64), back, centre - back @ centre, order=1, prefilter=False)
    return reduce(turned, axis=0)


@pytest.mark.parametrize(
    "angles, turned",
    [
        ((0, 0, 0), lambda v: v),
        ((0, 180, 0), lambda v: v[::-1, ::-1]),
        ((0, 90, 0), lambda v: np.swapaxes(v, 0, 1)[::-1]),
        ((90, 90, 0), lambda v: np.transpose(v, (2, 0, 1))),
        ((90, 90, 90), lambda v: np.swapaxes(v, 0, 2)[:, ::-1]),
    ],
)
def test_quarter_turns_lose_no_plane(angles, turned):
    """Map axes z, y, x become those of the image: the sum is over the whole box, border and all."""
    volume = noise(15)
    ours = standard(volume, rotation_from_eman(*([float(a)] for a in angles)), None, 1.0)[0]
    np.testing.assert_allclose(ours, turned(volume).sum(axis=0), atol=1e-4)


@pytest.mark.parametrize("n", [17, 22])
def test_oblique_views_are_scipys(n):
    volume = noise(n)
    np.testing.assert_allclose(standard(volume, VIEW, None, 1.0)[0], integral(volume, VIEW[0]), atol=1e-4)
    np.testing.assert_allclose(maxval(volume, VIEW, None, 1.0)[0], integral(volume, VIEW[0], np.max), atol=1e-5)


def test_the_map_turns_as_its_coordinates():
    """x' = R x: a point of the map lands on the first two coordinates of its image."""
    volume = np.zeros((24, 24, 24), np.float32)
    point = np.array([5, -3, 4])
    volume[tuple(point[::-1] + 12)] = 1
    image = standard(volume, VIEW, None, 1.0)[0]
    y, x = np.indices(image.shape) - 12
    np.testing.assert_allclose(
        [(image * x).sum() / image.sum(), (image * y).sum() / image.sum()], (VIEW[0] @ point)[:2], atol=0.3
    )


@pytest.mark.parametrize(
    "projector, more", [(standard, {}), (gauss_fft, {"mode": 0}), (gauss_fft, {"mode": 2}), (pawel, {"radius": 11})]
)
def test_shifts_and_mirrors_move_the_image(projector, more):
    volume = blobs(32)
    image, moved = (projector(volume, VIEW, shift, 1.0, **more)[0] for shift in (None, np.array([[3.0, -2.0]])))
    np.testing.assert_allclose(moved[6:-6, 6:-6], np.roll(image, (-2, 3), (0, 1))[6:-6, 6:-6], atol=0.02 * image.max())
    mirrored = projector(volume, np.diag([-1.0, 1.0, 1.0]) @ VIEW, None, 1.0, **more)[0]
    np.testing.assert_allclose(mirrored[:, 1:], image[:, :0:-1], atol=0.02 * image.max())


@pytest.mark.parametrize("mode", KERNELS)
def test_slices_are_line_integrals(mode):
    volume = blobs(32)
    exact, slices = standard(volume, VIEW, None, 1.0)[0], gauss_fft(volume, VIEW, None, 1.0, mode=mode)[0]
    inner = slice(6, -6)
    assert np.corrcoef(exact[inner, inner].ravel(), slices[inner, inner].ravel())[0, 1] > (0.98 if mode == 1 else 0.995)


def test_transforms_instead_of_images():
    slices = gauss_fft(blobs(16), VIEW, None, 1.0, returnfft=True)
    assert slices.dtype == np.complex64 and slices.shape == (1, 16, 9)
    assert slices[0, 0, 0].real == pytest.approx(blobs(16).sum(), rel=1e-5)
    with pytest.raises(ParameterError, match="mode=8"):
        gauss_fft(blobs(16), VIEW, None, 1.0, mode=8)


def test_a_sphere_only():
    ones = np.ones((20, 20, 20), np.float32)
    image = pawel(ones, VIEW, None, 1.0, radius=6)[0]
    y, x = np.indices(image.shape) - 10
    chord = np.where(x**2 + y**2 <= 36, 2 * np.floor(np.sqrt(np.maximum(36 - x**2 - y**2, 0))) + 1, 0)
    np.testing.assert_allclose(image, chord, atol=1e-4)
    moved = pawel(ones, VIEW, None, 1.0, radius=6, origin_x=12)[0]
    np.testing.assert_allclose(moved, np.roll(chord, 2, axis=1), atol=1e-4)


def test_all_explain_themselves():
    for name in PROJECTORS:
        text = inspect.getdoc(PROJECTORS.function(name))
        assert "EMAN2's" in text and all(key in text for key in PROJECTORS.parameters(name)), name
