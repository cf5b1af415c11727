"""Step: own particles against all projections, of which the best are kept. No communication."""

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
        """Each rank its own particles."""
        rows = np.arange(len(ctx.particles))
        scores = None
        if ctx.settings.keep_simmx:
            scores = np.zeros((len(rows), len(state.projected.coarse.orientations)), np.float32)
        return replace(state, candidates=find_candidates(state, ctx, rows, keep_scores=scores), simmx=scores)
