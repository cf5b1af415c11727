"""--local: the search near the last view of each particle."""

from __future__ import annotations

import numpy as np

from mpirefine.data.poses import Candidates
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.likelihood.pose_search import shift_window
from mpirefine.steps.likelihood.search.everywhere import Matcher
from mpirefine.steps.likelihood.search.spectra import weighted
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.state import Context

LOCAL_SHIFTS = 2.0  # radius of the search round the last shift, in fine steps


class LocalMatcher(Matcher):
    """Scores views and shifts near the last ones, of every map and at all in-plane angles."""

    def __init__(self, state: LikelihoodState, ctx: Context):
        super().__init__(state, ctx)
        fine, local = state.projected.fine.orientations, ctx.settings.local
        self.views = [
            (fine.of_model(m), fine.rotation[fine.of_model(m), 2], operations(name))
            for m, name in enumerate(ctx.symmetries)
        ]
        assert local is not None and state.last is not None
        self.least_cosine, self.last = np.cos(np.radians(local)), state.last

    def match_chunk(
        self, rows: np.ndarray, images_pyx: np.ndarray, places: slice, candidates: Candidates
    ) -> np.ndarray:
        """As in `Matcher`, but without coarse scores: the result has the shape (p, 0)."""
        images = weighted(self.ctx, self.state, rows, images_pyx, self.mask)
        fine = self.sides[1].prepare(rows, images, self.state)
        for p, (row, place) in enumerate(zip(rows, range(places.start, places.stop))):
            window = shift_window(self.fine, self.last.shift[row][None], LOCAL_SHIFTS * self.state.sampling.fine_step)
            window = window if len(window) else np.arange(len(self.fine.shifts))
            self.fine_search.search(fine[p], self.views_near(self.last.rotation[row, 2]), window, candidates, place)
        return np.empty((len(rows), 0), np.float32)

    def views_near(self, view: np.ndarray) -> np.ndarray:
        """Fine projections of each map near a view (3,), its symmetry copies or their opposites; at least one a map."""
        chosen = []
        for rows, views, copies in self.views:
            if len(views):
                cosine = np.abs(views @ (view @ copies).T).max(axis=1)
                chosen.append(rows.start + np.flatnonzero(cosine >= min(self.least_cosine, cosine.max())))
        return np.concatenate(chosen)
