"""Step: score own particles against all projections by a comparator, and keep the best projections of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.poses import Candidates
from mpirefine.maths.eman2.poses import from_eman
from mpirefine.maths.eman2.similarity import ReferenceStack, Scores, Search
from mpirefine.steps.eman2.scores import FlippedParticles, score_rows
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.eman2.views import common_support
from mpirefine.steps.shared.maps import reach_along_axis, symmetries_of
from mpirefine.steps.shared.random_subsets import draws_maps
from mpirefine.steps.state import Context


@dataclass(frozen=True)
class Score:
    """The similarity matrix, row by row; with `automask` over pixels where some projection is not zero."""

    search: Search
    automask: bool
    particles: FlippedParticles
    name = "simmx"

    def run(self, state: Eman2State, ctx: Context) -> Eman2State:
        """The state with candidates of own particles. No communication."""
        images = state.projected.images
        search = replace(self.search, mask=common_support(images)) if self.automask else self.search
        # where starting maps are equal, so are their projections: those of the first map are enough
        used = state.orientations.of_model(0) if draws_maps(state, ctx) else slice(None)
        along = np.array([reach_along_axis(name, ctx.grid.apix) for name in symmetries_of(state, ctx)])
        references = ReferenceStack(images[used], search, along[state.orientations.model[used]])
        candidates = Candidates.empty(len(ctx.particles), ctx.settings.sep, ctx.models)
        candidates.model_evidence[:] = -np.inf
        rows = np.flatnonzero(~ctx.particles.set_aside)
        with ctx.progress(len(rows), f"iteration {state.iteration}: matching") as bar:
            for row, scores in score_rows(self.particles, rows, references, ctx.grid.nx, bar.update):
                keep_best(candidates, row, scores, state.orientations.model[: len(scores.score)])
        return replace(state, candidates=candidates)


def keep_best(candidates: Candidates, row: int, scores: Scores, model: np.ndarray) -> None:
    """Fill a row of `candidates`, in place, with the projections of the lowest scores (r,), ties by the lower number.

    `model` (r,) are the projections' maps. The evidence is minus the score: larger is better.
    """
    best = np.argsort(scores.score, kind="stable")[: candidates.reference.shape[1]]
    best = best[np.isfinite(scores.score[best])]
    places = slice(0, len(best))
    poses = from_eman(scores.alignment.take(best))
    score = scores.score[best]
    candidates.reference[row, places] = best
    candidates.score[row, places], candidates.evidence[row, places] = score, -score
    for name in ("angle", "shift", "mirror"):
        getattr(candidates, name)[row, places] = getattr(poses, name)
    np.maximum.at(candidates.model_evidence[row], model, -scores.score)
