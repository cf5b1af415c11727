"""Step: match own particles to all projections, and keep the best projections of each particle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.steps.likelihood.search.candidates import find_candidates
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.state import Context


class Simmx:
    """The similarity matrix, row by row."""

    name = "simmx"

    def run(self, state: LikelihoodState, ctx: Context) -> LikelihoodState:
        """The state with candidates of own particles; collective only with --fixed-poses, which broadcasts the maps."""
        rows = np.arange(len(ctx.particles))
        scores = None
        if ctx.settings.keep_simmx:
            scores = np.zeros((len(rows), len(state.projected.coarse.orientations)), np.float32)
        return replace(state, candidates=find_candidates(state, ctx, rows, keep_scores=scores), simmx=scores)
