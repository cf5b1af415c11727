"""The likelihood way: soft assignment of particles over all maps and views."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.steps.likelihood.average import Average
from mpirefine.steps.likelihood.classify import Classify
from mpirefine.steps.likelihood.held_out_test import compare_maps
from mpirefine.steps.likelihood.noise import Reestimate
from mpirefine.steps.likelihood.pilot import pilot
from mpirefine.steps.likelihood.postprocess import Postprocess
from mpirefine.steps.likelihood.project import Project
from mpirefine.steps.likelihood.reconstruct import Reconstruct
from mpirefine.steps.likelihood.simmx import Simmx
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.likelihood.trust import Trust
from mpirefine.steps.likelihood.volumes.full_size import full_size_maps
from mpirefine.steps.shared.converge import Converge
from mpirefine.steps.shared.empty_classes import EmptyClasses
from mpirefine.steps.shared.exchange import Exchange
from mpirefine.steps.state import Conclusion, Context, FullMap, ImageStack, Step
from mpirefine.steps.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Likelihood:
    """Posterior of each particle over maps and projections, weighted class sums, Wiener-filtered maps.

    `names` of the starting maps are for error messages.
    """

    names: tuple[str, ...] = ()
    makes_full_maps = True

    def describe(self, ctx: Context) -> str:
        """The first iteration's search, in words."""
        if ctx.settings.fixed_poses:
            return "poses: angles and shifts of the particle file; only the map is chosen"
        sampling = ctx.plan.sampling(ctx.limits.first or ctx.limits.target)
        fine = sampling.fine_grid.n_rings
        return (
            f"search: directions every {sampling.coarse_delta:.2f}° then {sampling.fine_delta:.2f}°, rings "
            f"1-{sampling.coarse_grid.n_rings} then 1-{fine} ({ctx.grid.resolution(fine):.1f} Å), "
            f"{sampling.fine_angles} in-plane angles, shifts to {ctx.plan.maxshift * ctx.grid.apix:.1f} Å "
            f"({ctx.plan.maxshift:.3g} px of {ctx.grid.apix:.3g} Å) every "
            f"{sampling.coarse_step:g} then {sampling.fine_step:g} px, the best poses again at "
            f"{sampling.refined_angles} angles and {sampling.refined_step:g} px: steps follow from the particle radius "
            "and the resolution in use"
        )

    def first(self, state: LikelihoodState, ctx: Context) -> LikelihoodState:
        """Collective. The state with grey scales, noise and half-sets as estimated from a few particles.

        InputError when particles and maps have opposite contrast.
        """
        state = pilot(state, ctx, self.names)
        scale = state.noise.scale
        groups = f"; {len(scale)} noise groups have {scale.min():.2f} to {scale.max():.2f} of the mean"
        log.info("grey scale of every starting map: found from the particles%s", "" if len(scale) == 1 else groups)
        return state

    def steps(self, work: Workspace) -> Sequence[Step[LikelihoodState]]:
        """The steps of one iteration."""
        search = Exchange(), Project(work), Simmx(), Trust(), Classify()
        maps = Average(work.store), Reestimate(), Reconstruct(), Postprocess(), EmptyClasses(), Converge()
        return (*search, *maps)

    def stacks(self, state: LikelihoodState, ctx: Context) -> Sequence[ImageStack]:
        """None: class averages are in the run file."""
        return ()

    def stack_bytes(self, state: LikelihoodState, ctx: Context) -> int:
        """0: there are no stacks."""
        return 0

    def released(self, state: LikelihoodState) -> LikelihoodState:
        """The state without references."""
        return replace(state, references=None)

    def full_maps(self, state: LikelihoodState, ctx: Context, grid: Grid) -> Iterator[FullMap]:
        """Collective. Each map after one pass over the images, or more where a rank's memory asks for it."""
        return full_size_maps(state, ctx, grid)

    def last(self, state: LikelihoodState, ctx: Context) -> Conclusion:
        """Collective. Maps of each particle in its best projection only, and tests of whether maps differ."""
        return Conclusion(hard_maps(state, ctx), compare_maps(state, ctx))


def hard_maps(state: LikelihoodState, ctx: Context) -> np.ndarray | None:
    """Collective. Maps (m, z, y, x) on rank 0 of all particles, held-out ones too, each in its best projection only."""
    weight = np.zeros_like(state.assignments.weight)
    used = np.flatnonzero(state.assignments.model >= 0)
    weight[used, state.assignments.best[used]] = state.trust[used]
    state = replace(state, assignments=replace(state.assignments, weight=weight))
    ctx = replace(ctx, settings=replace(ctx.settings, helical_search=False))
    for step in (Average(None), Reconstruct(), Postprocess()):
        state = step.run(state, ctx)
    return state.volumes
