"""Step: filter maps by their half-maps, mask them, and align them to the frame and hand of the first map."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.maths.eman2.processors.fitted_filters import wiener_by_fsc
from mpirefine.maths.fourier.half_maps import known_fsc
from mpirefine.maths.geometry.align_maps import STILL, Move, onto
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.shared.maps import half_map_resolutions, solvent_mask
from mpirefine.steps.state import Context

WIENER_STRETCH = 1.2  # e2refinemulti's sscale: maps keep features to this much beyond where the FSC falls


@dataclass(frozen=True)
class FinishMaps:
    """Filters, masks and aligns maps; the views of the particles turn with them.

    Without `own_filter` the filter is left out, since `--m3dpostprocess` has filtered the maps.
    """

    own_filter: bool
    name = "postprocess"

    def run(self, state: Eman2State, ctx: Context) -> Eman2State:
        """Collective."""
        resolution, volumes, finished = [], None, None
        with ctx.team.together("filtering the maps"):
            if ctx.team.is_root:
                resolution, volumes = half_map_resolutions(state, ctx), self._filtered(state, ctx)
        moves = moves_onto_first(volumes, ctx)
        with ctx.team.together("moving the maps"):
            if volumes is not None:
                finished = moved(volumes, moves, state)
        resolution, origins = ctx.team.bcast((resolution, finished.origins if finished else None))
        rotation = reduce.bcast_array(ctx.team, finished.rotation if finished else None)
        matched_to = tuple(ctx.grid.resolution(r) for r in state.last_rings)
        return replace(
            state,
            volumes=finished.volumes if finished else None,
            halves=finished.halves if finished else None,
            orientations=replace(state.orientations, rotation=rotation),
            origins=origins,
            summary=replace(state.summary, resolution=tuple(resolution), matched_to=matched_to),
        )

    def _filtered(self, state: Eman2State, ctx: Context) -> np.ndarray:
        """On rank 0. The maps (m, z, y, x) after filter and mask."""
        volumes = state.root_volumes.copy()
        for m, volume in enumerate(volumes):
            if not volume.any():
                continue
            if self.own_filter:
                volumes[m] = filter_by_half_maps(
                    volume, known_fsc(state.curves["half_fsc"][m], state.last_rings[m]), ctx
                )
            volumes[m] *= solvent_mask(volumes[m], m, ctx)
        return volumes


@dataclass(frozen=True)
class FinishedMaps:
    """Maps in their final frames, and what particles' poses need to follow them."""

    volumes: np.ndarray  # (m, z, y, x)
    halves: np.ndarray  # (m, 2, z, y, x)
    rotation: np.ndarray  # (r, 3, 3) of the projections, in the new frames
    origins: np.ndarray  # (m, 3) voxels, where the old origins lie in the new frames


def moves_onto_first(volumes: np.ndarray | None, ctx: Context) -> tuple[Move, ...]:
    """Collective. The moves of maps (m, z, y, x) of rank 0 to the frame and hand of the first one; they are found on as
    many ranks as there are maps, and known to all.
    """
    team, own = ctx.team, {}
    first = reduce.bcast_array(team, None if volumes is None else volumes[0])
    for m in range(1, ctx.models):
        volume = reduce.bcast_array(team, None if volumes is None else volumes[m])
        if (m - 1) % team.size == team.rank:
            own[m] = volume
    with team.together("bringing maps into one frame"):
        found = {m: onto(own[m], first, ctx.grid, ctx.symmetries[m], ctx.symmetries[0]) for m in own}
    every = {m: move for part in team.allgather(found) for m, move in part.items()}
    return (STILL, *(every[m] for m in range(1, ctx.models)))


def moved(volumes: np.ndarray, moves: tuple[Move, ...], state: Eman2State) -> FinishedMaps:
    """On rank 0. Maps (m, z, y, x), half-maps and views after the moves of the maps."""
    assert state.halves is not None
    volumes, halves, rotation = volumes.copy(), state.halves.copy(), state.orientations.rotation.copy()
    origins = np.zeros((len(volumes), 3))
    for m, move in enumerate(moves):
        if not move.still:
            volumes[m], halves[m] = move(volumes[m]), np.stack([move(half) for half in halves[m]])
            part = state.orientations.of_model(m)
            rotation[part], origins[m] = move.views(rotation[part]), move.origin
    return FinishedMaps(volumes, halves, rotation, origins)


def filter_by_half_maps(volume: np.ndarray, curve: np.ndarray, ctx: Context) -> np.ndarray:
    """A map (z, y, x) after a Wiener filter by the signal-to-noise ratio that the FSC (k,) of its half-maps gives.

    e2refinemulti takes the FSC between maps instead, which removes what maps differ in.
    """
    frequency = np.arange(len(curve)) / ctx.grid.length
    return wiener_by_fsc(volume, ctx.grid.apix, fscfile=np.stack([frequency[1:], curve[1:]], -1), sscale=WIENER_STRETCH)
