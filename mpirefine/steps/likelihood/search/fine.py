"""The fine level of the search, one particle at a time, and the refinement of its best poses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.poses import Candidates
from mpirefine.maths.fourier.polar import PolarGrid
from mpirefine.maths.likelihood.axial_limit import AxialLimit
from mpirefine.maths.likelihood.correlation import Correlator, particle_matrices, with_more_angles
from mpirefine.maths.likelihood.pose_search import (
    Level,
    Peaks,
    fine_peaks,
    neighbours,
    parabola,
    shift_disc,
    shift_window,
)
from mpirefine.maths.likelihood.posterior import log_sum_exp
from mpirefine.maths.likelihood.references import PreparedLevel
from mpirefine.maths.likelihood.search_plan import Sampling
from mpirefine.steps.state import Context

BLOCK_VALUES = 1 << 18  # complex values of a block: 2 MB, a core's share of the cache
EVIDENCE_WINDOW = 15.0  # log-likelihood below the best at which poses are left out of the evidence: weights below 1e-6
REFINED_PLACES = 32  # projections that are refined, at most ...
REFINED_LOSS = 10.0  # ... and not those whose log-likelihood is lower by this than the best one's


@dataclass(frozen=True)
class ParticleSamples:
    """A particle on the polar grid of a level, as the score needs it."""

    samples: np.ndarray  # (k, T/2) complex64, with the weights of the score
    norm: np.ndarray  # (r,) norm term of the likelihood for each projection, averaged over in-plane angles
    uneven: np.ndarray | None  # (2 orders, k) how norm terms depend on the in-plane angle; None: they do not


def make_correlator(ctx: Context, grid: PolarGrid, angles: int, columns: int) -> Correlator:
    """A correlator on `grid` with `angles` in-plane angles, for blocks of about BLOCK_VALUES complex values.

    A block holds at least one reference against all `columns`, which are particles at shifts.
    """
    return Correlator(replace(grid, n_angles=angles), ctx.plan.radius, max(BLOCK_VALUES // angles, columns))


class FineSearch:
    """Scores the projections that survived the coarse level, then the best of them with shorter steps.

    Those are the steps of in-plane angle and shift.
    """

    def __init__(self, ctx: Context, references: PreparedLevel, level: Level, plan: Sampling, temperature: float):
        self.level, self.references, self.temperature = level, references, temperature
        self.sep, self.models = ctx.settings.sep, ctx.models
        self.refined_level = Level.make(level.grid, shift_disc(ctx.plan.maxshift, plan.refined_step))
        self.step, self.refined_step = plan.fine_step, plan.refined_step
        self.limits = {
            id(own): AxialLimit.of(references.along, own.shifts, step)
            for own, step in ((self.level, self.step), (self.refined_level, self.refined_step))
        }
        self.correlator = make_correlator(ctx, level.grid, plan.fine_angles, len(level.shifts))
        self.refined = make_correlator(ctx, level.grid, plan.refined_angles, len(self.refined_level.shifts))

    @property
    def flop(self) -> float:
        """Floating-point operations done so far."""
        return self.correlator.flop + self.refined.flop

    def _peaks(
        self,
        particle: ParticleSamples,
        rows: np.ndarray,
        level: Level,
        window: np.ndarray,
        correlator: Correlator,
        means: bool,
    ) -> Peaks:
        """Scores of the references `rows` at the shifts `window` (indices), at all angles of the correlator.

        With `means` the peaks hold the means that `Candidates.match` is made from.
        """
        angles, matrices = correlator.grid.n_angles, self.references.matrices[rows]
        columns = np.empty((angles, level.grid.n_rings, len(window)), np.complex64)
        particle_matrices(particle.samples, np.ascontiguousarray(level.ramp[:, :, window]), columns)
        limit = self.limits[id(level)]
        matrices = with_more_angles(matrices, angles) if angles > matrices.shape[1] else matrices
        return fine_peaks(
            columns,
            particle.norm[rows],
            matrices,
            correlator,
            window=EVIDENCE_WINDOW,
            temperature=self.temperature,
            norm=None if particle.uneven is None else (particle.uneven, self.references.uneven[rows]),
            means=means,
            limit=limit and limit.within(rows, window),
        )

    def search(
        self, particle: ParticleSamples, rows: np.ndarray, window: np.ndarray, candidates: Candidates, place: int
    ) -> None:
        """Write a particle's candidates and its evidence of each map into row `place` of `candidates`.

        `rows` are the references, and `window` the shifts (indices into those of the level), that are scored.
        """
        peaks = self._peaks(particle, rows, self.level, window, self.correlator, False)
        shift = interpolate_shifts(peaks, self.level.shifts[window], self.step)
        candidates.match[place] = self._refine(particle, peaks, rows, shift)
        model = self.references.orientations.model[rows]
        candidates.model_evidence[place] = [log_sum_exp(peaks.evidence[model == m], 0) for m in range(self.models)]
        top = np.argsort(-peaks.evidence, kind="stable")[: self.sep]
        top = top[np.isfinite(peaks.evidence[top])]
        best = dict(
            reference=rows[top],
            score=-peaks.value[top],
            evidence=peaks.evidence[top],
            angle=peaks.angle[top],
            mirror=peaks.mirror[top] == 1,
            shift=shift[top],
        )
        for name, values in best.items():
            getattr(candidates, name)[place, : len(values)] = values

    def _refine(
        self, particle: ParticleSamples, peaks: Peaks, rows: np.ndarray, shift: np.ndarray
    ) -> tuple[float, float]:
        """Score the most likely projections again with half the step of angle and shift, round their best shifts.

        `peaks` and `shift` (n, 2) are changed in place. Returns the two numbers of `Candidates.match`.
        """
        top = np.argsort(-peaks.value, kind="stable")[:REFINED_PLACES]
        top = top[peaks.value[top] > peaks.value[top[0]] - REFINED_LOSS * self.temperature]
        centres = np.unique(np.rint(shift[top] / self.refined_step), axis=0) * self.refined_step
        around = shift_window(self.refined_level, centres, self.refined_step)
        finer = self._peaks(particle, rows[top], self.refined_level, around, self.refined, True)
        share, norm = np.exp(finer.cold - log_sum_exp(finer.cold, 0)), particle.norm[rows[top]].astype(np.float64)
        known = np.isfinite(finer.evidence)
        top, kept = top[known], np.flatnonzero(known)
        volume = 2 * np.log(self.step / self.refined_step)  # log of the number of refined shifts per fine shift
        for name in ("value", "angle", "mirror"):
            getattr(peaks, name)[top] = getattr(finer, name)[kept]
        evidence = finer.evidence[kept] - volume
        # at a temperature above 1 the posterior fills the whole window of shifts, of which refined shifts cover a part:
        # the larger evidence is kept
        peaks.evidence[top] = evidence if self.temperature == 1 else np.maximum(evidence, peaks.evidence[top])
        shift[top] = interpolate_shifts(finer, self.refined_level.shifts[around], self.refined_step)[kept]
        return share @ (finer.mean + norm), share @ (2 * norm)


def interpolate_shifts(peaks: Peaks, shifts: np.ndarray, step: float) -> np.ndarray:
    """Best shift (n, 2) of each projection in pixels, between grid points where both neighbours were searched."""
    near, row = neighbours(shifts, step)[peaks.shift], np.arange(len(peaks.value))
    curve = peaks.profile[row[:, None], near, peaks.mirror[:, None]]
    centre = peaks.profile[row, peaks.shift, peaks.mirror]
    offset = np.stack([parabola(curve[:, i], centre, curve[:, i + 1]) for i in (0, 2)], -1)
    known = np.stack([(near[:, i] >= 0) & (near[:, i + 1] >= 0) for i in (0, 2)], -1)
    return shifts[peaks.shift] + np.where(known, offset, 0) * step
