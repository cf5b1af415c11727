"""The Gaussian model of an image: X = α c P + N, with noise power σ²(k) per Fourier pixel that depends on the ring
only.

X is the image, P the projection, c its CTF and α its grey scale. The log-likelihood of a pose is Σ Re(X (α c P)*) / σ²
− ½ Σ α² c² |P|² / σ² with sums over the whole Fourier plane, up to a constant of the image. Images that were multiplied
by their CTF are α c² P + c N: their cross term is Σ Re(X (αP)*) / σ², all else is unchanged. X c / σ² is computed on
the Cartesian grid, where astigmatism is exact; multiplying by c also brings back to the particle the signal that the
CTF had spread out, so that a mask around the particle loses nothing.
"""

from __future__ import annotations

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.maths.fourier.ring_averages import ring_means
from mpirefine.maths.image.ctf import contrast_transfer, contrast_transfer_squared_orders

LEAST_NOISE = 0.02  # the least ring average of c², so that rings without signal do not divide by 0


def on_shells(profile_k: np.ndarray, grid: Grid) -> np.ndarray:
    """A radial profile (…, k = 0 .. nx // 2) as weights (…, h, k) of the image half-spectrum, linear between rings,
    constant beyond the last.
    """
    fy, fx = grid.frequencies()
    radius = np.sqrt(fy**2 + fx**2) * grid.length
    lower = np.minimum(radius.astype(int), profile_k.shape[-1] - 2)
    fraction = np.minimum(radius - lower, 1)
    return profile_k[..., lower] * (1 - fraction) + profile_k[..., lower + 1] * fraction


def transfer(ctf: CTFParams | None, grid: Grid) -> np.ndarray:
    """CTF (p, h, k) float32 on the image half-spectrum; (1, h, k) ones without CTF."""
    if ctf is None:
        return np.ones((1, *grid.half_shape), np.float32)
    fy, fx = grid.frequencies()
    return contrast_transfer(ctf, fx, fy)


def premultiplied(ctf: CTFParams | None, values: np.ndarray, rest: np.ndarray | float) -> np.ndarray:
    """`values` (p, ...) for images that were multiplied by their CTF, `rest` (broadcast) for the rest."""
    if ctf is None or ctf.premultiplied is None:
        return np.broadcast_to(rest, values.shape)
    return np.where(ctf.premultiplied.reshape(-1, *(1,) * (values.ndim - 1)), values, rest)


def signal_transfer(curve_phk: np.ndarray, ctf: CTFParams | None) -> np.ndarray:
    """The factor (p, h, k) between a projection and its image, given the CTF c: c, or c² where the image was multiplied
    by it.
    """
    return premultiplied(ctf, curve_phk * curve_phk, curve_phk)


def ctf_filter(curve_phk: np.ndarray, ctf: CTFParams | None) -> np.ndarray:
    """The factor (p, h, k) that images are multiplied by before they are scored, given the CTF c: c, or 1 where that
    was already done.
    """
    return premultiplied(ctf, np.ones_like(curve_phk), curve_phk)


def noise_power(ctf: CTFParams | None, count: int, rings: np.ndarray, grid: Grid) -> np.ndarray:
    """The noise power (p, k) float64 of images relative to σ²: the ring average of c² where they were multiplied by c,
    else 1.
    """
    if ctf is None or ctf.premultiplied is None:
        return np.ones((count, len(rings)))
    return premultiplied(ctf, np.maximum(transfer_power(ctf, count, rings, grid), LEAST_NOISE), 1.0)


def weighted_images(
    images_pyx: np.ndarray, ctf: CTFParams | None, weight_pk: np.ndarray, mask_yx: np.ndarray, grid: Grid
) -> np.ndarray:
    """Images (p, y, x) float32 multiplied by their CTF (unless they were already) and by a radial weight, then masked
    in real space.

    `weight_pk` (p, nx // 2 + 1) is 1/σ² (or α/σ²) of each particle on rings 0 .. nx // 2.
    """
    from scipy import fft

    spectrum = fft.rfft2(images_pyx)
    spectrum *= ctf_filter(transfer(ctf, grid), ctf)
    spectrum *= on_shells(weight_pk.astype(np.float32), grid).astype(np.float32)
    return fft.irfft2(spectrum, s=images_pyx.shape[1:], overwrite_x=True) * mask_yx


def transfer_power(ctf: CTFParams | None, count: int, rings: np.ndarray, grid: Grid) -> np.ndarray:
    """Ring average of c², (p, k) float64."""
    if ctf is None:
        return np.ones((count, len(rings)))
    return contrast_transfer_squared_orders(ctf, rings, grid, (0,))[..., 0].real


def corner_spectrum(images_pyx: np.ndarray, outside_yx: np.ndarray, grid: Grid) -> np.ndarray:
    """Noise power per Fourier pixel (nx // 2 + 1,) of whole images, measured outside the particle.

    `outside_yx` is a soft mask that is 1 outside the particle; the power of the masked images is scaled to the whole
    box.
    """
    from scipy import fft

    power = np.zeros(grid.half_shape)
    for image in images_pyx:
        power += np.abs(fft.rfft2((image - np.average(image, weights=outside_yx)) * outside_yx)) ** 2
    power /= max(len(images_pyx), 1) * np.mean(outside_yx**2)
    profile = ring_means(power, grid)
    profile[0] = profile[1]  # subtracting the background takes the origin away
    return profile
