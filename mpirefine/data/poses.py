"""Orientations of projections, and the poses and maps that particles are assigned to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.data.partition import Rows


@dataclass(frozen=True)
class Orientations:
    """The projections of all maps in one list: all of map 0, then all of map 1, ...

    A rotation takes map coordinates (x, y, z) to image coordinates: a slice at image frequency (u, v) is the map's
    transform at Rᵀ(u, v, 0) (EMAN2's `xform.projection`).
    """

    rotation: np.ndarray  # (r, 3, 3) float64
    model: np.ndarray  # (r,) int32, map of each projection, from 0

    def __len__(self) -> int:
        return len(self.model)

    def of_model(self, model: int) -> slice:
        """The part of the list that belongs to one map."""
        return slice(int(np.searchsorted(self.model, model)), int(np.searchsorted(self.model, model, side="right")))


@dataclass(frozen=True)
class InPlanePoses:
    """How particles lie on their projections, in arrays of any shape (...).

    The particle is the projection mirrored (y → −y) if `mirror`, then turned by `angle`, then moved by `shift`.
    """

    angle: np.ndarray  # (...) radians, EMAN2's phi
    mirror: np.ndarray  # (...) bool
    shift: np.ndarray  # (..., 2) pixels, x then y

    def take(self, rows: Rows) -> InPlanePoses:
        """The poses of the given rows of the first axis."""
        return InPlanePoses(self.angle[rows], self.mirror[rows], self.shift[rows])


@dataclass(frozen=True)
class Candidates:
    """The best projections of each particle, best first, as the search found them; unused places have reference -1.

    Poses are as in `InPlanePoses`. `evidence` is the logarithm of the sum of exp(log-likelihood) over all in-plane
    angles and shifts of that projection.
    """

    reference: np.ndarray  # (p, c) int32
    score: np.ndarray  # (p, c) float32, minus the best log-likelihood: smaller is better
    evidence: np.ndarray  # (p, c) float64
    angle: np.ndarray  # (p, c) float32
    shift: np.ndarray  # (p, c, 2) float32, x then y
    mirror: np.ndarray  # (p, c) bool
    model_evidence: np.ndarray  # (p, m) float64, log-sum-exp over all projections of a map
    # (p, 2) float64, Σ Re(X (αcP)*)/σ² and Σ |αcP|²/σ², averaged over the posterior of the likely poses
    match: np.ndarray

    def __len__(self) -> int:
        return len(self.reference)

    @property
    def poses(self) -> InPlanePoses:
        """The poses (p, c) on all candidates."""
        return InPlanePoses(self.angle, self.mirror, self.shift)


@dataclass(frozen=True)
class Assignments:
    """The projections that each particle is averaged into, with their weights, and the map that it belongs to."""

    weight: np.ndarray  # (p, c) float32, one for each candidate; 0 where the particle does not contribute
    posterior: np.ndarray  # (p, m) float32, probability of each map
    model: np.ndarray  # (p,) int32, map of the best candidate (hard assignment), -1 for particles set aside
    best: np.ndarray  # (p,) int32, place of that candidate in its row
