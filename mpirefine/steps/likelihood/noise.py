"""Step: noise spectra of the noise groups from residuals at best poses, and grey scales from all likely poses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.steps.likelihood.estimates.noise import (
    GROUP_SAMPLE,
    SAMPLE,
    estimate_noise,
    estimate_own_scales,
    estimate_scales,
)
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.shared.assignments import hard_poses
from mpirefine.steps.shared.samples import is_trusted, sampled_rows
from mpirefine.steps.state import Context


class Reestimate:
    """Noise and grey scales for the next iteration, by the maps that the poses were found with."""

    name = "noise"

    def run(self, state: LikelihoodState, ctx: Context) -> LikelihoodState:
        """Collective."""
        rows = sampled_rows(ctx, SAMPLE, GROUP_SAMPLE, np.arange(len(ctx.particles.table.group_names)), state.trust)
        poses, trusted = hard_poses(state), np.flatnonzero(is_trusted(ctx, state.trust))
        scale = estimate_scales(ctx, state, trusted, state.candidates.match[trusted])
        noise = estimate_noise(ctx, state, rows, poses.take(rows), scale)
        grey = estimate_own_scales(ctx, state, noise)
        spread = np.array([(grey - 1).sum(), ((grey - 1) ** 2).sum(), len(grey)])
        reduce.sum_in_place(ctx.team, spread)
        mean, square = spread[:2] / max(spread[2], 1)
        return replace(
            state,
            noise=noise,
            grey=grey,
            summary=replace(state.summary, grey_spread=float(np.sqrt(max(square - mean**2, 0)))),
        )
