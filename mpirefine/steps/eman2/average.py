"""Step: bring the particles of each class together on one rank, align and average them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mpirefine.maths.eman2.class_averaging import Rounds
from mpirefine.steps.eman2.class_averages import Membership, ParticleSet, average_classes
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.shared.maps import reach_of_references
from mpirefine.steps.state import Context


@dataclass(frozen=True)
class AverageClasses:
    """A class average of each projection that particles chose."""

    rounds: Rounds
    images: ParticleSet
    name = "average"

    def run(self, state: Eman2State, ctx: Context) -> Eman2State:
        """Collective."""
        used = (state.assignments.model >= 0) & ~ctx.particles.set_aside
        members = Membership.of(state.candidates.reference, used, ctx.block.start, state.half)
        with ctx.progress(len(state.orientations), f"iteration {state.iteration}: averaging") as bar:
            classes = average_classes(
                ctx.team,
                members,
                self.images,
                state.projected,
                self.rounds,
                bar.update,
                along=reach_of_references(state, ctx),
                threads=ctx.settings.threads,
            )
        return replace(state, classes=tuple(classes))
