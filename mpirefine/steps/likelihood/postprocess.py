"""Step: what the next iteration projects: the solvent masked away, the rest on the particles' absolute grey scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.maths.fourier.fsc import resolution_at
from mpirefine.maths.fourier.half_maps import HALF_MAP_FSC
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.shared.masks import solvent
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
                resolution = [resolution_at(curve, HALF_MAP_FSC, ctx.grid) for curve in state.curves["half_fsc"]]
                masked = [v * solvent(v, m, ctx) for m, v in enumerate(state.root_volumes)]
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
