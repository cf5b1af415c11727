"""The likelihood of a pose against a direct computation in real space, and what it is made of."""

import numpy as np
import pytest

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.maths.fourier.polar import PolarGrid, PolarTransform
from mpirefine.maths.image.ctf import contrast_transfer, contrast_transfer_squared_orders
from mpirefine.maths.image.masks import soft_sphere
from mpirefine.maths.likelihood.central_slices import polar_slices, slices
from mpirefine.maths.likelihood.correlation import (
    NORM_ORDERS,
    Correlator,
    norm_columns,
    norm_matrices,
    reference_matrices,
)
from mpirefine.maths.likelihood.model import (
    corner_spectrum,
    on_shells,
    ring_means,
    transfer,
    transfer_power,
    weighted_images,
)
from mpirefine.maths.likelihood.pose_search import ring_norms
from tests.maths.test_search import blob_map

GRID = Grid(32, 5.0)


def astigmatic(n):
    column = np.ones(n)
    return CTFParams(
        18000 * column,
        15000 * column,
        30 * column,
        20 * column,
        40 * column,
        column,
        300 * column,
        2.7 * column,
        0.1 * column,
    )


def direct_log_likelihood(image, model, sigma2):
    """−½ Σ |X − M|² / σ² over the Fourier plane minus that of no model, ring by ring, in float64."""
    x, m = np.fft.fft2(image), np.fft.fft2(model)
    ky, kx = np.meshgrid(*[np.fft.fftfreq(32) * 32] * 2, indexing="ij")
    ring = np.hypot(ky, kx)
    weight = np.interp(ring, np.arange(17), 1 / sigma2) * (ring <= 12.5)
    return float((-0.5 * (np.abs(x - m) ** 2 - np.abs(x) ** 2) * weight).sum())


def test_cross_and_norm_terms_are_the_likelihood(rng):
    """Polar sums against the plane: the same number for a colour of noise, an astigmatic CTF with phase shift, and any
    scale.
    """
    volume, alpha = blob_map(rng), 0.7
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    ctf, sigma2 = astigmatic(1), 32**2 * (1 + 3 * np.exp(-np.arange(17) / 3.0))
    fy, fx = GRID.frequencies()
    points = np.stack(np.broadcast_arrays(fx * GRID.length, fy * GRID.length), -1)
    spectrum = slices(volume, rotation[None], points) * contrast_transfer(ctf, fx, fy)
    spectrum *= np.exp(-1j * np.pi * (points[..., 0] + points[..., 1]))
    model = alpha * np.fft.irfft2(spectrum, s=(32, 32))[0]
    image = (model + 0.5 * model.std() * rng.standard_normal((32, 32))).astype(np.float32)
    expected = direct_log_likelihood(image, model, sigma2)

    polar = PolarGrid.for_content(32, 12, 15, 16, fast=True)
    weighted = weighted_images(image[None], ctf, (alpha / sigma2)[None], soft_sphere(32, 16, 1, 2) * 0 + 1, GRID)
    samples = PolarTransform(polar, 1)(weighted) * polar.quadrature[:, None].astype(np.float32)
    projection = polar_slices(volume, rotation[None], polar)
    cross = float((samples[0] * projection[0].conj()).real.sum() / polar.half_shape[1])
    power = (np.abs(projection) ** 2).mean(axis=2).astype(np.float32)
    rings = polar.radii.astype(int)
    norm = ring_norms(transfer_power(ctf, 1, rings, GRID), (alpha**2 / sigma2)[None, rings], power, polar)[0, 0]
    assert cross - norm == pytest.approx(expected, rel=0.06)


def test_norm_term_of_an_astigmatic_ctf_at_every_angle(rng):
    """What is taken from the correlation is ½ Σ c² |P|² of the projection at that angle and mirror, by the
    definition.
    """
    polar = PolarGrid.for_content(32, 12, 10, 12, fast=True)
    half = polar_slices(blob_map(rng), np.linalg.qr(rng.standard_normal((2, 3, 3)))[0], polar)
    ctf, rings = astigmatic(1), polar.radii.astype(int)
    orders = (
        contrast_transfer_squared_orders(ctf, rings, GRID, (0, *NORM_ORDERS))[0] * (0.5 * polar.quadrature)[:, None]
    )
    matrices, uneven = (
        np.empty((2, polar.n_angles, 12), np.float32),
        np.empty((2, 2 * len(NORM_ORDERS), 12), np.float32),
    )
    power = reference_matrices(half, matrices)
    norm_matrices(half, uneven)
    correlator = Correlator(polar, 12, 10)
    nothing = np.zeros((polar.n_angles, 12, 3), np.complex64)
    found = -correlator.correlate(nothing, matrices, (norm_columns(orders[:, 1:]), uneven))[correlator.rows]
    found += (power @ orders[:, 0].real)[:, None, None]
    x, y = np.moveaxis(PolarGrid(32, 12, polar.n_angles).points, -1, 0) / GRID.length
    transfer2 = np.tile(contrast_transfer(ctf, x, y)[0] ** 2, 2)
    whole = np.tile(np.abs(half) ** 2, 2)
    for r in range(2):
        for m, reference in enumerate((whole[r], whole[r][:, -np.arange(polar.n_angles)])):
            direct = [
                0.5 * (polar.quadrature * (transfer2 * np.roll(reference, t, axis=1)).mean(axis=1)).sum()
                for t in range(polar.n_angles)
            ]
            assert np.ptp(direct) > 0.005 * np.mean(direct)  # astigmatism matters here
            for shift in range(3):
                np.testing.assert_allclose(found[:, r, shift, m], direct, rtol=3e-4)


def test_without_ctf_the_transfer_is_one():
    assert (transfer(None, GRID) == 1).all()
    assert transfer_power(None, 3, np.arange(5), GRID).shape == (3, 5)


def test_profiles_on_shells_and_back():
    profile = np.linspace(1, 5, 17)
    weights = on_shells(profile, GRID)
    np.testing.assert_allclose(weights[0, :17], profile)
    assert weights[16, 16] == 5
    np.testing.assert_allclose(ring_means(weights, GRID)[1:], profile[1:], rtol=0.05)
    np.testing.assert_allclose(ring_means(np.ones(GRID.half_shape), GRID), 1)


def test_noise_outside_the_particle_is_measured_without_the_particle(rng):
    spectrum = np.sqrt(on_shells(1 + 4 * np.exp(-np.arange(17) / 4.0), GRID))
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((400, 32, 32))) * spectrum, s=(32, 32)).astype(np.float32)
    particle = 20 * soft_sphere(32, 6, 2, 2)
    found = corner_spectrum(noise + particle, 1 - soft_sphere(32, 10, 3, 2), GRID) / 32**2
    np.testing.assert_allclose(found[3:16], (1 + 4 * np.exp(-np.arange(17) / 4.0))[3:16], rtol=0.15)


def test_weighting_is_a_filter(rng):
    images = rng.standard_normal((2, 32, 32)).astype(np.float32)
    ctf, weight = astigmatic(2), np.linspace(2, 1, 17)[None].repeat(2, 0)
    mask = soft_sphere(32, 12, 3, 2)
    found = weighted_images(images, ctf, weight, mask, GRID)
    fy, fx = GRID.frequencies()
    expected = (
        np.fft.irfft2(np.fft.rfft2(images) * contrast_transfer(ctf, fx, fy) * on_shells(weight, GRID), s=(32, 32))
        * mask
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_ring_means_are_those_of_the_whole_plane(rng):
    """Friedel mates counted, corners left out."""
    images = rng.standard_normal((3, 32, 32))
    power, radius = np.abs(np.fft.fft2(images)) ** 2, np.rint(np.hypot(*np.meshgrid(*[np.fft.fftfreq(32, 1 / 32)] * 2)))
    expected = [[one[radius == k].mean() for k in range(17)] for one in power]
    np.testing.assert_allclose(ring_means(np.abs(np.fft.rfft2(images)) ** 2, GRID), expected)
