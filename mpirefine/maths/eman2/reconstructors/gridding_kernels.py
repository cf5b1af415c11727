"""Kernels of EMAN2's fourier reconstructor that weight values, but not the weights: gridding and Kaiser-Bessel."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

THIRDS = 3  # samples of a gridding kernel per Fourier pixel
BOX, FLAT, HALF = 768, 72, 118  # voxels: box of the iteration, radius and fall-off of its start, half of what it keeps
SWEEPS = 64  # iterations between both spaces
ALPHA, DERIVED_ALPHA, DERIVED_REACH = 15.0, 32.0, 4  # of Kaiser-Bessel kernels


@lru_cache(maxsize=2)
def gridding_table(size: int) -> np.ndarray:
    """The kernel of `size` neighbours at distances 0, 1/3, 2/3, ... on each axis: EMAN2's examples/kernel_opt.

    A map, 1 to radius 72 and then exp(-((r - 72) / 72)^2), is cut to a cube of 236 voxels in a box of 768, transformed,
    cut to 3 `size` coefficients on each axis, and transformed back, 64 times. Both cuts are products of cuts on the
    axes, so a sweep is one matrix on each axis. Beyond its last sample the kernel is 0.
    """
    last = (THIRDS * size - 1) // 2
    x, k = np.arange(HALF + 1), np.arange(-last, last + 1)
    count = np.full(len(x), 2.0)  # voxels at x and -x: one at 0, and one at the end
    count[[0, -1]] = 1
    radius = np.sqrt((x**2)[:, None, None] + (x**2)[:, None] + x**2)
    kernel = np.where(radius > FLAT, np.exp(-(((radius - FLAT) / FLAT) ** 2)), 1.0)
    wave = np.cos(2 * np.pi * np.outer(k, x) / BOX) * count
    for _ in range(3):
        kernel = np.tensordot(kernel, wave, axes=(0, 1))
    sweep = np.cos(2 * np.pi * (k[:, None] - k)[..., None] * x / BOX) @ count / BOX
    for _ in range(3):
        kernel = np.tensordot(kernel, np.linalg.matrix_power(sweep, SWEEPS - 1), axes=(0, 1))
    return np.pad(kernel[last:, last:, last:] / (BOX // THIRDS) ** 3, (0, 1))


def gridding_shares(away: np.ndarray, box: int) -> np.ndarray:
    """Shares (x, y, z neighbours, m) of values at distances (3, neighbours, m), by the nearest sample of the table."""
    table = gridding_table(away.shape[1])
    x, y, z = np.minimum(np.abs(np.floor(away * THIRDS + 0.5)).astype(int), len(table) - 1)
    return table[x[:, None, None], y[:, None], z]


def kaiser_bessel_shares(away: np.ndarray, box: int) -> np.ndarray:
    """Shares (x, y, z neighbours, m): e^-b I0(b) at b = 15 pi sqrt(1 - (d^2 / (box / 2 - 1) - 1)^2), over that at 15
    pi; 0 beyond.
    """
    from scipy.special import i0e

    inside = 1 - (squared(away) / (box // 2 - 1) - 1) ** 2
    return np.where(inside >= 0, i0e(np.pi * ALPHA * np.sqrt(np.maximum(inside, 0))) / i0e(np.pi * ALPHA), 0)


def derived_shares(away: np.ndarray, box: int) -> np.ndarray:
    """Shares (x, y, z neighbours, m): the root of the share of the kernel's sum up to d^2, which EMAN2's division of
    whole numbers makes 0.57 at the centre and 1 from 2 pixels on: nearly a plain mean.
    """
    from scipy.special import i0e

    place = (DERIVED_REACH + np.arange(DERIVED_REACH + 1)) // (2 * DERIVED_REACH - 1) - 1
    weight = i0e(np.pi * DERIVED_ALPHA * np.sqrt(1.0 - place**2))
    total = np.sqrt(np.cumsum(weight) / weight.sum())
    return total[np.minimum(squared(away), DERIVED_REACH).astype(int)]


def squared(away: np.ndarray) -> np.ndarray:
    """d^2 (x, y, z neighbours, m) of distances on the axes (3, neighbours, m)."""
    x, y, z = away**2
    return x[:, None, None] + y[:, None] + z
