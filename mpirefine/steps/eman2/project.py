"""Step: project the maps of rank 0 into real images, in one shared window per node."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.steps.eman2.choices import Views
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.eman2.views import generate_views, project
from mpirefine.steps.state import Context
from mpirefine.steps.workspace import Workspace


@dataclass(frozen=True)
class ProjectViews:
    """Projections of every map over its asymmetric unit."""

    views: Views
    work: Workspace
    name = "project"

    def run(self, state: Eman2State, ctx: Context) -> Eman2State:
        """Collective."""
        nx = ctx.grid.nx
        seed = int(np.random.default_rng([ctx.settings.seed, state.iteration]).integers(2**31))
        orientations = ctx.team.from_root(generate_views, self.views, ctx.symmetries, state.dropped, seed)
        window = self.work.window(ctx.team, (len(orientations), nx, nx))
        projections = project(ctx.team, window, orientations, state.volumes, self.views, ctx.grid.apix)
        return replace(state, orientations=orientations, projections=projections)
