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

    @classmethod
    def none(cls) -> Orientations:
        """No projections."""
        return cls(np.zeros((0, 3, 3)), np.zeros(0, np.int32))

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

    @classmethod
    def empty(cls, particles: int, places: int, models: int) -> Candidates:
        """Rows of `particles` without any candidate; map evidence is 0."""
        shape = particles, places
        return cls(
            reference=np.full(shape, -1, np.int32),
            score=np.zeros(shape, np.float32),
            evidence=np.full(shape, -np.inf),
            angle=np.zeros(shape, np.float32),
            shift=np.zeros((*shape, 2), np.float32),
            mirror=np.zeros(shape, bool),
            model_evidence=np.zeros((particles, models)),
            match=np.zeros((particles, 2)),
        )

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

    @classmethod
    def none(cls) -> Assignments:
        """Those of no particle."""
        return cls(
            np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32), np.zeros(0, np.int32), np.zeros(0, np.int32)
        )


@dataclass(frozen=True)
class HardPoses:
    """The best pose of each particle: map (p,), -1 for none, rotation (p, 3, 3) of the map, shift (p, 2) in pixels."""

    model: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray

    def take(self, rows: np.ndarray) -> HardPoses:
        """Those of some rows."""
        return HardPoses(self.model[rows], self.rotation[rows], self.shift[rows])
