"""Step: mask the solvent of the maps, and find their resolutions and the rings that the next iteration uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.shared.maps import half_map_resolutions, solvent_mask
from mpirefine.steps.state import Context

RING_MARGIN = 1.1  # the next iteration uses rings to this times a map's resolution, never beyond --targetres


class Postprocess:
    """Masks and resolutions, found on rank 0; resolutions are broadcast. Grey scales stay as they are."""

    name = "postprocess"

    def run(self, state: LikelihoodState, ctx: Context) -> LikelihoodState:
        """Collective."""
        volumes, resolution = state.volumes, []
        with ctx.team.together("masking the maps"):
            if ctx.team.is_root:
                resolution = half_map_resolutions(state, ctx)
                masked = [volume * solvent_mask(volume, m, ctx) for m, volume in enumerate(state.root_volumes)]
                volumes = np.stack(masked).astype(np.float32)
        resolution = ctx.team.bcast(resolution)
        matched_to = tuple(ctx.grid.resolution(ring) for ring in state.last_rings)
        return replace(
            state,
            volumes=volumes,
            last_rings=tuple(next_ring(ctx, *known) for known in zip(state.last_rings, resolution)),
            summary=replace(state.summary, resolution=tuple(resolution), matched_to=matched_to),
        )


def next_ring(ctx: Context, ring: int, resolution: float) -> int:
    """Outermost ring of a map in the next iteration; that of this one, `ring`, without a `resolution` (Å)."""
    if np.isnan(resolution):
        return ring
    return int(np.clip(round(RING_MARGIN * ctx.grid.ring(resolution)), ctx.limits.least, ctx.limits.target))
