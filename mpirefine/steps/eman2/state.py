"""What the steps of EMAN2's way hand on besides the state that both ways share."""

from __future__ import annotations

from dataclasses import dataclass

from mpirefine.steps.eman2.class_averages import ClassResult
from mpirefine.steps.eman2.views import Projections
from mpirefine.steps.state import State


@dataclass(frozen=True)
class Eman2State(State):
    """The refinement by class averages between two steps."""

    projections: Projections | None = None  # real images of all maps, in a window of the iteration
    classes: tuple[ClassResult, ...] = ()  # own classes

    @property
    def projected(self) -> Projections:
        """The projections, once maps are projected."""
        assert self.projections is not None, "maps were not projected yet"
        return self.projections
