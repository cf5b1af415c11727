"""Grey scales of maps."""
from __future__ import annotations

import numpy as np

from mpirefine.data.grid import Grid

DALTONS_PER_CUBIC_ANGSTROM = 0.81       # 1.35 g/ml, EMAN2's figure


def by_mass(map_zyx: np.ndarray, grid: Grid, mass: float) -> np.ndarray:
    """EMAN2's normalize.bymass with thr=1: scaled so that the voxels at or above 1 enclose `mass` kDa.

    The level is the exact quantile that EMAN2 searches for by steps. Unchanged where that level is not positive.
    """
    voxels = mass * 1000 / (DALTONS_PER_CUBIC_ANGSTROM * grid.apix ** 3)
    count = int(np.clip(round(voxels), 1, map_zyx.size))
    level = float(np.partition(map_zyx.ravel(), map_zyx.size - count)[map_zyx.size - count])
    return (map_zyx / level).astype(np.float32) if level > 0 else map_zyx
