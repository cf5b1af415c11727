"""Step: assign each particle to its best projections, all with weight 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.data.poses import Assignments
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.shared.assignments import with_assignments
from mpirefine.steps.shared.random_subsets import draws_maps, with_drawn_maps
from mpirefine.steps.state import Context


class ChooseBest:
    """A particle's map is that of its best projection."""

    name = "classify"

    def run(self, state: Eman2State, ctx: Context) -> Eman2State:
        """Collective."""
        if draws_maps(state, ctx):
            state = replace(state, candidates=with_drawn_maps(state, ctx))
        reference = state.candidates.reference
        used = reference >= 0
        model = np.where(used[:, 0], state.orientations.model[reference[:, 0]], -1).astype(np.int32)
        posterior = (model[:, None] == np.arange(ctx.models)).astype(np.float32)
        best = np.zeros(len(reference), np.int32)
        assignments = Assignments(used.astype(np.float32), posterior, model, best)
        # scores say nothing of single particles: all are trusted alike
        state = replace(state, trust=np.ones(len(reference), np.float32), grey=np.ones(len(reference)))
        return with_assignments(replace(state, summary=replace(state.summary, posteriors=False)), assignments, ctx)
