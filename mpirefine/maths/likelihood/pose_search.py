"""The two levels of the pose search: all references on a coarse grid, then the surviving ones on a fine grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.maths.fourier.polar import PolarGrid
from mpirefine.maths.likelihood.axial_limit import AxialLimit
from mpirefine.maths.likelihood.correlation import Correlator, particle_matrices

LEAST_EXPONENT = np.float32(-80)  # exp of smaller numbers is no normal float32


def shift_disc(radius: float, step: float) -> np.ndarray:
    """Shifts (s, 2), x and y, of at most `radius` pixels on a grid with spacing `step`, the centre included."""
    reach = int(radius / step + 1e-9)
    axis = np.arange(-reach, reach + 1) * step
    x, y = np.meshgrid(axis, axis)
    inside = x**2 + y**2 <= radius**2 + 1e-9
    return np.stack([x[inside], y[inside]], -1)


@dataclass(frozen=True)
class Level:
    """One grid of the search: rings and angles, in-plane shifts (s, 2) in pixels, and the phase ramps (k, t, s) that
    undo them.
    """

    grid: PolarGrid
    shifts: np.ndarray
    ramp: np.ndarray

    @classmethod
    def make(cls, grid: PolarGrid, shifts: np.ndarray) -> Level:
        """With the phase ramps of the shifts."""
        return cls(grid, shifts, grid.shift_ramp(shifts))


def ring_norms(
    transfer_power_pk: np.ndarray, precision_pk: np.ndarray, power_rk: np.ndarray, grid: PolarGrid
) -> np.ndarray:
    """The norm term ½ Σ α² c² |P|² / σ² of each particle and reference, (p, r) float32; `precision_pk` is α²/σ² on the
    grid's rings.
    """
    weight = 0.5 * grid.quadrature * transfer_power_pk * precision_pk
    return weight.astype(np.float32) @ power_rk.T


@dataclass(frozen=True)
class CoarsePeaks:
    """The result of a coarse search of p particles: `score` for all references, the rest for the best of them, best
    first.
    """

    score: np.ndarray  # (p, r) float32 log-likelihood over all in-plane angles, mirrors and shifts
    reference: np.ndarray  # (p, keep) int32
    value: np.ndarray  # (p, keep) float32
    shift: np.ndarray  # (p, keep) index of the best shift


def coarse_peaks(
    samples_pkt: np.ndarray,
    norm_pr: np.ndarray,
    references_rtk: np.ndarray,
    level: Level,
    correlator: Correlator,
    keep: int,
    limit: AxialLimit | None = None,
) -> CoarsePeaks:
    """Score particles, samples (p, k, T/2) with all weights of the score, against all references; the `keep` best are
    listed. `limit` is that of all references at the shifts of the level.
    """
    count, shifts = len(samples_pkt), len(level.shifts)
    total, keep = len(references_rtk), min(keep, len(references_rtk))
    matrices = np.empty((correlator.grid.n_angles, level.grid.n_rings, count, shifts), np.complex64)
    for p in range(count):
        particle_matrices(samples_pkt[p], level.ramp, matrices[:, :, p])
    columns = matrices.reshape(*matrices.shape[:2], -1)
    peaks = np.empty((total, count, shifts, 2), np.float32)
    step = max(1, correlator.max_pairs // max(columns.shape[2], 1))
    for start in range(0, total, step):
        block = correlator.correlate(columns, references_rtk[start : start + step])
        if limit is not None:
            limit.apply(block, start, correlator.rows)
        np.max(block, axis=0, out=peaks[start : start + step].reshape(block.shape[1:]))
    score = peaks.max(axis=(2, 3)).T - norm_pr
    best = np.argsort(-score, axis=1, kind="stable")[:, :keep]
    at = peaks[best, np.arange(count)[:, None]].max(axis=3).argmax(axis=2)
    return CoarsePeaks(score, best.astype(np.int32), np.take_along_axis(score, best, 1), at)


def shift_window(level: Level, centres: np.ndarray, reach: float) -> np.ndarray:
    """Indices of the level's shifts within `reach` pixels (on each axis) of any of `centres` (n, 2)."""
    near = np.abs(level.shifts[:, None] - centres[None]).max(axis=2) <= reach + 1e-6
    return np.flatnonzero(near.any(axis=1))


def windows_round(centres: np.ndarray, level: Level, reach: float) -> tuple[np.ndarray, ...]:
    """For each of `centres` (n, 2), the indices of the level's shifts within `reach` pixels on each axis."""
    return tuple(shift_window(level, centre[None], reach) for centre in centres)


def rescore(
    columns_tks: np.ndarray,
    norm_r: np.ndarray,
    references_rtk: np.ndarray,
    rows: np.ndarray,
    place: np.ndarray,
    windows: tuple[np.ndarray, ...],
    correlator: Correlator,
    limit: AxialLimit | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Score one particle at many shifts (T, k, s) against some references, each within its own window of shifts.

    `rows` (n,) are the references, `place` (n,) the index of the window of each; `limit` is that of all references
    at all shifts. Returns the best log-likelihood (n,)
    float32 and its shift (n,). References that share a window are scored together.
    """
    value, shift = np.empty(len(rows), np.float32), np.empty(len(rows), np.int64)
    for group in np.unique(place):
        members, window = np.flatnonzero(place == group), windows[group]
        columns = np.ascontiguousarray(columns_tks[:, :, window])
        step = max(1, correlator.max_pairs // len(window))
        for start in range(0, len(members), step):
            part = members[start : start + step]
            block = correlator.correlate(columns, references_rtk[rows[part]])
            own = limit and limit.within(rows[part], window)
            if own:
                own.apply(block, 0, correlator.rows)
            peak = block.max(axis=0).max(axis=2)
            best = peak.argmax(axis=1)
            value[part], shift[part] = peak[np.arange(len(part)), best] - norm_r[rows[part]], window[best]
    return value, shift


def neighbours(shifts: np.ndarray, step: float) -> np.ndarray:
    """Index (s, 4) of the shift one step to −x, +x, −y, +y of each, or −1."""
    offsets = np.array([[-step, 0], [step, 0], [0, -step], [0, step]])
    wanted = shifts[:, None] + offsets[None]
    distance = np.abs(wanted[:, :, None] - shifts[None, None]).max(axis=3)
    nearest = distance.argmin(axis=2)
    return np.where(np.take_along_axis(distance, nearest[..., None], 2)[..., 0] < 1e-6, nearest, -1)


def parabola(left: np.ndarray, centre: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Offset, −½ .. ½, of the maximum of the parabola through three equidistant values."""
    curvature = left - 2 * centre + right
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = 0.5 * (left - right) / curvature
    return np.where(curvature < 0, np.clip(offset, -0.5, 0.5), 0.0)


@dataclass(frozen=True)
class Peaks:
    """The result of a fine search of one particle, for each of the n references searched."""

    value: np.ndarray  # (n,) log-likelihood of the best pose
    shift: np.ndarray  # (n,) index of its shift
    mirror: np.ndarray  # (n,) 0 or 1
    angle: np.ndarray  # (n,) radians, interpolated between samples; 0 where the reference is beyond the window
    # (n,) log Σ over shifts and mirrors of the mean of exp(log-likelihood / temperature) over in-plane angles; −inf
    # where the reference is beyond the window
    evidence: np.ndarray
    profile: np.ndarray  # (n, s, 2) best value of every shift and mirror: for interpolation between shifts
    cold: np.ndarray  # (n,) evidence at temperature 1; −inf beyond the window, and everywhere without `means`
    # (n,) log-likelihood averaged over the posterior of the projection's poses, at temperature 1
    mean: np.ndarray


def fine_peaks(
    columns_tks: np.ndarray,
    norm_r: np.ndarray,
    references_rtk: np.ndarray,
    correlator: Correlator,
    *,
    window: float,
    temperature: float,
    norm: tuple[np.ndarray, np.ndarray] | None = None,
    means: bool = False,
    limit: AxialLimit | None = None,
) -> Peaks:
    """Score one particle's matrices (T, k, s) against its surviving references, within their `limit`; details are left
    out for references beyond `window` · temperature below the best.

    `norm_r` is the norm term averaged over in-plane angles, `norm` its part that depends on them, as
    `Correlator.correlate` takes it. `means`: also the evidence and mean log-likelihood at temperature 1.
    """
    count, shifts = len(references_rtk), columns_tks.shape[2]
    profile, value = np.empty((count, shifts, 2), np.float32), np.empty(count, np.float32)
    place, angle, mean = np.empty(count, np.int64), np.zeros(count), np.zeros(count)
    evidence, cold = np.full(count, -np.inf), np.full(count, -np.inf)
    step = max(1, correlator.max_pairs // shifts)
    for start in range(0, count, step):
        part = slice(start, start + step)
        block = correlator.correlate(
            columns_tks, references_rtk[part], None if norm is None else (norm[0], norm[1][part])
        )
        everywhere = block if limit is None else limit.applied(block, start, correlator.rows)
        np.max(everywhere, axis=0, out=profile[part])
        profile[part] -= norm_r[part, None, None]
        allowed = profile[part] if limit is None else block.max(axis=0) - norm_r[part, None, None]
        flat = allowed.reshape(len(allowed), -1)
        place[part] = flat.argmax(axis=1)
        value[part] = np.take_along_axis(flat, place[part, None], 1)[:, 0]
        matter = start + np.flatnonzero(value[part] > value[: start + step].max() - window * temperature)
        angle[matter] = _best_angle(block, everywhere, matter - start, place[matter], correlator)
        own = block, matter - start, value[matter], norm_r[matter]
        if means:
            cold[matter], mean[matter] = _evidence(*own, 1.0, True)
        evidence[matter] = cold[matter] if means and temperature == 1 else _evidence(*own, temperature, False)[0]
    lost = value <= value.max(initial=-np.inf) - window * temperature
    evidence[lost], cold[lost] = -np.inf, -np.inf
    return Peaks(value, place // 2, place % 2, angle, evidence, profile, cold, mean)


def _best_angle(
    block: np.ndarray, everywhere: np.ndarray, rows: np.ndarray, place: np.ndarray, correlator: Correlator
) -> np.ndarray:
    """The best in-plane angle in radians of some references of a block at their best shift and mirror, interpolated
    between samples; `everywhere` holds the values of poses that are not allowed too.
    """
    where = correlator.rows[:, None], rows, place // 2, place % 2
    curve, at = everywhere[where], block[where].argmax(axis=0)
    angles, column = len(curve), np.arange(len(rows))
    return (
        -2
        * np.pi
        * (at + parabola(curve[at - 1, column], curve[at, column], curve[(at + 1) % angles, column]))
        / angles
    )


def _evidence(
    block: np.ndarray, rows: np.ndarray, value: np.ndarray, norm: np.ndarray, temperature: float, means: bool
) -> tuple[np.ndarray, np.ndarray]:
    """log Σ over shifts and mirrors of the mean of exp(log-likelihood / temperature) over angles, and with `means` the
    mean log-likelihood under these weights. Computed in float32 relative to the best pose.
    """
    loss = block[:, rows]
    loss -= (value + norm).astype(np.float32)[:, None, None]
    loss *= np.float32(1 / temperature)
    np.maximum(loss, LEAST_EXPONENT, out=loss)
    weight = np.exp(loss, out=None if means else loss)
    total = weight.sum(axis=0).sum(axis=(1, 2), dtype=np.float64)
    value = value.astype(np.float64)
    mean = value + temperature * np.einsum("tnsm,tnsm->n", loss, weight) / total if means else value
    return np.log(total / len(block)) + value / temperature, mean
