"""Step: from candidates to the probability of each map and the weight of each projection."""

from __future__ import annotations

from dataclasses import replace

from mpirefine.maths.likelihood.posterior import assign
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.shared.assignments import with_assignments
from mpirefine.steps.shared.random_subsets import draws_maps, with_drawn_maps
from mpirefine.steps.state import Context


class Classify:
    """Best projections and posterior of each particle; counts are summed over ranks."""

    name = "classify"

    def run(self, state: LikelihoodState, ctx: Context) -> LikelihoodState:
        """Collective."""
        if draws_maps(state, ctx):
            state = replace(state, candidates=with_drawn_maps(state, ctx))
        assignments = assign(state.candidates, state.orientations.model, sep=ctx.settings.sep, soft=ctx.settings.soft)
        return with_assignments(state, assignments, ctx)
