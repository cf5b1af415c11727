"""Step: project every map on the coarse and the fine grid of directions."""

from __future__ import annotations

from dataclasses import dataclass

from mpirefine.steps.likelihood.search.references import project_maps
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.state import Context
from mpirefine.steps.workspace import Workspace


@dataclass(frozen=True)
class Project:
    """From maps on rank 0 to references in shared windows of each node, which `work` frees."""

    work: Workspace
    name = "project"

    def run(self, state: LikelihoodState, ctx: Context) -> LikelihoodState:
        """Collective."""
        return project_maps(state, ctx, self.work)
