"""FSC against whole transforms in plain numpy, of maps that share a known part, and where a curve crosses a
threshold.
"""

import json

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.maths.fourier.filters import lowpass_gauss
from mpirefine.maths.fourier.fsc import first_uncertain, fsc, randomise_phases, resolution_at, without_mask_effect
from mpirefine.maths.fourier.map_spectrum import fsc_matrix
from mpirefine.maths.image.masks import soft_sphere
from tests.arrays import load_npz


def whole_spectrum_fsc(a, b):
    """By the definition: every coefficient of the whole transform, in the ring of its rounded radius."""
    nx = len(a)
    axis = np.fft.fftfreq(nx) * nx
    shell = np.rint(np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2))
    first, second = np.fft.fftn(a), np.fft.fftn(b)
    rings = [shell == k for k in range(nx // 2 + 1)]
    return [
        (first[r] * second[r].conj()).sum().real / np.sqrt((abs(first[r]) ** 2).sum() * (abs(second[r]) ** 2).sum())
        for r in rings
    ]


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("nx", [12, 13])
def test_every_coefficient_counts_once(nx, dtype, tolerance, rng):
    a = rng.standard_normal((nx,) * 3)
    b = a + rng.standard_normal((nx,) * 3)
    curve = fsc(a.astype(dtype), b.astype(dtype))
    assert curve.dtype == np.float64
    np.testing.assert_allclose(curve, whole_spectrum_fsc(a, b), atol=tolerance)


def test_independent_maps_share_nothing(rng):
    """The FSC of noise has a deviation of 1 / √(coefficients of the half-sphere)."""
    a, b = rng.standard_normal((2, 32, 32, 32))
    k = np.arange(4, 17)
    assert (np.abs(fsc(a, b)[4:]) < 4 / np.sqrt(2 * np.pi * k**2)).all()


def test_correlation_is_that_of_each_shell(rng):
    """Maps that share all up to shell 5, and nothing from there on."""
    a, b = (np.fft.rfftn(rng.standard_normal((24,) * 3)) for _ in range(2))
    shells = Grid(24, 1.0).shells(3)
    mixed = np.where(shells <= 5, a, b)
    curve = fsc(*(np.fft.irfftn(s, s=(24,) * 3, axes=(0, 1, 2)) for s in (a, mixed)))
    np.testing.assert_allclose(curve[:6], 1, atol=1e-12)
    assert np.abs(curve[6:]).max() < 0.3
    assert resolution_at(curve, 0.143, Grid(24, 2.0)) == pytest.approx(48 / 5.5, rel=0.1)


def test_scale_and_order_do_not_matter_but_the_place_does(rng):
    a, b = rng.standard_normal((2, 16, 16, 16))
    np.testing.assert_allclose(fsc(a, b), fsc(5 * b, 0.1 * a), atol=1e-12)
    wave = np.broadcast_to(np.cos(2 * np.pi * 3 * np.arange(16) / 16), (16,) * 3)
    assert fsc(wave, wave)[3] == pytest.approx(1)
    assert fsc(wave, np.roll(wave, 1, axis=2))[3] == pytest.approx(np.cos(2 * np.pi * 3 / 16))


def test_shells_without_signal_are_zero():
    wave = np.broadcast_to(np.cos(2 * np.pi * 4 * np.arange(16) / 16), (16,) * 3)
    one, none = fsc(wave, wave), fsc(wave, np.zeros((16,) * 3))
    assert one[4] == pytest.approx(1) and not none.any()


def test_all_of_eman2s_pairs_agree(oracle):
    arrays, compared = load_npz(oracle / "comparators.npz"), 0
    for case in json.loads((oracle / "comparators.json").read_text())["volume_fsc"]:
        a, b = (arrays[name] for name in case["vols"])
        np.testing.assert_allclose(
            fsc(a, b)[:-1], case["fsc"][:-1], atol=1e-4
        )  # the ring of Nyquist has weights of its own there
        np.testing.assert_allclose(fsc(a, a)[:-1], 1, atol=1e-6)
        compared += 1
    assert compared == 2


@pytest.mark.parametrize("nx", [20, 21])
@pytest.mark.parametrize("threshold", [0.143, 0.5])
def test_a_straight_curve_is_inverted(nx, threshold):
    grid = Grid(nx, 1.5)
    curve = 1 - np.arange(nx // 2 + 1) / (nx // 2)
    assert resolution_at(curve, threshold, grid) == pytest.approx(grid.length / ((1 - threshold) * (nx // 2)))


@pytest.mark.parametrize(
    "curve, expected",
    [
        ([0, 1, 0.5, 0.5, 0, 0, 0], 12 / 3),  # the origin does not count; at the threshold is not below it
        ([1, 0.9, 0.6, -0.4, -1, 0, 0], 12 / 2.1),
        ([1, 1, 1, 1, 1, 1, 0.9, 0, 0], 2.0),  # shells beyond Nyquist do not count
        ([1, 1, 1, 1, 1, 1, 0], 12 / 5.5),
        ([1, 0.4, 1, 1, 1, 1, 1], 12.0),
    ],
)
def test_where_a_curve_falls_below_a_half(curve, expected):
    assert resolution_at(np.array(curve, float), 0.5, Grid(12, 1.0)) == pytest.approx(expected)


def test_random_phases_keep_amplitudes_and_low_shells(rng):
    volume = rng.standard_normal((16, 16, 16)).astype(np.float32)
    changed = randomise_phases(volume, 4, rng)
    before, after = np.fft.rfftn(volume), np.fft.rfftn(changed)
    shells = Grid(16, 1.0).shells(3)
    inside = (shells < 7) & (np.arange(9) > 0) & (np.arange(9) < 8)
    np.testing.assert_allclose(np.abs(after)[inside], np.abs(before)[inside], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(after[shells < 4], before[shells < 4], rtol=1e-3, atol=1e-2)
    assert np.abs(fsc(volume, changed)[4:8]).max() < 0.5 and fsc(volume, changed)[2] > 0.999


def test_the_mask_adds_nothing_to_pure_noise_halves(rng):
    mask = soft_sphere(32, 5.0, 1.0, 3)
    common = lowpass_gauss(rng.standard_normal((32, 32, 32)).astype(np.float32), Grid(32, 1.0), 0.08)
    low = (
        randomise_phases(common, 5, rng),
        randomise_phases(common, 5, rng),
    )  # the same up to shell 4, independent beyond
    first = first_uncertain(fsc(*low))
    assert first == 5
    masked = fsc(*(half * mask for half in low))
    randomised = fsc(*(randomise_phases(half, first, rng) * mask for half in low))
    left = without_mask_effect(masked, randomised, first)
    assert masked[6] > 0.15 and abs(left[6:9]).mean() < abs(masked[6:9]).mean()
    np.testing.assert_array_equal(left[:6], masked[:6])


def test_maps_that_are_compared_with_several_others_are_transformed_once(rng, monkeypatch):
    """The matrix of all pairs is what pairs give one by one, from as many transforms as there are maps."""
    from scipy import fft

    maps, counted = rng.standard_normal((3, 9, 9, 9)).astype(np.float32), []
    wanted = np.array([[fsc(a, b) for b in maps] for a in maps])
    transform = fft.rfftn
    monkeypatch.setattr(fft, "rfftn", lambda volume: counted.append(1) or transform(volume))
    np.testing.assert_allclose(fsc_matrix(maps), wanted, atol=1e-6)
    assert len(counted) == 3
