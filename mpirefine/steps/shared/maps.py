"""What both ways do with maps: broadcast them, mask them, compare their half-maps."""

from __future__ import annotations

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.maths.fourier.fsc import resolution_at
from mpirefine.maths.fourier.half_maps import HALF_MAP_FSC, half_curves
from mpirefine.maths.image.grey_scale import by_mass
from mpirefine.maths.image.masks import auto3d, soft_sphere
from mpirefine.steps.state import Context, State

DISC_EDGE, DISC_DIMENSIONS = 4.0, 2  # pixels of soft edge of the mask of images


def broadcast_map(state: State, ctx: Context, model: int) -> np.ndarray:
    """Collective. One map (z, y, x) of rank 0 on all ranks."""
    return reduce.bcast_array(ctx.team, state.root_volumes[model] if ctx.team.is_root else None)


def particle_disc(ctx: Context, radius: float | None = None) -> np.ndarray:
    """(y, x) soft disc of `radius` pixels; by default it covers a particle at any allowed shift."""
    return soft_sphere(ctx.grid.nx, ctx.plan.full_radius if radius is None else radius, DISC_EDGE, DISC_DIMENSIONS)


def solvent_mask(volume: np.ndarray, model: int, ctx: Context) -> np.ndarray:
    """On rank 0. The mask (z, y, x) of a map, with --automask3d made from its own density.

    Where the map's mass is known, the threshold of --automask3d counts in units of the contour level of that mass.
    """
    automask = ctx.settings.automask
    if automask is None or not volume.any():
        return ctx.mask_of(model)
    if ctx.settings.mass:
        volume = by_mass(volume, ctx.grid, ctx.settings.mass[model])
    return auto3d(
        volume, automask.threshold, automask.radius, automask.nshells, automask.nshellsgauss, automask.nmaxseed
    )


def half_map_curves(
    half_maps: tuple[np.ndarray, np.ndarray], model: int, state: State, ctx: Context
) -> dict[str, np.ndarray]:
    """On rank 0. FSC curves (k,) by name of a map's two half-maps (z, y, x), corrected for its solvent mask."""
    rng = np.random.default_rng([ctx.settings.seed, state.iteration, model])
    return half_curves(half_maps, ctx.mask_of(model), rng)


def half_map_resolutions(state: State, ctx: Context) -> list[float]:
    """On rank 0. Å of each map, where the FSC of its half-maps falls below 0.143; nan where that is unknown."""
    return [resolution_at(curve, HALF_MAP_FSC, ctx.grid) for curve in state.curves["half_fsc"]]
