"""Candidates (best projections) of own particles, by the search that the settings ask for."""

from __future__ import annotations

import threading

import numpy as np

from mpirefine.data.poses import Candidates
from mpirefine.steps.likelihood.search.everywhere import Matcher
from mpirefine.steps.likelihood.search.fixed_poses import Images, at_given_poses
from mpirefine.steps.likelihood.search.local import LocalMatcher
from mpirefine.steps.likelihood.search.particle_side import CHUNK
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.state import Context
from mpirefine.steps.threads import run_in_threads

GLOBAL_ITERATIONS = 3  # iterations that search all views before --local counts: at first maps and views change much


def match_views(
    state: LikelihoodState,
    ctx: Context,
    rows: np.ndarray,
    images: Images,
    *,
    keep_scores: np.ndarray | None = None,
    kind: type[Matcher] = Matcher,
) -> Candidates:
    """Candidates of own `rows` (n,), in that order; `images` gives their pixels.

    `keep_scores` (n, r) is filled with minus the log-likelihoods of all coarse projections. Threads take one chunk of
    particles after the other; what is computed for a chunk does not depend on their number.
    """
    candidates = Candidates.empty(len(rows), ctx.settings.sep, ctx.models)
    starts, lock = iter(range(0, len(rows), CHUNK)), threading.Lock()
    matchers = [kind(state, ctx) for _ in range(ctx.settings.threads)]
    with ctx.progress(len(rows), f"iteration {state.iteration}: matching") as bar:

        def work(matcher: Matcher) -> None:
            for start in starts:
                part = slice(start, min(start + CHUNK, len(rows)))
                with lock:  # stacks are read by one thread at a time
                    pixels = images(rows[part])
                scores = matcher.match_chunk(rows[part], pixels, part, candidates)
                if keep_scores is not None:
                    keep_scores[part] = -scores
                with lock:
                    bar.update(part.stop - part.start)

        run_in_threads(work, matchers, starts)
    candidates.reference[ctx.particles.set_aside[rows]] = -1
    ctx.clock.count(sum(matcher.flop for matcher in matchers))
    return candidates


def find_candidates(
    state: LikelihoodState,
    ctx: Context,
    rows: np.ndarray,
    images: Images | None = None,
    keep_scores: np.ndarray | None = None,
) -> Candidates:
    """Collective. Candidates of own `rows` by the search that the settings ask for.

    That is over all views, over those near the last ones, or at the poses of the particle file. `images` gives other
    pixels than the particles' own; `keep_scores` as in `match_views`, which fills it.
    """
    images = images or ctx.particles.images
    if ctx.settings.fixed_poses:
        return at_given_poses(state, ctx, rows, images)
    kind = LocalMatcher if ctx.settings.local and state.iteration > GLOBAL_ITERATIONS else Matcher
    return match_views(state, ctx, rows, images, keep_scores=keep_scores, kind=kind)
