"""Class sums and insertion: particles of known poses give back the projection and the map."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.partition import Block, Partition
from mpirefine.data.poses import InPlanePoses
from mpirefine.maths.fourier.polar import PolarGrid
from mpirefine.maths.likelihood.central_slices import in_plane, polar_slices, slices
from mpirefine.maths.likelihood.class_sums import ClassSums, RingSamples, average_images, to_projection
from mpirefine.maths.likelihood.fourier_volume import (
    Slab,
    crop_axis,
    divide,
    fold,
    kernel_correction,
    radial_index,
    shell_sums,
)
from tests.maths.test_search import NX, blob_map


@pytest.fixture
def polar():
    return PolarGrid.for_content(NX, NX // 2 - 1, 12, 15, fast=False, first=0)


def test_turned_particles_come_back_to_their_projection(rng, polar):
    volume = blob_map(rng)
    direction = Rotation.random(random_state=5).as_matrix()
    placing = InPlanePoses(
        rng.uniform(-np.pi, np.pi, 6), np.array([0, 1, 0, 1, 1, 0], bool), rng.uniform(-2, 2, (6, 2))
    )
    rotations = in_plane(np.repeat(direction[None], 6, 0), placing.angle, placing.mirror)
    moved = polar_slices(volume, rotations, polar) * np.moveaxis(polar.shift_ramp(-placing.shift), 2, 0)
    everywhere = RingSamples(polar, np.ones(polar.half_shape, bool))
    sums = ClassSums(2, everywhere)
    back = to_projection(moved.astype(np.complex64), placing, polar, polar.half_shape[1])
    sums.add(np.zeros(6, int), np.array([0, 1, 0, 1, 0, 1]), np.ones(6), back, np.ones((6, *polar.half_shape)))
    expected = polar_slices(volume, direction[None], polar)[0].ravel()
    mean = sums.signal[0] / 3
    np.testing.assert_allclose(mean, np.stack([expected, expected]), atol=2e-3 * np.abs(expected).max())
    assert sums.count.tolist() == [[3, 3], [0, 0]] and not sums.signal[1].any()


@pytest.mark.parametrize("sparse", [False, True], ids=["all samples", "fewer on inner rings"])
def test_average_image_is_the_projection(rng, polar, sparse):
    samples = RingSamples.for_content(polar, 12, 15) if sparse else RingSamples(polar, np.ones(polar.half_shape, bool))
    assert (len(samples) < 0.8 * samples.kept.size) == sparse
    volume = blob_map(rng)
    identity = np.eye(3)[None]
    values = polar_slices(volume, identity, polar)[:, samples.kept]
    image = average_images(values, np.ones((1, len(samples))), samples, np.zeros(polar.half_shape[0]))[0]
    expected = volume.sum(axis=0)
    assert np.corrcoef(image.ravel(), expected.ravel())[0, 1] > 0.999
    np.testing.assert_allclose(image, expected, atol=0.03 * np.abs(expected).max())


def reconstruct(slabs, box, nx):
    """Whole map from all slabs of one box, in plain numpy."""
    numerator = np.concatenate([s.numerator(0, 0) + s.numerator(0, 1) for s in slabs])
    weight = np.concatenate([s.weight(0, 0) + s.weight(0, 1) for s in slabs])
    shells = radial_index(box, Block(0, box), 2)
    real = np.fft.irfftn(
        divide(numerator, weight, shells, np.full(nx // 2, 1e-3 * weight.mean())), s=(box,) * 3, axes=(0, 1, 2)
    )
    for axis in range(3):
        real = crop_axis(real, axis, nx)
    line = kernel_correction(nx, box)
    return real / (line[:, None, None] * line[:, None] * line)


@pytest.mark.parametrize("parts", [1, 3, 5])
def test_slices_give_back_the_map_for_any_slabs(rng, polar, parts):
    volume, box = blob_map(rng), 2 * NX
    rotations = Rotation.random(400, random_state=2).as_matrix()
    values = polar_slices(volume, rotations, polar)
    area = (polar.quadrature / polar.half_shape[1]).astype(np.float32)[:, None]
    points = np.concatenate([polar.points, np.zeros((*polar.half_shape, 1))], -1).reshape(-1, 3) * 2
    positions = (points @ rotations).reshape(-1, 3).astype(np.float32)
    weights = np.broadcast_to(area, values.shape).reshape(1, -1).repeat(2, 0)
    slabs = [Slab(box, block, 1) for block in Partition.even(box, parts)]
    for slab in slabs:
        slab.insert(0, positions, (values * area).reshape(1, -1).repeat(2, 0), weights)
    found = reconstruct(slabs, box, NX)
    assert np.corrcoef(found.ravel(), volume.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(found.sum(), volume.sum(), atol=0.05 * np.abs(volume).sum())
    assert found.std() == pytest.approx(volume.std(), rel=0.05)


def test_slab_sums_do_not_depend_on_the_cut(rng):
    box, n = 16, 500
    positions = rng.uniform(-6, 6, (n, 3)).astype(np.float32)
    values = (rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n))).astype(np.complex64)
    weights = rng.random((2, n)).astype(np.float32)
    whole = Slab(box, Block(0, box), 2)
    whole.insert(1, positions, values, weights)
    parts = [Slab(box, block, 2) for block in Partition.even(box, 7)]
    for part in parts:
        part.insert(1, positions, values, weights)
    for half in (0, 1):
        np.testing.assert_array_equal(np.concatenate([p.numerator(1, half) for p in parts]), whole.numerator(1, half))
        np.testing.assert_array_equal(np.concatenate([p.weight(1, half) for p in parts]), whole.weight(1, half))
    assert not whole.sums[0].any()
    # every sample spreads its whole weight; those near x = 0 also put their mate's share on that plane
    mates = positions[np.abs(positions[:, 0]) < 1]
    extra = (weights[0][np.abs(positions[:, 0]) < 1] * (1 - np.abs(mates[:, 0]))).sum()
    np.testing.assert_allclose(whole.weight(1, 0).sum(), weights[0].sum() + extra, rtol=1e-4)


def test_plane_x0_is_hermitian(rng):
    box = 16
    slab = Slab(box, Block(0, box), 1)
    positions = rng.uniform(-5, 5, (300, 3)).astype(np.float32)
    values = (rng.standard_normal((2, 300)) + 1j * rng.standard_normal((2, 300))).astype(np.complex64)
    slab.insert(0, positions, values, np.ones((2, 300), np.float32))
    plane = slab.numerator(0, 0)[:, :, 0]
    mate = np.roll(plane[::-1, ::-1], 1, axis=(0, 1)).conj()
    np.testing.assert_allclose(plane, mate, atol=1e-5)


def test_empty_slab_and_fold():
    slab = Slab(8, Block(3, 3), 1)
    slab.insert(0, np.zeros((2, 3), np.float32), np.ones((2, 2), np.complex64), np.ones((2, 2), np.float32))
    assert slab.sums.size == 0
    positions, source, mate = fold(np.array([[2.0, 1, 1], [-2.0, 1, 1], [0.5, 3, 4]]))
    assert positions.tolist() == [[2, 1, 1], [2, -1, -1], [0.5, 3, 4], [-0.5, -3, -4]]
    assert source.tolist() == [0, 1, 2, 2] and mate.tolist() == [False, True, False, True]


def test_wiener_division_and_shells():
    shells = radial_index(8, Block(0, 8), 2)
    assert shells[0, 0].tolist() == [0, 0, 1, 2, 2] and shells.shape == (8, 8, 5)
    weight = np.where(shells == 1, 2.0, 0.0).astype(np.float32)
    sums = shell_sums(weight, shells, 3)
    assert sums[1].tolist() == [0, (shells == 1).sum(), 0] and sums[0, 1] == 2 * (shells == 1).sum()
    ratio = divide(np.ones_like(weight) + 0j, weight, shells, np.array([0.0, 2.0, np.inf]))
    assert (ratio[shells == 1] == 0.25).all() and not ratio[shells != 1].any()


def test_cartesian_and_polar_slices_agree(rng):
    volume = blob_map(rng)
    rotation = Rotation.random(1, random_state=8).as_matrix()
    grid = PolarGrid(NX, 5, 32)
    np.testing.assert_allclose(
        slices(volume, rotation, grid.points[2, 3][None])[0, 0],
        polar_slices(volume, rotation, grid)[0, 2, 3],
        rtol=1e-3,
    )
    u, v = 3.0, -2.0
    z, y, x = np.mgrid[:NX, :NX, :NX] - NX // 2
    k = rotation[0].T @ [u, v, 0]
    expected = (volume * np.exp(-2j * np.pi * (k[0] * x + k[1] * y + k[2] * z) / NX)).sum()
    np.testing.assert_allclose(slices(volume, rotation, np.array([[u, v]]))[0, 0], expected, rtol=2e-3)


@pytest.mark.parametrize("even", [(), (0.0, 300.0, -40.0, 500.0, 9e3, 0.0, 3e3)])
@pytest.mark.parametrize("mirror", [False, True])
def test_uneven_weight_turns_with_the_particle(even, mirror):
    from mpirefine.maths.likelihood.class_sums import transfer_power_in_projection

    grid, polar = Grid(32, 3.0), PolarGrid(32, 10, 64)
    ctf = CTFParams(
        *(np.array([v]) for v in (22000.0, 15000.0, 20.0, 0.0, 0.0, 1.0, 300.0, 2.7, 0.1)),
        even=np.zeros(1, np.int32),
        even_coefficients=(even,),
    )
    still = InPlanePoses(np.zeros(1), np.zeros(1, bool), np.zeros((1, 2)))
    t = 6
    turned = InPlanePoses(np.array([2 * np.pi * t / 64]), np.full(1, mirror), np.zeros((1, 2)))
    a, b = (transfer_power_in_projection(ctf, p, polar, grid)[0] for p in (still, turned))
    circle = np.roll(np.concatenate([a, a], axis=1), t, axis=1)
    # the particle's angle θ is the projection's θ + φ, and with a mirror its −θ − φ
    np.testing.assert_allclose(b, (circle[:, -np.arange(64)] if mirror else circle)[:, :32], atol=1e-4)
    assert np.ptp(a, axis=1).max() > 0.1
