"""Filters of a Gaussian are Gaussians; resampling moves a band-limited map to another grid exactly; EMAN2's Fourier
resampling.
"""

import json

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.maths.fourier.filters import apply_radial, lowpass_cosine, lowpass_gauss, resample
from tests.arrays import load_npz


def gaussian(grid, sigma, centre=(0.0, 0.0, 0.0)):
    """Height 1, `sigma` and x, y, z `centre` in Å."""
    z, y, x = (np.mgrid[: grid.nx, : grid.nx, : grid.nx] - grid.nx // 2) * grid.apix
    return np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2) / (2 * sigma**2)).astype(
        np.float32
    )


@pytest.mark.parametrize("grid", [Grid(24, 3.0), Grid(25, 2.5)])
def test_low_pass_widens_a_gaussian(grid):
    """exp(−f²/c²) is the transform of a Gaussian of variance 1 / (2 π² c²): variances add, the mass stays."""
    cutoff, sigma, centre = 0.05, 6.0, (3.0, -4.0, 1.0)
    wide = np.sqrt(sigma**2 + 1 / (2 * np.pi**2 * cutoff**2))
    expected = (sigma / wide) ** 3 * gaussian(grid, wide, centre)
    found = lowpass_gauss(gaussian(grid, sigma, centre), grid, cutoff)
    np.testing.assert_allclose(found, expected, atol=2e-3 * expected.max())
    assert found.dtype == np.float32


@pytest.mark.parametrize("nx", [14, 15])
def test_cosine_low_pass_keeps_and_removes_waves(nx):
    """Waves along each axis and diagonal: kept below the cut, gone beyond its edge, whatever their direction."""
    grid, axis = Grid(nx, 2.0), 2 * np.pi * np.arange(nx) / nx
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    inside, outside = (2 * z, 2 * y, 2 * x, x + 2 * y), (6 * z, 6 * x, 4 * x - 4 * y, 3 * x + 3 * y + 3 * z)
    kept = sum(np.cos(phase) for phase in inside)
    found = lowpass_cosine(1 + kept + sum(np.cos(phase) for phase in outside), grid, grid.resolution(3), width=2.0)
    np.testing.assert_allclose(found, 1 + kept, atol=1e-5)
    half = lowpass_cosine(np.cos(4 * x), grid, grid.resolution(3), width=2.0)
    np.testing.assert_allclose(half, 0.5 * np.cos(4 * x), atol=1e-5)


def test_weights_are_asked_for_in_fourier_pixels(rng):
    """−|k|² is the Laplacian."""
    grid = Grid(24, 1.0)
    found = apply_radial(gaussian(grid, 2.5).astype(float), lambda r: -((2 * np.pi * r / 24) ** 2))
    z, y, x = np.mgrid[:24, :24, :24] - 12
    r2 = x**2 + y**2 + z**2
    expected = (r2 / 2.5**4 - 3 / 2.5**2) * np.exp(-r2 / (2 * 2.5**2))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_resampling_to_itself_changes_nothing(rng):
    for nx in (12, 13):
        volume = rng.standard_normal((nx,) * 3).astype(np.float32)
        np.testing.assert_allclose(resample(volume, Grid(nx, 2.0), Grid(nx, 2.0)), volume, atol=1e-3)


@pytest.mark.parametrize("wanted", [Grid(20, 4.0), Grid(21, 4.0), Grid(40, 2.0), Grid(27, 2.9)])
@pytest.mark.parametrize("source", [Grid(26, 3.0), Grid(27, 3.0)])
def test_a_gaussian_is_itself_on_any_grid(source, wanted):
    place = (5.0, -4.0, 7.0)
    found = resample(gaussian(source, 8.0, place), source, wanted)
    assert found.shape == (wanted.nx,) * 3 and found.dtype == np.float32
    np.testing.assert_allclose(found, gaussian(wanted, 8.0, place), atol=5e-3)


def test_there_and_back_again(rng):
    coarse, fine = Grid(16, 4.0), Grid(32, 2.0)
    volume = gaussian(coarse, 8.0) * (1 + 0.5 * lowpass_gauss(rng.standard_normal((16,) * 3), coarse, 0.04))
    np.testing.assert_allclose(resample(resample(volume, coarse, fine), fine, coarse), volume, atol=0.01)


def test_a_larger_box_is_empty_round_the_old_one(rng):
    """And a smaller one is the middle of it, for a map that ends inside."""
    small, large = Grid(12, 2.0), Grid(20, 2.0)
    volume = rng.standard_normal((12,) * 3).astype(np.float32)
    wide = resample(volume, small, large)
    np.testing.assert_allclose(wide[4:16, 4:16, 4:16], volume, atol=1e-3 * np.abs(volume).max())
    wide[4:16, 4:16, 4:16] = 0
    assert not wide.any()
    inner = np.zeros((20,) * 3, np.float32)
    inner[4:16, 4:16, 4:16] = volume
    np.testing.assert_allclose(resample(inner, large, small), volume, atol=1e-3 * np.abs(volume).max())


def test_detail_beyond_the_new_nyquist_does_not_fold():
    """A wave of 4 Å is the same at all pixels of 4 Å: without a filter it would look like the envelope."""
    source, wanted = Grid(48, 1.0), Grid(12, 4.0)
    x = np.arange(48) - 24
    volume = gaussian(source, 5.0) * np.cos(2 * np.pi * x / 4)
    assert volume[::4, ::4, ::4].max() > 0.9
    assert np.abs(resample(volume, source, wanted)).max() < 2e-3


def test_resampling_is_that_of_eman2(oracle):
    """math.fft.resample of maps: values grow by the cube of the factor there. Centres agree where the box divides,
    Nyquist is left out.
    """
    arrays, compared = load_npz(oracle / "processors.npz"), 0
    for case in json.loads((oracle / "processors.json").read_text())["cases"]:
        if case["processor"] != "math.fft.resample" or len(case["shape"]) != 3 or case["input"] != "vol18":
            continue
        source, nx, factor = arrays["in_vol18"], case["shape"][0], case["params"]["n"]
        ours = resample(source, Grid(18, 3.0), Grid(nx, 3.0 * factor))
        low = lambda volume: apply_radial(volume, lambda r: r < nx / 2)
        np.testing.assert_allclose(low(ours), low(arrays[case["id"]]) / factor**3, atol=2e-3 * ours.std())
        compared += 1
    assert compared == 2
