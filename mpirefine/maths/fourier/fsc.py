"""Fourier shell correlation (FSC) of maps, and resolutions from it."""

from __future__ import annotations

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.maths.fourier.filters import random_phases


def fsc(a_zyx: np.ndarray, b_zyx: np.ndarray) -> np.ndarray:
    """FSC (nx // 2 + 1,) float64 of two maps (z, y, x), by rounded shell; 0 where a map has no power."""
    from scipy import fft

    nx = a_zyx.shape[0]
    last = nx // 2
    shells = np.minimum(Grid(nx, 1.0).shells(3), last + 1).ravel()
    first, second = (fft.rfftn(v) for v in (a_zyx, b_zyx))
    mates = Grid(nx, 1.0).mates()

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(shells, (values * mates).ravel(), last + 2)[: last + 1]

    cross = total((first * second.conj()).real)
    power = np.sqrt(total(np.abs(first).astype(np.float64) ** 2) * total(np.abs(second).astype(np.float64) ** 2))
    return np.where(power > 0, cross / np.where(power > 0, power, 1), 0.0)


def randomise_phases(map_zyx: np.ndarray, first: int, rng: np.random.Generator) -> np.ndarray:
    """The map (z, y, x) float32 with its amplitudes, and random phases from shell `first` on."""
    return random_phases(map_zyx, Grid(map_zyx.shape[0], 1.0).shells(3) >= first, rng)


def without_mask_effect(masked: np.ndarray, randomised: np.ndarray, first: int) -> np.ndarray:
    """FSC of masked half-maps corrected for the correlation that the mask adds (Chen et al. 2013): (F − R) / (1 − R).

    R is the FSC of the masked half-maps with phases randomised from shell `first` on; shells up to `first` are kept.
    """
    background = np.clip(randomised, 0, 0.99)
    beyond = np.arange(len(masked)) >= first + 1
    return np.where(beyond, (masked - background) / (1 - background), masked)


def first_uncertain(curve: np.ndarray, threshold: float = 0.8) -> int:
    """The first shell, from shell 2 on, where a curve (k,) is below a threshold; its length when there is none."""
    below = np.flatnonzero(curve[2:] < threshold)
    return int(below[0]) + 2 if len(below) else len(curve)


def resolution_at(curve: np.ndarray, threshold: float, grid: Grid) -> float:
    """Resolution in Å where a curve (k,) first falls below a threshold, linear between shells; Nyquist when it never
    does.

    The length of the box for a curve that starts below the threshold; nan for a curve of nan.
    """
    if np.isnan(curve).all():
        return float("nan")
    below = np.flatnonzero(curve[1 : grid.nx // 2 + 1] < threshold)
    if not len(below):
        return grid.nyquist
    at = int(below[0]) + 1
    if at == 1:
        return grid.length
    drop = curve[at - 1] - curve[at]
    return float(grid.length / (at - 1 + (curve[at - 1] - threshold) / drop))
