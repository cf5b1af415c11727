"""Step: what the next iteration projects: the solvent masked away, the rest on the particles' absolute grey scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.shared.maps import half_map_resolutions, solvent_mask
from mpirefine.steps.state import Context

RING_MARGIN = 1.1  # rings of a map used next: this much beyond its resolution, never beyond --targetres


class Postprocess:
    """Masks and resolutions, on rank 0; the numbers all ranks need are broadcast."""

    name = "postprocess"

    def run(self, state: LikelihoodState, ctx: Context) -> LikelihoodState:
        """Collective."""
        volumes, resolution = state.volumes, []
        with ctx.team.together("masking the maps"):
            if ctx.team.is_root:
                resolution = half_map_resolutions(state, ctx)
                masked = [v * solvent_mask(v, m, ctx) for m, v in enumerate(state.root_volumes)]
                volumes = np.stack(masked).astype(np.float32)
        resolution = ctx.team.bcast(resolution)
        rings = tuple(
            own
            if np.isnan(r)
            else int(np.clip(round(RING_MARGIN * ctx.grid.ring(r)), ctx.limits.least, ctx.limits.target))
            for own, r in zip(state.last_rings, resolution)
        )
        used = [ctx.grid.resolution(r) for r in state.last_rings]
        return replace(
            state,
            volumes=volumes,
            last_rings=rings,
            summary=replace(state.summary, resolution=tuple(resolution), matched_to=tuple(used)),
        )
