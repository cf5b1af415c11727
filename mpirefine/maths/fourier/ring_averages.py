"""Averages over the rings of images' Fourier transforms."""

from __future__ import annotations

import numpy as np

from mpirefine.data.grid import Grid


def ring_means(values_hk: np.ndarray, grid: Grid) -> np.ndarray:
    """Mean (..., nx // 2 + 1) float64 of half-spectra (..., h, k) over each rounded ring 0 .. nx // 2, both Friedel
    mates counted.
    """
    shells = np.minimum(grid.shells(2), grid.nx // 2 + 1)
    order = np.argsort(shells.ravel(), kind="stable")
    # where each ring starts; the last run is what lies beyond the rings
    first = np.searchsorted(shells.ravel()[order], np.arange(grid.nx // 2 + 2))

    def totals(values: np.ndarray) -> np.ndarray:
        flat = (values * grid.mates()).reshape(*values.shape[:-2], -1)[..., order]
        return np.add.reduceat(flat, first, axis=-1, dtype=np.float64)[..., :-1]

    return totals(values_hk) / totals(np.ones(grid.half_shape))
