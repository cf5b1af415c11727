"""Rings of known images: shifts are ramps, turns are phases of angular coefficients, sums over rings are sums over the
plane.
"""

import numpy as np
import pytest

from mpirefine.maths.fourier.polar import PolarGrid, PolarTransform, angular_band, angular_coefficients, half_circle

WIDTH = 1.7


def blob(nx, x0=0.0, y0=0.0):
    y, x = np.mgrid[:nx, :nx] - nx // 2
    return np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * WIDTH**2)).astype(np.float32)


def blob_samples(grid, x0=0.0, y0=0.0):
    """The written-down transform of the blob on a grid's half circle."""
    angle = 2 * np.pi * np.arange(grid.n_angles // 2) / grid.n_angles
    k = np.arange(grid.first, grid.n_rings + 1)[:, None] / grid.nx
    fall = 2 * np.pi * WIDTH**2 * np.exp(-2 * np.pi**2 * WIDTH**2 * k**2)
    return fall * np.exp(-2j * np.pi * k * (np.cos(angle) * x0 + np.sin(angle) * y0))


def random_half(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


@pytest.mark.parametrize("first", [0, 1, 3])
def test_rings_and_angles(first):
    grid = PolarGrid(32, 9, 24, first)
    assert grid.half_shape == (10 - first, 12) and grid.points.shape == (10 - first, 12, 2)
    np.testing.assert_allclose(np.hypot(*np.moveaxis(grid.points, -1, 0)), np.arange(first, 10)[:, None] * np.ones(12))
    np.testing.assert_allclose(grid.points[-1, [0, 6]], [[9, 0], [0, 9]], atol=1e-12)
    assert (grid.points[1:, 1:, 1] > 0).all()


def test_quadrature_counts_the_pixels_of_the_disc():
    """Rings 0 .. R stand for the pixels within R + 1/2."""
    for rings in (5, 20):
        assert PolarGrid(64, rings, 8, first=0).quadrature.sum() == pytest.approx(np.pi * (rings + 0.5) ** 2)


@pytest.mark.parametrize("nx", [23, 24])
def test_transform_of_a_blob(nx):
    grid = PolarGrid(nx, 9, 32, first=0)
    places = [(0.0, 0.0), (3.0, -1.5), (-2.0, 2.5)]
    found = PolarTransform(grid, batch=2)(np.stack([blob(nx, *place) for place in places]))
    expected = np.stack([blob_samples(grid, *place) for place in places])
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_ring_sums_are_plane_sums():
    """Σ quadrature · mean |X|² is Parseval's sum over the Fourier plane."""
    grid, image = PolarGrid(32, 15, 64, first=0), blob(32, 2.0, 1.0) - 0.5 * blob(32, -3.0, 2.0)
    samples = PolarTransform(grid, 1)(image[None])[0]
    total = (grid.quadrature * (np.abs(samples) ** 2).mean(axis=1)).sum()
    assert total == pytest.approx((np.abs(np.fft.fft2(image)) ** 2).sum(), rel=0.01)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_batches_do_not_matter(batch, rng):
    grid, images = PolarGrid(16, 6, 32), rng.standard_normal((7, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(PolarTransform(grid, batch)(images), PolarTransform(grid, 7)(images), atol=1e-2)
    assert PolarTransform(grid, batch)(images[:0]).shape == (0, 6, 16)


def test_ramps_bring_shifted_content_back():
    grid, shifts = PolarGrid(24, 8, 32), np.array([[0.0, 0.0], [2.0, -1.0], [-1.25, 3.5]])
    ramps = grid.shift_ramp(shifts)
    assert ramps.shape == (8, 16, 3) and ramps.dtype == np.complex64
    centred = blob_samples(grid)
    for s, shift in enumerate(shifts):
        np.testing.assert_allclose(blob_samples(grid, *shift) * ramps[..., s], centred, atol=1e-4)
    np.testing.assert_allclose(ramps * grid.shift_ramp(-shifts), 1, atol=1e-5)


def test_ramp_moves_images(rng):
    """A whole-pixel shift is a roll of the image."""
    grid, image = PolarGrid(16, 7, 32), rng.standard_normal((16, 16)).astype(np.float32)
    image[[0, 1, -2, -1]] = image[:, [0, 1, -2, -1]] = 0
    moved = np.roll(image, (1, -2), axis=(0, 1))
    samples = PolarTransform(grid, 2)(np.stack([image, moved]))
    back = samples[1] * grid.shift_ramp(np.array([[-2.0, 1.0]]))[..., 0]
    np.testing.assert_allclose(back, samples[0], atol=2e-3 * np.abs(samples[0]).max())


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("half", [15, 16])
def test_coefficients_make_the_series(half, axis, rng):
    """X(θ) = Σ a_m exp(imθ) over all orders, a_−m = (−1)^m a_m*, along any axis."""
    samples = np.moveaxis(random_half(rng, 2, 3, half), -1, axis)
    a = np.moveaxis(angular_coefficients(samples, axis), axis, -1)
    assert a.shape == (2, 3, half + 1)
    theta, m = np.pi * np.arange(half) / half, np.arange(1, half)
    series = (
        a[..., :1]
        + a[..., 1:half] @ np.exp(1j * np.outer(m, theta))
        + ((-1.0) ** m * a[..., 1:half].conj()) @ np.exp(-1j * np.outer(m, theta))
    )
    series = series + a[..., half:] * np.exp(1j * half * theta)
    np.testing.assert_allclose(series, np.moveaxis(samples, axis, -1), atol=1e-5)


@pytest.mark.parametrize("axis, shape", [(0, (16, 3)), (1, (3, 16)), (-1, (2, 3, 16))])
def test_samples_come_back(axis, shape, rng):
    """All that is below the Nyquist order; the Nyquist order itself is left out."""
    samples = random_half(rng, *shape)
    again = half_circle(angular_coefficients(samples, axis), axis, 32)
    lost = np.moveaxis(again - samples, axis, -1)
    wave = (-1.0) ** np.arange(16)
    np.testing.assert_allclose(lost, (lost * wave).mean(axis=-1, keepdims=True) * wave, atol=1e-5)
    np.testing.assert_allclose(half_circle(angular_coefficients(again, axis), axis, 32), again, atol=1e-5)


def test_coefficients_are_read_at_any_number_of_angles(rng):
    """A smooth ring on 64 angles has the values of 32 angles in between, and fewer orders give a smoother ring."""
    coarse, fine = PolarGrid(24, 5, 64), PolarGrid(24, 5, 128)
    coefficients = angular_coefficients(blob_samples(coarse, 2.0, 1.0), 1)
    np.testing.assert_allclose(half_circle(coefficients, 1, 128), blob_samples(fine, 2.0, 1.0), atol=1e-4)
    mean = half_circle(coefficients[:, :1], 1, 64)
    np.testing.assert_allclose(
        mean, np.repeat(blob_samples(coarse, 2.0, 1.0).real.mean(axis=1, keepdims=True), 32, axis=1), atol=1e-4
    )


@pytest.mark.parametrize("turn", [0.3, -1.1])
def test_a_turn_is_a_phase(turn):
    """Content turned by an angle towards +y: coefficients times exp(−im angle)."""
    grid, place = PolarGrid(24, 9, 64), 2.5 * np.exp(0.4j)
    turned = place * np.exp(1j * turn)
    before, after = (angular_coefficients(blob_samples(grid, p.real, p.imag), 1) for p in (place, turned))
    np.testing.assert_allclose(after, before * np.exp(-1j * np.arange(33) * turn), atol=1e-4)


@pytest.mark.parametrize("ring, radius", [(3, 4.0), (12, 8.0), (15, 15.0)])
def test_band_holds_the_content_of_a_radius(ring, radius):
    """A point at the radius fills orders up to the Bessel cut-off: beyond the band nothing, well below it something."""
    theta = 2 * np.pi * np.arange(512) / 512
    orders = np.abs(np.fft.fft(np.exp(-2j * np.pi * ring * radius / 32 * np.cos(theta)))) / 512
    band = angular_band(32, ring, radius)
    assert orders[band + 1 : 256].max() < 5e-3
    assert orders[band // 2 : band + 1].max() > 0.05


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("rings, wanted, full", [(4, 3, 5), (12, 12, 15), (30, 20, 40), (31, 28, 31)])
def test_angles_are_enough_and_not_many_more(rings, wanted, full, fast):
    grid = PolarGrid.for_content(64, rings, wanted, full, fast=fast, first=0)
    assert (grid.nx, grid.n_rings, grid.first) == (64, rings, 0)
    least = max(angular_band(64, rings, wanted) + angular_band(64, rings, full), 32 if fast else 0)
    assert least <= grid.n_angles <= 1.4 * least + 4 and grid.n_angles % (16 if fast else 4) == 0
