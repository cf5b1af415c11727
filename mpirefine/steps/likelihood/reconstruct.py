"""Step: maps and half-maps from slabs of Fourier sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.maths.likelihood.fourier_volume import radial_index
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.likelihood.volumes.slabs import PAD
from mpirefine.steps.likelihood.volumes.wiener import reconstruct_map
from mpirefine.steps.state import Context, stack_on_root


class Reconstruct:
    """One map and two half-maps of each model; the map's Wiener filter follows from the half-maps' FSC."""

    name = "reconstruct"

    def run(self, state: LikelihoodState, ctx: Context) -> LikelihoodState:
        """Collective."""
        assert state.slab is not None, "nothing was averaged"
        radius = radial_index(state.slab.box, state.slab.block, PAD)
        parts = [reconstruct_map(m, m, state, state.slab, radius, ctx) for m in range(ctx.models)]
        names = parts[0].curves
        return replace(
            state,
            previous=state.volumes,
            volumes=stack_on_root([part.volume for part in parts]),
            halves=stack_on_root([stack_on_root(part.halves) for part in parts]),
            slab=None,
            summary=replace(
                state.summary,
                lone_halves=tuple(half for part in parts for half in part.lone_halves),
                helices=tuple(part.helix for part in parts if part.helix is not None),
            ),
            curves={**state.curves, **{name: np.array([part.curves[name] for part in parts]) for name in names}},
        )
