"""EMAN2's way, that of e2refinemulti: scores by comparators, class averages, maps from these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mpirefine.data.grid import Grid
from mpirefine.steps.eman2.average import AverageClasses
from mpirefine.steps.eman2.choices import Choices
from mpirefine.steps.eman2.class_averages import ParticleSet
from mpirefine.steps.eman2.classify import ChooseBest
from mpirefine.steps.eman2.postprocess import FinishMaps
from mpirefine.steps.eman2.project import ProjectViews
from mpirefine.steps.eman2.reconstruct import MakeMaps
from mpirefine.steps.eman2.simmx import Score
from mpirefine.steps.eman2.stacks import stack_bytes, stacks_of_iteration
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.likelihood.pilot import pilot
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.shared.converge import Converge
from mpirefine.steps.shared.empty_classes import EmptyClasses
from mpirefine.steps.state import Conclusion, Context, FullMap, ImageStack, Step
from mpirefine.steps.workspace import Workspace


@dataclass(frozen=True)
class Eman2:
    """Scores, hard assignment, class averages and reconstructions by EMAN2's components.

    `source` is the particle file and `map_suffix` the suffix of map files, for EMAN2's headers; `names` of the starting
    maps are for error messages.
    """

    choices: Choices
    images: ParticleSet
    source: str
    map_suffix: str
    names: tuple[str, ...] = ()
    makes_full_maps = False

    def describe(self, ctx: Context) -> str:
        """The search, in words."""
        search = self.choices.search
        first = f"all projections by correlation first, the best {search.kept} by " if search.first else ""
        return f"search: {first}{search.comparison.align.name} and {search.comparison.cmp.name}"

    def first(self, state: Eman2State, ctx: Context) -> Eman2State:
        """Collective. The pilot checks the sign of contrast and the half-sets; its other results are not used.

        InputError when particles and maps have opposite contrast.
        """
        pilot_state = LikelihoodState(
            state.iteration, state.noise, state.last_rings, state.half, state.trust, state.grey, volumes=state.volumes
        )
        return replace(state, half=pilot(pilot_state, ctx, self.names).half)

    def steps(self, work: Workspace) -> Sequence[Step[Eman2State]]:
        """The steps of one iteration."""
        choices, breaksym = self.choices, self.choices.views.breaksym
        return (
            ProjectViews(choices.views, work),
            Score(choices.search, choices.automask, self.images.scored, work),
            ChooseBest(),
            AverageClasses(choices.rounds, self.images),
            MakeMaps(choices.maps, breaksym),
            FinishMaps(choices.own_filter),
            EmptyClasses(),
            Converge(),
        )

    def stacks(self, state: Eman2State, ctx: Context) -> Sequence[ImageStack]:
        """Collective. EMAN2's projections_II, classmx_II, classes_II and cls_result_II, on rank 0."""
        return stacks_of_iteration(state, ctx, self.source, self.map_suffix)

    def stack_bytes(self, state: Eman2State, ctx: Context) -> int:
        """Bytes on disk of the stacks of an iteration with as many projections as the state has."""
        return stack_bytes(state, ctx)

    def released(self, state: Eman2State) -> Eman2State:
        """The state without projections and class averages."""
        return replace(state, projections=None, classes=())

    def full_maps(self, state: Eman2State, ctx: Context, grid: Grid) -> Iterator[FullMap]:
        """None: class averages are of the box in which particles are matched."""
        return iter(())

    def last(self, state: Eman2State, ctx: Context) -> Conclusion:
        """Nothing. Each particle is in one map already, as in hard maps. The test compares the evidence of rings that
        are independent of each other, in units of their noise; a comparator's score is no evidence, and the maps here
        are filtered by it and put on its grey scale.
        """
        return Conclusion()
