"""What the steps of the likelihood way hand on besides the state that both ways share."""

from __future__ import annotations

from dataclasses import dataclass

from mpirefine.maths.likelihood.fourier_volume import Slab
from mpirefine.maths.likelihood.references import References
from mpirefine.maths.likelihood.search_plan import Sampling
from mpirefine.steps.state import State


@dataclass(frozen=True)
class LikelihoodState(State):
    """The refinement by likelihood between two steps."""

    levels_sampled: Sampling | None = None  # sampling of this iteration's search
    references: References | None = None  # projections prepared for matching, in windows of the iteration
    slab: Slab | None = None  # own kz planes of the Fourier sums of all maps and halves

    @property
    def sampling(self) -> Sampling:
        """The sampling of this iteration's search, once maps are projected."""
        assert self.levels_sampled is not None, "maps were not projected yet"
        return self.levels_sampled

    @property
    def projected(self) -> References:
        """The references, once maps are projected."""
        assert self.references is not None, "maps were not projected yet"
        return self.references
