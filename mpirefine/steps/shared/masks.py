"""The solvent mask of a map."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.image.grey_scale import by_mass
from mpirefine.maths.image.masks import auto3d
from mpirefine.steps.state import Context


def solvent(volume: np.ndarray, model: int, ctx: Context) -> np.ndarray:
    """On rank 0. The mask (z, y, x) of a map: made from its own density with --automask3d (at level 1 of its mass, when
    that is known).
    """
    automask = ctx.settings.automask
    if automask is None or not volume.any():
        return ctx.mask_of(model)
    if ctx.settings.mass:
        volume = by_mass(volume, ctx.grid, ctx.settings.mass[model])
    return auto3d(
        volume, automask.threshold, automask.radius, automask.nshells, automask.nshellsgauss, automask.nmaxseed
    )
