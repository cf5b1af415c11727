"""What both ways do with maps: broadcast them, mask them, compare their half-maps, impose helical symmetry."""

from __future__ import annotations

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.maths.fourier.filters import lowpass_cosine
from mpirefine.maths.fourier.fsc import resolution_at
from mpirefine.maths.fourier.half_maps import HALF_MAP_FSC, half_curves
from mpirefine.maths.geometry.helical_map import find_helix, impose
from mpirefine.maths.geometry.helix import parse_helix
from mpirefine.maths.geometry.symmetry import helix
from mpirefine.maths.image.grey_scale import by_mass
from mpirefine.maths.image.masks import auto3d, soft_sphere
from mpirefine.steps.state import Context, State
from mpirefine.steps.summary import RefinedHelix

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


def symmetries_of(state: State, ctx: Context) -> tuple[str, ...]:
    """The symmetry of each map, of helices as the last iteration that refined them found it."""
    found = list(ctx.symmetries)
    for summary in state.history:
        for refined in summary.helices:
            found[refined.model] = refined_symmetry(found[refined.model], refined)
    return tuple(found)


def reach_along_axis(symmetry: str, apix: float) -> float:
    """How far along the axis of a helix particles are searched, in pixels of `apix` Å: half a rise either way; infinite
    for other symmetries.
    """
    coil = parse_helix(symmetry)
    return np.inf if coil is None else abs(coil.rise(apix)) / 2


def reach_of_references(state: State, ctx: Context) -> np.ndarray:
    """`reach_along_axis` (r,) of the map of each projection."""
    reach = np.array([reach_along_axis(name, ctx.grid.apix) for name in symmetries_of(state, ctx)])
    return reach[state.orientations.model]


def symmetry_in_pixels(symmetry: str, apix: float) -> str:
    """A symmetry; that of a helix with its rise in pixels of `apix` Å."""
    coil = parse_helix(symmetry)
    return symmetry if coil is None else coil.in_pixels(apix).text


def refined_symmetry(symmetry: str, refined: RefinedHelix) -> str:
    """A helix, whose rise is in Å, with a refined twist and rise."""
    return helix(symmetry)._replace(daz=refined.twist, tz=refined.rise).text


def settle_helix(
    model: int, halves: list[np.ndarray | None], symmetry: str, state: State, ctx: Context
) -> tuple[str, RefinedHelix | None]:
    """Collective. The `symmetry` of a map, which for a helix is refined with --helical-search, by the mean of its
    `halves` (z, y, x) on rank 0; and what was found.
    """
    if parse_helix(symmetry) is None or not ctx.settings.helical_search:
        return symmetry, None
    refined = None
    with ctx.team.together("refining twist and rise"):
        known = [half for half in halves if half is not None]
        if any(half.any() for half in known):
            coil, apix = helix(symmetry), ctx.grid.apix
            mean = lowpass_cosine(np.mean(known, axis=0), ctx.grid, ctx.grid.resolution(state.last_rings[model]))
            # nearer to the edge some of the inserted copies are missing, whose places tell the rise that was assumed
            radius = min(ctx.plan.full_radius, ctx.grid.nx // 2 - 1)
            moved = min(np.abs(coil.shifts(apix)).max(), radius / 2)
            found = find_helix(mean, coil.daz, coil.rise(apix), radius, moved)
            refined = RefinedHelix(model, found.twist, found.rise * apix, found.agreement)
    refined = ctx.team.bcast(refined)
    return (symmetry, None) if refined is None else (refined_symmetry(symmetry, refined), refined)


def impose_on_root(volume: np.ndarray | None, symmetry: str, ctx: Context) -> np.ndarray | None:
    """The map (z, y, x) of rank 0 with the symmetry of its central part, if that is helical; None elsewhere."""
    coil = parse_helix(symmetry)
    if coil is None or volume is None or not volume.any():
        return volume
    return impose(volume, coil, coil.rise(ctx.grid.apix), ctx.settings.helical_z)
