"""Step: weight particles by how the likelihood of their best pose compares with that of their noise group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.steps.likelihood.estimates.trust import deviations_from_group, image_power, trust_weight
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.state import Context


class Trust:
    """Less weight, or none, for particles that no map explains."""

    name = "trust"

    def run(self, state: LikelihoodState, ctx: Context) -> LikelihoodState:
        """Collective."""
        power, pixels = image_power(ctx)
        precision = pixels / state.noise.sigma2[ctx.particles.table.group]
        score = state.candidates.score.astype(np.float64)
        best = np.where(state.candidates.reference >= 0, -score, -np.inf).max(axis=1)
        best = np.where(np.isfinite(best), best, 0)
        deviation = deviations_from_group(ctx, best - 0.5 * (power * precision).sum(axis=1), pixels.sum())
        trust = trust_weight(deviation)
        count = np.array([(trust == 0).sum(), ((trust > 0) & (trust < 1)).sum()])
        reduce.sum_in_place(ctx.team, count)
        return replace(
            state, trust=trust, summary=replace(state.summary, outliers=int(count[0]), doubtful=int(count[1]))
        )
