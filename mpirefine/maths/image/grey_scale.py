"""Grey scale of maps, from the mass that they enclose."""

from __future__ import annotations

import numpy as np

from mpirefine.data.grid import Grid

DALTONS_PER_CUBIC_ANGSTROM = 0.81  # 1.35 g/ml, EMAN2's figure


def mass_level(map_zyx: np.ndarray, apix: float, mass: float) -> float:
    """The level at and above which voxels of `apix` Å have a mass of `mass` kDa, found by EMAN2's steps.

    From mean + sigma / 2 up by steps of sigma / 5 until the mass is not larger, down by a quarter of that until it is
    not smaller, four times, each step a quarter of the one before: within 1e-5 sigma below the voxel that completes the
    mass, and not below the lowest voxel.
    """
    ordered = np.sort(map_zyx.ravel())
    mean, sigma = float(ordered.mean(dtype=np.float64)), float(ordered.std(ddof=1, dtype=np.float64))
    low, high = float(ordered[0]), float(ordered[-1])
    wanted = mass * 1000 / (DALTONS_PER_CUBIC_ANGSTROM * apix**3)
    level, step = mean + sigma / 2, sigma / 5

    def count() -> int:
        return len(ordered) - int(np.searchsorted(ordered, ordered.dtype.type(level)))

    for _ in range(4):
        while step > 0 and level < high and count() > wanted:
            level += step
        step /= 4
        while step > 0 and level > low and count() < wanted:
            level -= step
        step /= 4
    return float(max(level, low))


def by_mass(map_zyx: np.ndarray, grid: Grid, mass: float) -> np.ndarray:
    """EMAN2's normalize.bymass with thr=1: scaled so that the voxels at or above 1 enclose `mass` kDa; float32.
    Unchanged where that level is not positive.
    """
    level = mass_level(map_zyx, grid.apix, mass)
    return (map_zyx / level).astype(np.float32) if level > 0 else map_zyx
