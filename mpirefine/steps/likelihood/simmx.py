"""Step: score own particles against all projections and keep the best.

Coarse grid, its survivors with fine shifts, theirs on the fine grid, and the best of those refined.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

import numpy as np

from mpirefine.data.poses import Candidates
from mpirefine.maths.fourier.polar import PolarTransform
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.image.ctf import contrast_transfer_squared_orders
from mpirefine.maths.image.masks import soft_sphere
from mpirefine.maths.likelihood.correlation import NORM_ORDERS, norm_columns, particle_matrices
from mpirefine.maths.likelihood.model import transfer_power, weighted_images
from mpirefine.maths.likelihood.pose_search import (
    CoarsePeaks,
    Level,
    coarse_peaks,
    rescore,
    ring_norms,
    shift_disc,
    shift_window,
    windows_round,
)
from mpirefine.steps.likelihood.fine_search import FineSearch, Sample, correlator, empty_candidates
from mpirefine.steps.likelihood.fixed_poses import at_given_poses
from mpirefine.steps.likelihood.project import PreparedLevel
from mpirefine.steps.state import Context, State, amplitude

CHUNK = 8  # particles scored together on the coarse grid; Partition's quantum, so that blocks do not depend on ranks
# Coarse projections that stay: at first those whose best coarse shift leaves them a chance, then, with shifts as fine
# as at the end, fewer.
# A coarse shift that is wrong by its half step costs most of the signal on the outer rings, a direction that is wrong
# by half a step less. The
# noisier the particle the more may still win; what is lost here makes it sure of the wrong map.
SURVIVORS = (2048, 512)  # at most
SURVIVING_SHARE = (0.6, 0.35)  # of the best one's lead over the median that a projection may lack, and still win ...
SURVIVING_LOSS = (20.0, 12.0)  # ... or this log-likelihood
WINDOWS = 48  # survivors whose best shifts open windows of fine shifts
# a thread that comes back from a product waits this long for the interpreter: 2 threads 1.65 x instead of 1.27 x
SWITCH_SECONDS = 5e-5
GLOBAL_ITERATIONS = 3  # before --local: until then classes and views move far
LOCAL_SHIFTS = 2.0  # fine steps round the last shift


class ParticleSide:
    """Own particles as the score needs them against the references of one level."""

    def __init__(self, ctx: Context, references: PreparedLevel):
        self.ctx, self.references, self.grid = ctx, references, references.grid
        self.transform = PolarTransform(self.grid, CHUNK)

    def samples(self, weighted_pyx: np.ndarray) -> np.ndarray:
        """(p, k, T/2) complex64, times quadrature; the batch of the transform is always CHUNK."""
        return self.transform(weighted_pyx) * self.grid.quadrature.astype(np.float32)[:, None]

    def norms(self, rows: np.ndarray, state: State) -> np.ndarray:
        """(p, r) norm terms of the likelihood, averages over in-plane angles."""
        table, rings = self.ctx.particles.table, self.grid.radii.astype(int)
        ctf = table.ctf.take(rows) if table.ctf is not None else None
        power = transfer_power(ctf, len(rows), rings, self.ctx.grid)
        return ring_norms(power, self._precision(rows, state), self.references.power, self.grid)

    def each(self, rows: np.ndarray, weighted_pyx: np.ndarray, state: State) -> list[Sample]:
        """One entry for each particle."""
        return [
            Sample(*one)
            for one in zip(self.samples(weighted_pyx), self.norms(rows, state), self._uneven_norms(rows, state))
        ]

    def _uneven_norms(self, rows: np.ndarray, state: State) -> list[np.ndarray | None]:
        """For each particle (2 orders, k) complex64: how its norm terms depend on the in-plane angle; None where its
        CTF is round.
        """
        ctf, rings = self.ctx.particles.table.ctf, self.grid.radii.astype(int)
        if ctf is None:
            return [None] * len(rows)
        ctf = ctf.take(rows)
        orders = contrast_transfer_squared_orders(ctf, rings, self.ctx.grid, NORM_ORDERS)
        orders *= (0.5 * self.grid.quadrature * self._precision(rows, state))[..., None]
        return [norm_columns(orders[p]) if ctf.defocus_u[p] != ctf.defocus_v[p] else None for p in range(len(rows))]

    def _precision(self, rows: np.ndarray, state: State) -> np.ndarray:
        """(p, k) α²/σ²."""
        group = self.ctx.particles.table.group[rows]
        return (
            amplitude(state, self.ctx, rows)[:, None] ** 2 / state.noise.sigma2[group][:, self.grid.radii.astype(int)]
        )


def weighted(ctx: Context, state: State, rows: np.ndarray, images_pyx: np.ndarray, mask_yx: np.ndarray) -> np.ndarray:
    """α c X / σ² of own rows and their images, back in real space and masked."""
    table = ctx.particles.table
    group = table.group[rows]
    weight = amplitude(state, ctx, rows)[:, None] / state.noise.sigma2[group]
    ctf = table.ctf.take(rows) if table.ctf is not None else None
    return weighted_images(images_pyx, ctf, weight, mask_yx, ctx.grid)


def survivors(value: np.ndarray, median: float, level: int) -> np.ndarray:
    """Places of one particle's scores that are good enough to go on, best first."""
    best = value.max()
    alive = np.flatnonzero(value >= best - max(SURVIVING_LOSS[level], SURVIVING_SHARE[level] * (best - median)))
    return alive[np.argsort(-value[alive], kind="stable")[: SURVIVORS[level]]]


class Matcher:
    """All levels of the search, with the buffers of one thread."""

    def __init__(self, state: State, ctx: Context):
        refs, levels, self.state, self.ctx = ctx.references, state.levels, state, ctx
        self.coarse = Level.make(refs.coarse.grid, shift_disc(ctx.plan.maxshift, levels.coarse_step))
        self.fine = Level.make(refs.fine.grid, shift_disc(ctx.plan.maxshift, levels.fine_step))
        self.correlator = correlator(ctx, refs.coarse.grid, levels.coarse_angles, CHUNK * len(self.coarse.shifts))
        self.fine_search = FineSearch(ctx, self.fine, levels, ctx.options.sep, ctx.temperature(state.iteration))
        self.between = Level.make(refs.coarse.grid, self.fine.shifts)
        self.windows = windows_round(self.coarse.shifts, self.between, levels.coarse_step / 2)
        self.sides = ParticleSide(ctx, refs.coarse), ParticleSide(ctx, refs.fine)
        self.mask = soft_sphere(ctx.grid.nx, ctx.plan.full_radius, 4.0, 2)

    @property
    def flop(self) -> float:
        """Done so far."""
        return self.correlator.flop + self.fine_search.flop

    def chunk(self, rows: np.ndarray, images_pyx: np.ndarray, places: slice, found: Candidates) -> np.ndarray:
        """Match at most CHUNK particles and put their candidates at `places`; returns the coarse log-likelihoods of all
        projections (p, r).
        """
        refs, (coarse_side, fine_side) = self.ctx.references, self.sides
        images = weighted(self.ctx, self.state, rows, images_pyx, self.mask)
        coarse_norms, coarse_samples = coarse_side.norms(rows, self.state), coarse_side.samples(images)
        first = coarse_peaks(
            coarse_samples, coarse_norms, refs.coarse.matrices, self.coarse, self.correlator, SURVIVORS[0]
        )
        fine = fine_side.each(rows, images, self.state)
        for p, row in enumerate(range(places.start, places.stop)):
            alive, centres = self._second(first, p, coarse_samples[p], coarse_norms[p])
            near = np.concatenate([refs.children[r] for r in alive])
            near = near if len(near) else np.arange(len(refs.fine.orientations))
            window = shift_window(self.fine, centres, self.state.levels.fine_step)
            self.fine_search.search(fine[p], near, window, found, row)
        return first.score

    def _second(
        self, first: CoarsePeaks, p: int, samples_kt: np.ndarray, norm_r: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """One particle's coarse projections that survive with fine shifts, and the shifts (n, 2) of the best of
        them.
        """
        refs, median = self.ctx.references.coarse, float(np.median(first.score[p]))
        alive = survivors(first.value[p], median, 0)
        rows = first.reference[p, alive]
        columns = np.empty((refs.angles, self.between.grid.n_rings, len(self.between.shifts)), np.complex64)
        particle_matrices(samples_kt, self.between.ramp, columns)
        value, shift = rescore(
            columns, norm_r, refs.matrices, rows, first.shift[p, alive], self.windows, self.correlator
        )
        best = survivors(value, median, 1)
        return rows[best], self.between.shifts[shift[best[:WINDOWS]]]


def match(
    state: State, ctx: Context, rows: np.ndarray, keep_scores: np.ndarray | None = None, kind: type[Matcher] = Matcher
) -> Candidates:
    """Candidates of the given own rows, in that order; the coarse scores of all projections go to `keep_scores` (rows,
    r).

    Threads take one chunk after the other: what is computed for a chunk does not depend on their number.
    """
    found = empty_candidates(len(rows), ctx.options.sep, ctx.models)
    starts, lock = iter(range(0, len(rows), CHUNK)), threading.Lock()
    matchers = [kind(state, ctx) for _ in range(ctx.options.threads)]
    with ctx.progress(len(rows), f"iteration {state.iteration}: matching") as bar:

        def work(matcher: Matcher) -> None:
            for start in starts:
                part = slice(start, min(start + CHUNK, len(rows)))
                with lock:  # stacks are read by one thread at a time
                    images = ctx.particles.images(rows[part])
                scores = matcher.chunk(rows[part], images, part, found)
                if keep_scores is not None:
                    keep_scores[part] = -scores
                with lock:
                    bar.update(part.stop - part.start)

        if len(matchers) == 1:
            work(matchers[0])
        else:
            share(work, matchers, starts)
    found.reference[ctx.particles.set_aside[rows]] = -1
    ctx.clock.count(sum(matcher.flop for matcher in matchers))
    return found


def share(work: Callable[[Matcher], None], matchers: list[Matcher], starts: Iterator[int]) -> None:
    """A thread for each matcher; after an error or a signal none of them takes another chunk."""
    patience = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    with ThreadPoolExecutor(len(matchers)) as pool:
        try:
            for done in as_completed([pool.submit(work, matcher) for matcher in matchers]):
                done.result()
        finally:
            deque(starts, maxlen=0)
            sys.setswitchinterval(patience)


class LocalMatcher(Matcher):
    """Views near the last one, in every map; shifts near the last one; all in-plane angles."""

    def __init__(self, state: State, ctx: Context):
        super().__init__(state, ctx)
        fine = ctx.references.fine.orientations
        self.views = [
            (fine.of_model(m), fine.rotation[fine.of_model(m), 2], operations(name))
            for m, name in enumerate(ctx.symmetries)
        ]
        self.least_cosine = np.cos(np.radians(ctx.options.local))

    def chunk(self, rows: np.ndarray, images_pyx: np.ndarray, places: slice, found: Candidates) -> np.ndarray:
        """As everywhere, but without coarse scores."""
        last, images = self.state.last, weighted(self.ctx, self.state, rows, images_pyx, self.mask)
        fine = self.sides[1].each(rows, images, self.state)
        for p, (row, place) in enumerate(zip(rows, range(places.start, places.stop))):
            window = shift_window(self.fine, last.shift[row][None], LOCAL_SHIFTS * self.state.levels.fine_step)
            window = window if len(window) else np.arange(len(self.fine.shifts))
            self.fine_search.search(fine[p], self.near(last.rotation[row, 2]), window, found, place)
        return np.empty((len(rows), 0), np.float32)

    def near(self, view: np.ndarray) -> np.ndarray:
        """Fine projections of every map near a view, its symmetry copies and opposites; at least the nearest one."""
        chosen = []
        for rows, views, copies in self.views:
            if len(views):
                cosine = np.abs(views @ (view @ copies).T).max(axis=1)
                chosen.append(rows.start + np.flatnonzero(cosine >= min(self.least_cosine, cosine.max())))
        return np.concatenate(chosen)


def find(state: State, ctx: Context, rows: np.ndarray, keep_scores: np.ndarray | None = None) -> Candidates:
    """Collective. Candidates of own rows: everywhere, near the last views, or at the poses of the particle file, as
    asked for.
    """
    if ctx.options.fixed_poses:
        return at_given_poses(state, ctx, rows)
    kind = LocalMatcher if ctx.options.local and state.iteration > GLOBAL_ITERATIONS else Matcher
    return match(state, ctx, rows, keep_scores, kind)


class Simmx:
    """Particles against projections: no communication."""

    name = "simmx"

    def run(self, state: State, ctx: Context) -> State:
        """Each rank its own particles."""
        rows = np.arange(len(ctx.particles))
        if ctx.options.keep_simmx:
            ctx.simmx = np.zeros((len(rows), len(ctx.references.coarse.orientations)), np.float32)
        return replace(state, candidates=find(state, ctx, rows, ctx.simmx))
