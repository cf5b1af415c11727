"""Classes by the pattern of a particle's scores over all references, as e2classify --simvec finds them."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.comparators.catalogue import CMPS

NO_PATTERN = 1e5  # EMAN2's score of a reference that is the best one of no particle


def pattern_scores(score_pr: np.ndarray) -> np.ndarray:
    """How far each particle's row of scores (p, r) is from the mean row of the particles whose best reference is r.

    Rows are normalised (mean 0, deviation 1) before they are added, and a mean row is fitted to the particle's own by
    least squares (sqeuclidean:normto=1). (p, r), smaller is better; 100000 where no particle has that best reference.
    """
    rows = score_pr.astype(np.float64)
    best = rows.argmin(axis=1)
    centred = rows - rows.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, ddof=1, keepdims=True)
    sums = np.zeros((rows.shape[1], rows.shape[1]))
    np.add.at(sums, best, centred / np.where(deviation > 0, deviation, 1))
    known = np.unique(best)
    patterns = (sums[known] / np.maximum(np.linalg.norm(sums[known], axis=1, keepdims=True), 1e-30))[:, None]
    compare = CMPS.build("sqeuclidean:normto=1")
    out = np.full(rows.shape, NO_PATTERN)
    for out_row, row in zip(out, rows):
        out_row[known] = compare(row[None], patterns.astype(np.float32), About())
    return out
