"""Images on another grid: band-limited ones are sampled exactly, about the centre, in one field and in others, and what
a lens did to them is undone.
"""

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.data.lens import NO_DISTORTION, Lens
from mpirefine.maths.image.aberrations import odd_phase, with_tilt
from mpirefine.maths.image.resampling import Resampler, shift_to_image, shift_to_particle

PLACES = ((20.0, -35.0, 1.0), (-60.0, 10.0, -0.7), (0.0, 0.0, 0.4))  # Å and weights of Gaussians
STRETCHED = ((1.0225, 0.0130), (0.0130, 1.0075))  # 3 % along 30 degrees
TILT = with_tilt((), (60.0, -80.0), 2.7, 300.0)


def blobs(grid, width=30.0):
    """Gaussians at places in Å, sampled on a grid: band-limited for all practical purposes."""
    at = (np.arange(grid.nx) - grid.nx // 2) * grid.apix
    y, x = at[:, None], at[None]
    return sum(w * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * width**2)) for a, b, w in PLACES).astype(np.float32)


def recorded(lens, width, level=0.0, shift=(0.0, 0.0)):
    """The Gaussians as a lens records them, from their transform: at M k, times exp(i · odd phase), moved by a shift
    (Å) in the image.
    """
    grid, matrix = lens.grid, np.array(lens.magnification)
    fy, fx = np.broadcast_arrays(*grid.frequencies())
    x, y = np.tensordot(matrix, np.stack([fx, fy]), 1)
    transform = sum(w * np.exp(-2j * np.pi * (x * a + y * b)) for a, b, w in PLACES)
    transform = transform * 2 * np.pi * width**2 * np.exp(-2 * (np.pi * width) ** 2 * (x * x + y * y))
    transform = transform * np.exp(1j * odd_phase(lens, x, y) - 2j * np.pi * (fx * shift[0] + fy * shift[1]))
    image = np.fft.fftshift(np.fft.irfft2(transform, s=(grid.nx, grid.nx))) / grid.apix**2
    return (image + level / np.linalg.det(matrix)).astype(np.float32)


@pytest.mark.parametrize(
    "nx, apix, to",
    [
        (128, 4.0, Grid(48, 128 * 4.0 / 48)),
        (128, 4.0, Grid(50, 10.0)),
        (100, 5.3, Grid(48, 128 * 4.0 / 48)),
        (96, 6.2, Grid(60, 9.9)),
        (96, 6.2, Grid(120, 6.2)),
        (64, 6.55, Grid(64, 6.5)),
    ],
)
@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_a_smooth_image_is_what_it_is_on_the_other_grid(nx, apix, to, level):
    """In the middle; and an offset leaves no edge where the target's field is larger."""
    found = Resampler(Grid(nx, apix), to)(blobs(Grid(nx, apix))[None] + np.float32(level))
    assert found.shape == (1, to.nx, to.nx) and found.dtype == np.float32
    inside = np.hypot(*(np.mgrid[: to.nx, : to.nx] - to.nx // 2)) * to.apix < 0.4 * min(nx * apix, to.length)
    np.testing.assert_allclose(found[0][inside] - level, blobs(to)[inside], atol=3e-3)
    np.testing.assert_allclose(found[0] - level, 0, atol=1.3)


def test_cropping_is_that_of_the_transform(rng):
    images = rng.standard_normal((3, 64, 64)).astype(np.float32)
    found = Resampler(Grid(64, 2.0), Grid(32, 4.0))(images)
    whole, part = np.fft.rfft2(images), np.fft.rfft2(found)
    np.testing.assert_allclose(part[:, :16, :16], whole[:, :16, :16] / 4, atol=1e-4)
    np.testing.assert_allclose(part[:, -15:, :16], whole[:, -15:, :16] / 4, atol=1e-4)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=1e-6)


def test_all_ways_to_the_target_agree_in_one_field(rng):
    resampler = Resampler(Grid(64, 2.0), Grid(30, 64 * 2.0 / 30))
    images = rng.standard_normal((2, 64, 64)).astype(np.float32)
    cut = resampler._cropped(images)
    for found in (resampler._at_target_frequencies(images), resampler._non_uniform(images)):
        np.testing.assert_allclose(found[:, :15, :15], cut[:, :15, :15], atol=2e-3)


def test_nothing_is_done_where_nothing_is_to_be_done(rng):
    images = rng.standard_normal((2, 8, 8)).astype(np.float32)
    assert Resampler(Grid(8, 2.0), Grid(8, 2.0))(images) is images
    # too little of aberrations and magnification to matter
    little = Lens("a", Grid(8, 2.0), ((1.001, 0.0), (0.0, 1.0)), odd=(0.0, 0.1))
    assert Resampler(little, Grid(8, 2.0))(images) is images


@pytest.mark.parametrize("matrix", [NO_DISTORTION, STRETCHED, ((1.0, 0.04), (-0.01, 0.98))])
@pytest.mark.parametrize("odd", [(), TILT])
@pytest.mark.parametrize("grid, to", [(Grid(96, 4.0), Grid(96, 4.0)), (Grid(96, 4.0), Grid(64, 6.0))])
@pytest.mark.parametrize("level", [0.0, 50.0])
def test_what_a_lens_does_is_undone(matrix, odd, grid, to, level):
    """Against the analytic image without distortion and beam tilt, in the whole band."""
    lens, width = Lens("a", grid, matrix, odd), 9.0
    image = recorded(lens, width, level)
    if matrix != NO_DISTORTION or odd:
        assert np.abs(image - level - blobs(grid, width)).max() > 0.04
    found, expected = Resampler(lens, to)(image[None])[0] - level, blobs(to, width)
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


def test_the_sign_of_beam_tilt_is_that_of_relion(rng):
    """The image is the prediction times exp(−2πi Cs λ² k² (k · θ)), written out."""
    grid, prediction = Grid(32, 1.5), rng.standard_normal((1, 32, 32)).astype(np.float32)
    fy, fx = grid.frequencies()
    lam = 12.2643247 / np.sqrt(3e5 * (1 + 0.978466e-6 * 3e5))
    phase = -2 * np.pi * 2.7e7 * lam**2 * (fx**2 + fy**2) * (2e-3 * fx)
    image = np.fft.irfft2(np.fft.rfft2(prediction) * np.exp(1j * phase))
    found = Resampler(Lens("a", grid, odd=with_tilt((), (2.0, 0.0), 2.7, 300.0)), grid)(image.astype(np.float32))
    inner = np.fft.rfft2(found - prediction)[0, :, :16]
    assert np.abs(np.delete(inner, 16, axis=0)).max() < 1e-3  # Nyquist has no phase of its own
    assert np.abs(image - prediction).max() > 0.3


def test_frequencies_beyond_the_own_nyquist_are_zero(rng):
    """An image enlarged by 10 % holds true frequencies only up to 1.1 times its Nyquist, one made smaller less than it:
    there is nothing in the target.
    """
    images = rng.standard_normal((1, 48, 48)).astype(np.float32)
    small = Lens("a", Grid(48, 2.0), ((0.8, 0.0), (0.0, 0.8)))
    found = np.abs(np.fft.rfft2(Resampler(small, Grid(48, 2.0))(images))[0])
    fy, fx = np.broadcast_arrays(*Grid(48, 2.0).frequencies())
    beyond = np.maximum(np.abs(fx), np.abs(fy)) > 0.8 / 4 + 1e-6
    assert found[beyond].max() < 1e-3 < np.median(found[~beyond])
    finer = np.abs(np.fft.rfft2(Resampler(Grid(48, 2.0), Grid(60, 1.6))(images))[0])
    fy, fx = np.broadcast_arrays(*Grid(60, 1.6).frequencies())
    assert finer[np.maximum(np.abs(fx), np.abs(fy)) > 0.25 + 1e-6].max() < 1e-3


@pytest.mark.parametrize("matrix", [NO_DISTORTION, STRETCHED])
def test_what_lies_outside_a_smaller_field_does_not_wrap_round(matrix):
    """A bright spot near the edge of the image, 60 Å outside of the target's field, leaves no trace in it."""
    grid, to = Grid(100, 4.0), Grid(60, 4.0)
    image = np.full((1, 100, 100), 7.0, np.float32)
    image[0, 48:52, 93:97] += 100
    found = Resampler(Lens("a", grid, matrix), to)(image)
    np.testing.assert_allclose(found, 7.0 * np.linalg.det(matrix), atol=1e-3)


def test_shifts():
    """A particle moved in the image lies, in its own frame, where the helper says; there and back is the same."""
    lens, to = Lens("a", Grid(96, 4.0), STRETCHED, TILT), Grid(64, 6.0)
    moved = (9.0, 14.0)
    own = shift_to_particle(lens, np.array(moved))
    assert np.abs(own - moved).max() > 0.1
    image = recorded(lens, 12.0, shift=moved)
    found = np.fft.rfft2(Resampler(lens, to)(image[None])[0])
    fy, fx = to.frequencies()
    back = np.fft.irfft2(found * np.exp(2j * np.pi * (fx * own[0] + fy * own[1])))
    expected = blobs(to, 12.0)
    assert np.linalg.norm(back - expected) < 1e-3 * np.linalg.norm(expected)
    np.testing.assert_allclose(shift_to_image(lens, own), moved, atol=1e-12)
    assert shift_to_image(lens, np.zeros((5, 2))).shape == (5, 2)
