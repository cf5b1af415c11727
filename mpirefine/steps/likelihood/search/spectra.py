"""Own particles in Fourier space, as the likelihood compares them with projections."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.likelihood.model import weighted_images
from mpirefine.steps.shared.particles import CHUNK_PIXELS
from mpirefine.steps.state import Context, State, amplitude


def chunk_of(ctx: Context) -> int:
    """How many particles are transformed together."""
    return max(1, CHUNK_PIXELS // ctx.grid.nx**2)


def full_points(ctx: Context) -> np.ndarray:
    """Coordinates x, y (ky, kx, 2) in Fourier pixels of an image's half-spectrum."""
    fy, fx = ctx.grid.frequencies()
    x, y = np.broadcast_arrays(fx * ctx.grid.length, fy * ctx.grid.length)
    return np.stack([x, y], -1)


def centred_spectrum(images_pyx: np.ndarray, shift_pxy: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Half-spectra (p, ky, kx) of images moved back by `shift_pxy` (p, 2) pixels, with the origin at the box centre.

    `points` are those of `full_points`.
    """
    from scipy import fft

    nx = images_pyx.shape[1]
    spectrum = fft.rfft2(images_pyx)
    back = shift_pxy + nx // 2
    phase = (2 * np.pi / nx) * (points[..., 0] * back[:, :1, None] + points[..., 1] * back[:, 1:, None])
    return spectrum * np.exp(1j * phase).astype(np.complex64)


def pixels_of_rings(ctx: Context, rings: int) -> np.ndarray:
    """Number of pixels (k,) of the whole Fourier plane on each ring; 0 beyond `rings` and at the origin.

    In −½ Σ |X − P|² / σ² over the whole plane each independent coefficient occurs twice, as a Friedel pair. That is the
    right weight: its two parts, real and imaginary, have the variance σ²/2 each.
    """
    ky, kx = ctx.grid.frequencies()
    radius = np.rint(np.hypot(*np.broadcast_arrays(ky * ctx.grid.length, kx * ctx.grid.length))).astype(int)
    multiplicity = np.full(radius.shape, 2.0)  # a Friedel pair, but for columns that hold both of its members
    multiplicity[:, [0, -1]] = 1
    count = np.bincount(radius.ravel(), multiplicity.ravel(), ctx.grid.nx)[: ctx.grid.nx // 2 + 1]
    count[0], count[rings + 1 :] = 0, 0
    return count


def weighted(ctx: Context, state: State, rows: np.ndarray, images_pyx: np.ndarray, mask_yx: np.ndarray) -> np.ndarray:
    """Images (p, y, x) of α c X / σ² in real space, masked; of own `rows` (p,) and their images `images_pyx`."""
    table = ctx.particles.table
    group = table.group[rows]
    weight = amplitude(state, ctx, rows)[:, None] / state.noise.sigma2[group]
    ctf = ctx.particles.ctf(rows)
    return weighted_images(images_pyx, ctf, weight, mask_yx, ctx.grid)
