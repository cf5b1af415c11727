"""--seeds-from random-subsets: in the first iteration, where all maps are alike, each particle's map is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.data.keys import HANDED_OUT, uniform
from mpirefine.data.poses import Candidates
from mpirefine.maths.likelihood.posterior import log_sum_exp
from mpirefine.steps.state import Context, State


def draws_maps(state: State, ctx: Context) -> bool:
    """Whether each particle's map is drawn in this iteration."""
    return ctx.settings.random_subsets and state.iteration == 1


def with_drawn_maps(state: State, ctx: Context) -> Candidates:
    """Candidates with each particle's map replaced by one that is drawn by its image's name.

    The maps are alike, so the views found in one map hold in all of them.
    """
    candidates, start = state.candidates, np.array([state.orientations.of_model(m).start for m in range(ctx.models)])
    drawn = (uniform(ctx.particles.table.key, HANDED_OUT) * ctx.models).astype(int)
    used = candidates.reference >= 0
    own = state.orientations.model[candidates.reference]
    evidence = np.full_like(candidates.model_evidence, -np.inf)
    evidence[np.arange(len(candidates)), drawn] = log_sum_exp(candidates.model_evidence, 1)
    moved = np.where(used, candidates.reference - start[own] + start[drawn][:, None], -1)
    return replace(candidates, reference=moved.astype(np.int32), model_evidence=evidence)
