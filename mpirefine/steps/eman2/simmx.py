"""Step: score own particles against all projections by a comparator, and keep the best projections of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.partition import Partition
from mpirefine.data.poses import Candidates
from mpirefine.maths.eman2.poses import from_eman
from mpirefine.maths.eman2.similarity import (
    PreparedReferences,
    ReferenceStack,
    Scores,
    Search,
    prepare_references,
    prepared_shapes,
)
from mpirefine.steps.eman2.scores import FlippedParticles, score_rows
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.eman2.views import common_support
from mpirefine.steps.shared.maps import reach_of_references
from mpirefine.steps.shared.random_subsets import draws_maps
from mpirefine.steps.state import Context
from mpirefine.steps.workspace import Workspace


@dataclass(frozen=True)
class Score:
    """The similarity matrix, row by row; with `automask` over pixels where some projection is not zero."""

    search: Search
    automask: bool
    particles: FlippedParticles
    work: Workspace
    name = "simmx"

    def run(self, state: Eman2State, ctx: Context) -> Eman2State:
        """Collective. The state with candidates of own particles."""
        images = state.projected.images
        search = replace(self.search, mask=common_support(images)) if self.automask else self.search
        # where starting maps are equal, so are their projections: those of the first map are enough
        used = state.orientations.of_model(0) if draws_maps(state, ctx) else slice(None)
        along = reach_of_references(state, ctx)
        prepared = prepared_on_node(images[used], search, ctx, self.work)
        references = ReferenceStack(images[used], search, along[used], prepared)
        candidates = Candidates.empty(len(ctx.particles), ctx.settings.sep, ctx.models)
        candidates.model_evidence[:] = -np.inf
        rows = np.flatnonzero(~ctx.particles.set_aside)

        def keep(row: int, scores: Scores) -> None:
            keep_best(candidates, row, scores, state.orientations.model[: len(scores.score)])

        with ctx.progress(len(rows), f"iteration {state.iteration}: matching") as bar:
            score_rows(self.particles, rows, references, ctx.grid.nx, bar.update, keep, threads=ctx.settings.threads)
        return replace(state, candidates=candidates)


def prepared_on_node(images: np.ndarray, search: Search, ctx: Context, work: Workspace) -> PreparedReferences:
    """Collective. Projections (r, y, x) as scores need them, in windows of the node that `work` frees; each of its
    ranks prepares a share of them.
    """
    node, shapes = ctx.team.node, prepared_shapes(search, len(images), images.shape[-1])
    same = shapes[0] == images.shape  # not shrunk: the projections are in a window already
    windows = [work.window(ctx.team, shape) for shape in shapes[same:]]
    own = Partition.even(len(images), node.size)[node.rank].as_slice
    for window, values in zip(windows, prepare_references(images[own], search)[same:]):
        window.writable[own] = values
    for window in windows:
        window.seal()
    return PreparedReferences(*([images] if same else []), *(window.array for window in windows))


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
