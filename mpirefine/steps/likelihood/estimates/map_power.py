"""How strong maps are: the power of their projections on each Fourier ring."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.fourier.ring_averages import ring_means
from mpirefine.maths.geometry.directions import projection_directions
from mpirefine.maths.likelihood.central_slices import slices
from mpirefine.steps.likelihood.search.spectra import full_points
from mpirefine.steps.state import Context

POWER_STEP = 30.0  # degrees between the views that a map's power is averaged over


def ring_powers(volumes: np.ndarray, ctx: Context) -> np.ndarray:
    """(m, k) mean power per Fourier pixel of projections of each map (m, z, y, x) on rings 0 .. nx // 2."""
    points, views = full_points(ctx), projection_directions("c1", POWER_STEP)
    return np.stack([ring_means(np.mean(np.abs(slices(v, views, points)) ** 2, axis=0), ctx.grid) for v in volumes])
