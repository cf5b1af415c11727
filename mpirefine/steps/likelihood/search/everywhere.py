"""The search over all views: on a coarse grid, its survivors with fine shifts, then the fine grid round those left."""

from __future__ import annotations

import numpy as np

from mpirefine.data.poses import Candidates
from mpirefine.maths.likelihood.axial_limit import AxialLimit
from mpirefine.maths.likelihood.correlation import particle_matrices
from mpirefine.maths.likelihood.pose_search import (
    CoarsePeaks,
    Level,
    coarse_peaks,
    rescore,
    shift_disc,
    shift_window,
    windows_round,
)
from mpirefine.steps.likelihood.search.fine import FineSearch, make_correlator
from mpirefine.steps.likelihood.search.particle_side import CHUNK, ParticleSide
from mpirefine.steps.likelihood.search.spectra import weighted
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.shared.maps import particle_disc
from mpirefine.steps.state import Context

# Coarse projections survive in two rounds: first those that could still be best although their shift is wrong by half a
# coarse step; then, scored with fine shifts, fewer. Losing the right projection here can lead to the wrong map.
SURVIVORS = (2048, 512)  # at most, in each round
SURVIVING_SHARE = (0.6, 0.35)  # a survivor is below the best one by at most this share of its lead over the median ...
SURVIVING_LOSS = (20.0, 12.0)  # ... or by at most this log-likelihood
WINDOWS = 48  # best survivors, round whose shifts fine shifts are searched


def select_survivors(value: np.ndarray, median: float, round_: int) -> np.ndarray:
    """Indices of the references that survive a round (0 or 1), best first.

    `value` (n,) are the log-likelihoods of one particle, `median` is that of all coarse references.
    """
    best = value.max()
    alive = np.flatnonzero(value >= best - max(SURVIVING_LOSS[round_], SURVIVING_SHARE[round_] * (best - median)))
    return alive[np.argsort(-value[alive], kind="stable")[: SURVIVORS[round_]]]


class Matcher:
    """All levels of the search, with the buffers of a single thread."""

    def __init__(self, state: LikelihoodState, ctx: Context):
        refs, levels, self.state, self.ctx = state.projected, state.sampling, state, ctx
        self.coarse = Level.make(refs.coarse.grid, shift_disc(ctx.plan.maxshift, levels.coarse_step))
        self.fine = Level.make(refs.fine.grid, shift_disc(ctx.plan.maxshift, levels.fine_step))
        self.correlator = make_correlator(ctx, refs.coarse.grid, levels.coarse_angles, CHUNK * len(self.coarse.shifts))
        self.fine_search = FineSearch(ctx, refs.fine, self.fine, levels, ctx.temperature(state.iteration))
        self.between = Level.make(refs.coarse.grid, self.fine.shifts)
        self.windows = windows_round(self.coarse.shifts, self.between, levels.coarse_step / 2)
        self.coarse_limit = AxialLimit.of(refs.coarse.along, self.coarse.shifts, levels.coarse_step)
        self.between_limit = AxialLimit.of(refs.coarse.along, self.between.shifts, levels.fine_step)
        self.sides = ParticleSide(ctx, refs.coarse), ParticleSide(ctx, refs.fine)
        self.mask = particle_disc(ctx)

    @property
    def flop(self) -> float:
        """Floating-point operations done so far."""
        return self.correlator.flop + self.fine_search.flop

    def match_chunk(
        self, rows: np.ndarray, images_pyx: np.ndarray, places: slice, candidates: Candidates
    ) -> np.ndarray:
        """Match at most CHUNK own particles `rows`, and write their candidates into rows `places` of `candidates`.

        Returns the log-likelihoods (p, r) of all coarse projections.
        """
        refs, (coarse_side, fine_side) = self.state.projected, self.sides
        images = weighted(self.ctx, self.state, rows, images_pyx, self.mask)
        coarse_norms, coarse_samples = coarse_side.norms(rows, self.state), coarse_side.samples(images)
        first = coarse_peaks(
            coarse_samples,
            coarse_norms,
            refs.coarse.matrices,
            self.coarse,
            self.correlator,
            SURVIVORS[0],
            self.coarse_limit,
        )
        fine = fine_side.prepare(rows, images, self.state)
        for p, row in enumerate(range(places.start, places.stop)):
            alive, centres = self._second_round(first, p, coarse_samples[p], coarse_norms[p])
            near = np.concatenate([refs.children[r] for r in alive])
            near = near if len(near) else np.arange(len(refs.fine.orientations))
            window = shift_window(self.fine, centres, self.state.sampling.fine_step)
            self.fine_search.search(fine[p], near, window, candidates, row)
        return first.score

    def _second_round(
        self, first: CoarsePeaks, p: int, samples_kt: np.ndarray, norm_r: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Coarse projections of particle `p` that survive both rounds, and the shifts (n, 2) of the best of them."""
        refs, median = self.state.projected.coarse, float(np.median(first.score[p]))
        alive = select_survivors(first.value[p], median, 0)
        rows = first.reference[p, alive]
        columns = np.empty((refs.angles, self.between.grid.n_rings, len(self.between.shifts)), np.complex64)
        particle_matrices(samples_kt, self.between.ramp, columns)
        value, shift = rescore(
            columns,
            norm_r,
            refs.matrices,
            rows,
            first.shift[p, alive],
            self.windows,
            self.correlator,
            self.between_limit,
        )
        best = select_survivors(value, median, 1)
        return rows[best], self.between.shifts[shift[best[:WINDOWS]]]
