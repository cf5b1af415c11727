"""Images of own particles in Fourier space, as the likelihood compares them with projections."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.likelihood.model import weighted_images
from mpirefine.steps.shared.particles import CHUNK_PIXELS
from mpirefine.steps.state import Context, State, amplitude


def chunk_of(ctx: Context) -> int:
    """Particles taken together."""
    return max(1, CHUNK_PIXELS // ctx.grid.nx**2)


def full_points(ctx: Context) -> np.ndarray:
    """(h, k, 2) x, y in Fourier pixels of an image's half-spectrum."""
    fy, fx = ctx.grid.frequencies()
    x, y = np.broadcast_arrays(fx * ctx.grid.length, fy * ctx.grid.length)
    return np.stack([x, y], -1)


def centred_spectrum(images_pyx: np.ndarray, shift_pxy: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Half-spectra with the origin at the box centre, content moved back by `shift_pxy` pixels."""
    from scipy import fft

    nx = images_pyx.shape[1]
    spectrum = fft.rfft2(images_pyx)
    back = shift_pxy + nx // 2
    phase = (2 * np.pi / nx) * (points[..., 0] * back[:, :1, None] + points[..., 1] * back[:, 1:, None])
    return spectrum * np.exp(1j * phase).astype(np.complex64)


def pixels_of_rings(ctx: Context, rings: int) -> np.ndarray:
    """(k,) how many pixels of the whole plane a ring has, halved by what a real image's two halves share; 0 beyond
    `rings` and at the origin.

    −½ Σ |X − P|² / σ² over the whole plane counts every independent coefficient, which has two parts of variance σ²/2,
    once.
    """
    ky, kx = ctx.grid.frequencies()
    radius = np.rint(np.hypot(*np.broadcast_arrays(ky * ctx.grid.length, kx * ctx.grid.length))).astype(int)
    both = np.full(radius.shape, 2.0)
    both[:, [0, -1]] = 1
    count = np.bincount(radius.ravel(), both.ravel(), ctx.grid.nx)[: ctx.grid.nx // 2 + 1]
    count[0], count[rings + 1 :] = 0, 0
    return count


def weighted(ctx: Context, state: State, rows: np.ndarray, images_pyx: np.ndarray, mask_yx: np.ndarray) -> np.ndarray:
    """α c X / σ² of own rows and their images, back in real space and masked."""
    table = ctx.particles.table
    group = table.group[rows]
    weight = amplitude(state, ctx, rows)[:, None] / state.noise.sigma2[group]
    ctf = ctx.particles.ctf(rows)
    return weighted_images(images_pyx, ctf, weight, mask_yx, ctx.grid)
