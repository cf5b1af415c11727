"""Insertion against a whole spectrum in plain numpy, its adjoint and inverse, and the pieces that turn sums into a
map.
"""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.data.partition import Block, Partition
from mpirefine.maths.likelihood.fourier_volume import (
    Slab,
    crop_axis,
    divide,
    fold,
    kernel_correction,
    radial_index,
    shell_sums,
)

BOX = 12


def samples(rng, n=80, reach=4.5):
    """Positions well inside Nyquist, values and weights of both halves."""
    values = rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n))
    return (
        rng.uniform(-reach, reach, (n, 3)).astype(np.float32),
        values.astype(np.complex64),
        rng.random((2, n)).astype(np.float32),
    )


def neighbours(position):
    """The eight grid points round a position x, y, z and their trilinear weights."""
    for corner in np.ndindex(2, 2, 2):
        point = np.floor(position).astype(int) + corner
        yield tuple(point[::-1] % BOX), np.prod(1 - np.abs(position - point))


def whole_spectrum(positions, values):
    """Every sample and its Friedel mate spread over the whole (z, y, x) cube."""
    cube = np.zeros((BOX,) * 3, complex)
    for position, value in zip(positions.astype(float), values):
        for sign in (1, -1):
            for point, kernel in neighbours(sign * position):
                cube[point] += kernel * (value if sign == 1 else np.conj(value))
    return cube


def inserted(positions, values, weights, parts=1, models=1, model=0):
    slabs = [Slab(BOX, block, models) for block in Partition.even(BOX, parts)]
    for slab in slabs:
        slab.insert(model, positions, values, weights)
    return slabs


@pytest.mark.parametrize("half", [0, 1])
def test_slab_is_half_of_the_whole_spectrum(half, rng):
    positions, values, weights = samples(rng)
    (slab,) = inserted(positions, values, weights)
    numerator, weight = slab.numerator(0, half), slab.weight(0, half)
    assert numerator.dtype == np.complex64 and numerator.shape == weight.shape == (BOX, BOX, BOX // 2 + 1)
    np.testing.assert_allclose(numerator, whole_spectrum(positions, values[half])[..., : BOX // 2 + 1], atol=1e-5)
    np.testing.assert_allclose(weight, whole_spectrum(positions, weights[half])[..., : BOX // 2 + 1].real, atol=1e-5)


@pytest.mark.parametrize("parts", [2, 5, 12, 15])
def test_slabs_make_up_the_whole(parts, rng):
    """Also with more ranks than planes: some slabs are empty."""
    positions, values, weights = samples(rng)
    (one,) = inserted(positions, values, weights)
    many = inserted(positions, values, weights, parts)
    for half in (0, 1):
        np.testing.assert_array_equal(np.concatenate([s.numerator(0, half) for s in many]), one.numerator(0, half))
        np.testing.assert_array_equal(np.concatenate([s.weight(0, half) for s in many]), one.weight(0, half))


@pytest.mark.parametrize("position", [(2, 3, -4), (0, 2, 1), (0, 0, 0), (-3, 0, 5), (5, -5, 5)])
def test_a_sample_on_a_grid_point_stays_there(position):
    (slab,) = inserted(
        np.array([position], np.float32), np.full((2, 1), 3 + 4j, np.complex64), np.full((2, 1), 2, np.float32)
    )
    x, y, z = position if position[0] >= 0 else (-p for p in position)
    value, weight = slab.numerator(0, 0), slab.weight(0, 0)
    expected = 3 + 4j if position[0] >= 0 else 3 - 4j
    if position == (0, 0, 0):
        assert value[0, 0, 0] == 6 and weight[0, 0, 0] == 4  # it is its own mate
    else:
        assert value[z, y, x] == expected and weight[z, y, x] == 2
    assert np.count_nonzero(weight) == (2 if x == 0 and (y or z) else 1)


def test_halves_and_models_are_kept_apart(rng):
    positions, values, weights = samples(rng)
    (slab,) = inserted(positions, values, weights, models=3, model=1)
    assert not slab.sums[[0, 2]].any()
    (alone,) = inserted(positions, np.stack([values[0], 0 * values[1]]), np.stack([weights[0], 0 * weights[1]]))
    np.testing.assert_array_equal(slab.numerator(1, 0), alone.numerator(0, 0))
    assert not alone.numerator(0, 1).any() and not alone.weight(0, 1).any()
    assert slab.numerator(1, 1).any()


def test_insertion_adds_up(rng):
    positions, values, weights = samples(rng)
    (slab,) = inserted(positions, values, weights)
    (parts,) = inserted(positions[:30], values[:, :30], weights[:, :30])
    parts.insert(0, positions[30:], values[:, 30:], weights[:, 30:])
    np.testing.assert_allclose(parts.sums, slab.sums, atol=1e-5)


def test_a_sample_and_its_mate_say_the_same(rng):
    positions, values, weights = samples(rng)
    (mates,) = inserted(-positions, values.conj(), weights)
    (slab,) = inserted(positions, values, weights)
    np.testing.assert_allclose(mates.sums, slab.sums, atol=1e-5)


def test_insertion_is_the_adjoint_of_interpolation(rng):
    """⟨insert(v), F⟩ over the half-spectrum, planes inside counted twice, is Σ Re v* F(position) twice, for F of a real
    map.
    """
    positions, values, weights = samples(rng)
    spectrum = np.fft.fftn(rng.standard_normal((BOX,) * 3))
    interpolated = np.array(
        [sum(kernel * spectrum[point] for point, kernel in neighbours(p)) for p in positions.astype(float)]
    )
    both = np.full(BOX // 2 + 1, 2.0)
    both[[0, -1]] = 1
    (slab,) = inserted(positions, values, weights)
    product = ((slab.numerator(0, 0).conj() * spectrum[..., : BOX // 2 + 1]).real * both).sum()
    assert product == pytest.approx(2 * (values[0].conj() * interpolated).real.sum(), rel=1e-4)


def test_division_gives_back_a_constant_wherever_it_was_sampled(rng):
    """Σ w v / Σ w is v, whatever the weights: and with the weights as the floor it is half of v."""
    positions, _, weights = samples(rng, 300)
    (slab,) = inserted(positions, (5 * weights).astype(np.complex64), weights)
    shells, weight = radial_index(BOX, Block(0, BOX), 1), slab.weight(0, 0)
    ratio = divide(slab.numerator(0, 0), weight, shells, np.zeros(20))
    np.testing.assert_allclose(ratio[weight > 1e-3], 5, rtol=1e-3)
    assert not ratio[weight == 0].any() and ratio.dtype == np.complex64
    flat = np.full(weight.shape, 3, np.float32)
    np.testing.assert_allclose(divide(flat + 0j, flat, shells, np.full(20, 3.0)), 0.5)


def test_a_map_comes_back_from_its_own_coefficients(rng):
    """All coefficients of a map on their grid points, unequal weights: insertion and division are the identity."""
    volume = rng.standard_normal((BOX,) * 3)
    spectrum = np.fft.rfftn(volume)
    axis = (np.fft.fftfreq(BOX) * BOX).astype(int)
    z, y, x = (a.ravel() for a in np.meshgrid(axis, axis, np.arange(BOX // 2 + 1), indexing="ij"))
    inside = np.maximum(np.maximum(np.abs(z), np.abs(y)), x) < BOX // 2
    positions = np.stack([x, y, z], axis=1)[inside].astype(np.float32)
    weights = rng.uniform(0.5, 2, (2, inside.sum())).astype(np.float32)
    values = (spectrum.ravel()[inside] * weights).astype(np.complex64)
    slabs = inserted(positions, values, weights, parts=3)
    found = np.concatenate(
        [divide(s.numerator(0, 1), s.weight(0, 1), radial_index(BOX, s.block, 1), np.zeros(30)) for s in slabs]
    )
    expected = np.where(inside.reshape(found.shape), spectrum, 0)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_blob_comes_back_through_padding_and_kernel_correction():
    """Analytic slices of an off-centre Gaussian: the map has its height and place."""
    nx, box, width, centre = 16, 32, 2.0, np.array([2.0, -1.0, 1.5])
    u, v = np.meshgrid(np.arange(-15, 16) / 2, np.arange(-15, 16) / 2)
    flat = np.stack([u.ravel(), v.ravel(), 0 * u.ravel()], axis=1)
    flat = flat[np.hypot(flat[:, 0], flat[:, 1]) <= 7.5]
    points = (flat @ Rotation.random(250, random_state=1).as_matrix()).reshape(-1, 3)
    k2 = (points**2).sum(axis=1) / nx**2
    values = (2 * np.pi * width**2) ** 1.5 * np.exp(-2 * np.pi**2 * width**2 * k2 - 2j * np.pi * points @ centre / nx)
    weights = np.ones((2, len(points)), np.float32)
    slab = Slab(box, Block(0, box), 1)
    slab.insert(0, (2 * points).astype(np.float32), values.astype(np.complex64)[None].repeat(2, 0), weights)
    spectrum = divide(slab.numerator(0, 0), slab.weight(0, 0), radial_index(box, slab.block, 2), np.full(8, 1e-6))
    real = np.fft.irfftn(spectrum, s=(box,) * 3, axes=(0, 1, 2))
    for axis in range(3):
        real = crop_axis(real, axis, nx)
    line = kernel_correction(nx, box)
    z, y, x = np.mgrid[:nx, :nx, :nx] - nx // 2
    expected = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2) / (2 * width**2))
    np.testing.assert_allclose(real / (line[:, None, None] * line[:, None] * line), expected, atol=0.03)


def test_fold_brings_all_to_positive_x(rng):
    positions = rng.uniform(-3, 3, (50, 3))
    folded, source, mate = fold(positions)
    np.testing.assert_array_equal(folded, np.where(mate[:, None], -positions[source], positions[source]))
    assert (folded[:50, 0] >= 0).all() and (folded[50:, 0] > -1).all()
    assert sorted(source[50:]) == np.flatnonzero(np.abs(positions[:, 0]) < 1).tolist()


@pytest.mark.parametrize("box, pad", [(8, 1), (8, 2), (12, 1.5)])
def test_shells_of_slabs_are_those_of_the_box(box, pad):
    whole = radial_index(box, Block(0, box), pad)
    np.testing.assert_array_equal(
        np.concatenate([radial_index(box, block, pad) for block in Partition.even(box, 3)]), whole
    )
    assert whole[0, 0, 0] == 0 and whole[0, 0, box // 2] == whole[box // 2, 0, 0] == whole[0, box // 2, 0] == round(
        box / 2 / pad
    )
    np.testing.assert_array_equal(whole[1], whole[-1])
    assert whole[2, 2, 2] == whole[-2, 2, 2] == round(12**0.5 / pad) and whole[1, 2, 3] == round(14**0.5 / pad)
    assert radial_index(box, Block(2, 2), pad).shape == (0, box, box // 2 + 1)


def test_shell_sums_add_over_slabs(rng):
    weight, shells = rng.random((8, 8, 5)), radial_index(8, Block(0, 8), 1)
    weight[rng.random(weight.shape) < 0.3] = 0
    total = shell_sums(weight, shells, 5)
    assert total.shape == (2, 5)
    for k in range(5):
        np.testing.assert_allclose(total[:, k], [weight[shells == k].sum(), np.count_nonzero(weight[shells == k])])
    np.testing.assert_allclose(shell_sums(weight[:3], shells[:3], 5) + shell_sums(weight[3:], shells[3:], 5), total)


@pytest.mark.parametrize("floor", [np.inf, 0.0])
def test_division_never_makes_infinities(floor):
    """No weight, no floor: zero; an infinite floor: zero; beyond the shells: zero."""
    shells = radial_index(8, Block(0, 8), 1)
    weight = np.where(shells == 2, 0, 1).astype(np.float32)
    ratio = divide(np.ones_like(weight) + 0j, weight, shells, np.array([1.0, floor, 0.0]))
    assert np.isfinite(ratio).all()
    assert (
        (ratio[shells == 0] == 0.5).all()
        and (ratio[shells == 1] == (0 if floor else 1)).all()
        and not ratio[shells >= 2].any()
    )


@pytest.mark.parametrize("length", [4, 5])
@pytest.mark.parametrize("axis", [0, 1])
def test_crop_puts_the_origin_in_the_middle(axis, length):
    values = np.moveaxis(np.stack([[0, 1, 2, 3, 4, -4, -3, -2, -1]] * 2), 0, 1 - axis)
    line = np.take(crop_axis(values, axis, length), 0, axis=1 - axis)
    assert line.tolist() == list(range(-(length // 2), length - length // 2))


def test_kernel_correction_is_the_transform_of_the_triangle():
    """A unit coefficient half-way between two grid points, spread linearly: the wave's height falls with the distance
    from the origin.
    """
    nx, box = 15, 24
    fine = (np.arange(4000) + 0.5) / 2000 - 1
    expected = [((1 - np.abs(fine)) * np.cos(2 * np.pi * fine * x / box)).sum() / 2000 for x in np.arange(nx) - nx // 2]
    np.testing.assert_allclose(kernel_correction(nx, box), expected, atol=1e-6)
