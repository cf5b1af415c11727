"""Step before the first: a few particles are matched to learn their grey scale and noise, on which all later decisions rest."""
from __future__ import annotations

from dataclasses import replace

from mpirefine.maths.assign import assign
from mpirefine.steps.base import Context, State
from mpirefine.steps.classify import hard_poses
from mpirefine.steps.noise import estimate, first_estimate, sampled_rows
from mpirefine.steps.project import Project
from mpirefine.steps.simmx import find

SAMPLE, GROUP_SAMPLE = 256, 64


class Pilot:
    """First estimate of noise and scale from the images alone, then a better one from the best poses of a sample."""

    name = "pilot"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        state = replace(state, noise=first_estimate(ctx, state.volumes))
        state = Project().run(state, ctx)
        rows = sampled_rows(ctx, SAMPLE, GROUP_SAMPLE, ctx.particles.table.optics_of_group)
        sample = replace(state, candidates=find(state, ctx, rows))
        sample = replace(sample, assignments=assign(sample.candidates, state.orientations.model, sep=ctx.options.sep, soft=False))
        return replace(state, noise=estimate(ctx, sample, rows, hard_poses(sample)))
