"""Step: own particles against all projections by a comparator; the best of each row are kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.poses import Candidates
from mpirefine.maths.eman2.poses import from_eman
from mpirefine.maths.eman2.similarity import ReferenceStack, Scores, Search
from mpirefine.steps.eman2.scores import FlippedParticles, score_rows
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.eman2.views import common_support
from mpirefine.steps.shared.random_subsets import draws_maps
from mpirefine.steps.state import Context


@dataclass(frozen=True)
class Score:
    """The similarity matrix, row by row; with `automask` where any projection is not zero."""

    search: Search
    automask: bool
    particles: FlippedParticles
    name = "simmx"

    def run(self, state: Eman2State, ctx: Context) -> Eman2State:
        """Each rank its own particles."""
        images = state.projected.images
        search = replace(self.search, mask=common_support(images)) if self.automask else self.search
        # maps that are alike have the same projections: those of the first are enough
        references = ReferenceStack(
            images[state.orientations.of_model(0)] if draws_maps(state, ctx) else images, search
        )
        found = Candidates.empty(len(ctx.particles), ctx.settings.sep, ctx.models)
        found.model_evidence[:] = -np.inf
        rows = np.flatnonzero(~ctx.particles.set_aside)
        with ctx.progress(len(rows), f"iteration {state.iteration}: matching") as bar:
            for row, scores in score_rows(self.particles, rows, references, ctx.grid.nx, bar.update):
                keep_best(found, row, scores, state.orientations.model[: len(scores.score)])
        return replace(state, candidates=found)


def keep_best(found: Candidates, row: int, scores: Scores, model: np.ndarray) -> None:
    """Fill a row of `found` with the lowest scores (r,), equal ones by the lower number; `model` (r,) are their maps.

    The evidence is minus the score: larger is better.
    """
    best = np.argsort(scores.score, kind="stable")[: found.reference.shape[1]]
    best = best[np.isfinite(scores.score[best])]
    places = slice(0, len(best))
    poses = from_eman(scores.alignment.take(best))
    score = scores.score[best]
    found.reference[row, places], found.score[row, places], found.evidence[row, places] = best, score, -score
    found.angle[row, places], found.shift[row, places], found.mirror[row, places] = (
        poses.angle,
        poses.shift,
        poses.mirror,
    )
    np.maximum.at(found.model_evidence[row], model, -scores.score)
