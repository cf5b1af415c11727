"""Step before the first: a few particles are matched to learn their grey scale and noise, on which all later decisions rest."""
from __future__ import annotations

from dataclasses import replace

from mpirefine.maths.assign import assign
from mpirefine.steps.base import Context, State
from mpirefine.steps.classify import hard_poses
from mpirefine.steps.noise import first_estimate, residuals, sampled_rows, scales
from mpirefine.steps.project import Project
from mpirefine.steps.simmx import find
from mpirefine.steps.trust import by_power

SAMPLE, GROUP_SAMPLE = 256, 64


class Pilot:
    """First estimate of noise and scale from the images alone, then a better one from the best poses of a sample."""

    name = "pilot"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        trust = by_power(ctx)
        state = replace(state, trust=trust, noise=first_estimate(ctx, state.volumes, trust))
        state = Project().run(state, ctx)
        rows = sampled_rows(ctx, SAMPLE, GROUP_SAMPLE, ctx.particles.table.optics_of_group, trust)
        sample = replace(state, candidates=find(state, ctx, rows))
        sample = replace(sample, assignments=assign(sample.candidates, state.orientations.model, sep=ctx.options.sep, soft=False))
        return replace(state, noise=residuals(ctx, sample, rows, hard_poses(sample), scales(ctx, sample, rows, sample.candidates.match)))
