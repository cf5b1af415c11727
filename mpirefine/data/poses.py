"""Orientations of projections, and what particles were assigned to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
        """The range of the list that belongs to one map."""
        return slice(int(np.searchsorted(self.model, model)), int(np.searchsorted(self.model, model, side="right")))


@dataclass(frozen=True)
class Candidates:
    """The best projections of each particle, best first, as the search left them; unused places have reference -1.

    The particle is the projection mirrored (rows v → -v) if `mirror`, then turned by `angle` (in-plane, radians, EMAN
    phi), then
    moved by `shift` (pixels). `evidence` sums exp(log-likelihood) over in-plane angles and shifts of that projection,
    as a logarithm.
    """

    reference: np.ndarray  # (p, c) int32
    score: np.ndarray  # (p, c) float32, minus the best log-likelihood: smaller is better
    evidence: np.ndarray  # (p, c) float64
    angle: np.ndarray  # (p, c) float32
    shift: np.ndarray  # (p, c, 2) float32, x then y
    mirror: np.ndarray  # (p, c) bool
    model_evidence: np.ndarray  # (p, m) float64, log-sum-exp over all projections of a map
    match: (
        np.ndarray
    )  # (p, 2) float64, Σ Re(X (αcP)*)/σ² and Σ |αcP|²/σ² on average over the posterior of the likely poses

    def __len__(self) -> int:
        return len(self.reference)


@dataclass(frozen=True)
class Assignments:
    """Which projections each particle is averaged into, with what weight, and which map it belongs to."""

    weight: np.ndarray  # (p, c) float32, one per place of the candidates; 0 where it does not contribute
    posterior: np.ndarray  # (p, m) float32, probability of each map
    model: np.ndarray  # (p,) int32, map of the best candidate (hard assignment), -1 for particles set aside
    best: np.ndarray  # (p,) int32, place of that candidate in its row
