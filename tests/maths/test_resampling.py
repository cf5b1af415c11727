"""Images on another grid: band-limited ones are sampled exactly, about the centre, in one field and in others."""

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.maths.image.resampling import Resampler


def blobs(grid, width=30.0):
    """Gaussians at places in Å, sampled on a grid: band-limited for all practical purposes."""
    at = (np.arange(grid.nx) - grid.nx // 2) * grid.apix
    y, x = at[:, None], at[None]
    places = ((20.0, -35.0, 1.0), (-60.0, 10.0, -0.7), (0.0, 0.0, 0.4))
    return sum(w * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * width**2)) for a, b, w in places).astype(np.float32)


@pytest.mark.parametrize(
    "nx, apix, to",
    [
        (128, 4.0, Grid(48, 128 * 4.0 / 48)),
        (128, 4.0, Grid(50, 10.0)),
        (100, 5.3, Grid(48, 128 * 4.0 / 48)),
        (96, 6.2, Grid(60, 9.9)),
    ],
)
def test_a_smooth_image_is_what_it_is_on_the_other_grid(nx, apix, to):
    found = Resampler(Grid(nx, apix), to)(blobs(Grid(nx, apix))[None])
    assert found.shape == (1, to.nx, to.nx) and found.dtype == np.float32
    inside = np.hypot(*(np.mgrid[: to.nx, : to.nx] - to.nx // 2)) * to.apix < 0.4 * min(nx * apix, to.length)
    np.testing.assert_allclose(found[0][inside], blobs(to)[inside], atol=3e-3)


def test_cropping_is_that_of_the_transform(rng):
    images = rng.standard_normal((3, 64, 64)).astype(np.float32)
    found = Resampler(Grid(64, 2.0), Grid(32, 4.0))(images)
    whole, part = np.fft.rfft2(images), np.fft.rfft2(found)
    np.testing.assert_allclose(part[:, :16, :16], whole[:, :16, :16] / 4, atol=1e-4)
    np.testing.assert_allclose(part[:, -15:, :16], whole[:, -15:, :16] / 4, atol=1e-4)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=1e-6)


def test_both_ways_to_the_target_agree_in_one_field(rng):
    resampler = Resampler(Grid(64, 2.0), Grid(30, 64 * 2.0 / 30))
    images = rng.standard_normal((2, 64, 64)).astype(np.float32)
    cut, summed = resampler._cropped(images), resampler._at_target_frequencies(images)
    np.testing.assert_allclose(summed[:, :15, :15], cut[:, :15, :15], atol=2e-3)


def test_nothing_is_done_where_nothing_is_to_be_done(rng):
    images = rng.standard_normal((2, 8, 8)).astype(np.float32)
    assert Resampler(Grid(8, 2.0), Grid(8, 2.0))(images) is images
