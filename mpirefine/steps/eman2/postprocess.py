"""Step: filter maps by their half-maps, mask them, and align them to the frame and hand of the first map."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.maths.eman2.processors.fitted_filters import wiener_by_fsc
from mpirefine.maths.fourier.half_maps import known_fsc
from mpirefine.maths.geometry.align_maps import onto
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
        resolution, finished = [], None
        with ctx.team.together("finishing the maps"):
            if ctx.team.is_root:
                resolution = half_map_resolutions(state, ctx)
                finished = self._finished(state, ctx)
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

    def _finished(self, state: Eman2State, ctx: Context) -> FinishedMaps:
        """On rank 0. The maps, half-maps and views after filter, mask and alignment."""
        assert state.halves is not None
        origins, volumes = np.zeros((ctx.models, 3)), state.root_volumes.copy()
        halves, rotation = state.halves.copy(), state.orientations.rotation.copy()
        for m, volume in enumerate(volumes):
            if not volume.any():
                continue
            if self.own_filter:
                volumes[m] = filter_by_half_maps(
                    volume, known_fsc(state.curves["half_fsc"][m], state.last_rings[m]), ctx
                )
            volumes[m] *= solvent_mask(volumes[m], m, ctx)
            if m and volumes[0].any():
                move = onto(volumes[m], volumes[0], ctx.grid, ctx.symmetries[m], ctx.symmetries[0])
                volumes[m], halves[m] = move(volumes[m]), np.stack([move(half) for half in halves[m]])
                part = state.orientations.of_model(m)
                rotation[part], origins[m] = move.views(rotation[part]), move.origin
        return FinishedMaps(volumes, halves, rotation, origins)


@dataclass(frozen=True)
class FinishedMaps:
    """Maps in their final frames, and what particles' poses need to follow them."""

    volumes: np.ndarray  # (m, z, y, x)
    halves: np.ndarray  # (m, 2, z, y, x)
    rotation: np.ndarray  # (r, 3, 3) of the projections, in the new frames
    origins: np.ndarray  # (m, 3) voxels, where the old origins lie in the new frames


def filter_by_half_maps(volume: np.ndarray, curve: np.ndarray, ctx: Context) -> np.ndarray:
    """A map (z, y, x) after a Wiener filter by the signal-to-noise ratio that the FSC (k,) of its half-maps gives.

    e2refinemulti takes the FSC between maps instead, which removes what maps differ in.
    """
    frequency = np.arange(len(curve)) / ctx.grid.length
    return wiener_by_fsc(volume, ctx.grid.apix, fscfile=np.stack([frequency[1:], curve[1:]], -1), sscale=WIENER_STRETCH)
