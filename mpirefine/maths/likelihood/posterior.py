"""From candidates to assignments: the posterior of each map, and the weights of the projections that a particle is
averaged into.
"""

from __future__ import annotations

import numpy as np

from mpirefine.data.poses import Assignments, Candidates


def log_sum_exp(values: np.ndarray, axis: int) -> np.ndarray:
    """log Σ exp along an axis, float64; −inf for an empty one."""
    values = np.asarray(values, np.float64)
    top = values.max(axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis)


def assign(candidates: Candidates, model_r: np.ndarray, *, sep: int, soft: bool, support: float = 0.99) -> Assignments:
    """The assignments of particles from their candidates. Hard: the `sep` best projections with their probabilities (1
    for `sep` = 1). Soft: the projections that together have a probability of `support`, at most `sep`.

    Every projection of a map has the same prior and every map has the same, whatever its number of projections: maps of
    low symmetry gain nothing by having more. `model_r` is the map of each projection.
    """
    models = candidates.model_evidence.shape[1]
    counts = np.bincount(model_r, minlength=models)
    total = candidates.model_evidence - np.log(np.maximum(counts, 1))
    posterior = np.exp(total - log_sum_exp(total, 1)[:, None])
    used = candidates.reference >= 0
    model = np.where(used, model_r[candidates.reference], 0)
    evidence = np.where(used, candidates.evidence - np.log(np.maximum(counts, 1))[model], -np.inf)
    weight = np.exp(evidence - log_sum_exp(total, 1)[:, None])
    order = np.argsort(-weight, axis=1, kind="stable")
    ranked = np.take_along_axis(weight, order, 1)
    before = np.cumsum(ranked, axis=1) - ranked
    kept = (np.arange(weight.shape[1]) < sep) & (ranked > 0)
    if soft:
        kept &= before < support
    keep = np.zeros_like(kept)
    np.put_along_axis(keep, order, kept, 1)
    weight = np.where(keep, weight, 0)
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    winner = posterior.argmax(axis=1) if soft else np.take_along_axis(model, order[:, :1], 1)[:, 0]
    of_winner = used & (model == winner[:, None])
    found = np.where(of_winner.any(axis=1, keepdims=True), of_winner, used)
    best = np.argmax(np.where(found, evidence, -np.inf), axis=1)
    winner = np.where(used.any(axis=1), np.take_along_axis(model, best[:, None], 1)[:, 0], -1)
    return Assignments(
        weight.astype(np.float32), posterior.astype(np.float32), winner.astype(np.int32), best.astype(np.int32)
    )


def best_references(score_pr: np.ndarray, *, sep: int) -> np.ndarray:
    """Columns (p, sep) of the lowest scores of each row, best first; equal scores by lower column."""
    return np.argsort(score_pr, axis=1, kind="stable")[:, :sep]
