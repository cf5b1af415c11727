"""Particles of a helix lie within one rise along its axis: farther shifts are other views by its symmetry.

The axis of a helix, along z of the map, is y of its projections, mirrored ones too; turned by φ it points along
(sin φ, cos φ) in the particle's image, and the shift along it is the product of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNLIKELY = np.float32(-1e30)  # log-likelihood of a pose that is not allowed


@dataclass(frozen=True)
class AxialLimit:
    """How far particles may be shifted along the axis of the map that they are compared with, in pixels."""

    along: np.ndarray  # (r,) at most so far; infinite for references of maps that are no helices
    shifts: np.ndarray  # (s, 2)
    step: float  # between shifts; half a step is allowed beyond the limit
    turning: bool = True  # the axis turns with the angle; else it is y at every angle

    @classmethod
    def of(cls, along: np.ndarray, shifts: np.ndarray, step: float, turning: bool = True) -> AxialLimit | None:
        """None where nothing is limited."""
        return cls(along, shifts, step, turning) if np.isfinite(along).any() else None

    def within(self, references: np.ndarray, window: np.ndarray) -> AxialLimit | None:
        """For some references, and some of the shifts (indices)."""
        return AxialLimit.of(self.along[references], self.shifts[window], self.step, self.turning)

    def apply(self, block: np.ndarray, first: int, rows: np.ndarray) -> None:
        """Make poses that are not allowed unlikely, in place, in log-likelihoods (T, r, s, 2) of the references from
        `first` on; angle t is in row `rows[t]`. The columns may be those of several particles, each at all shifts.
        """
        along, repeats = self.along[first : first + block.shape[1]], block.shape[2] // max(len(self.shifts), 1)
        for most in np.unique(along[np.isfinite(along)]):
            members = np.flatnonzero(along == most)
            part = slice(members[0], members[-1] + 1) if np.ptp(members) == len(members) - 1 else members
            block[:, part] += np.tile(self._penalty(float(most), rows), repeats)[:, None, :, None]

    def applied(self, block: np.ndarray, first: int, rows: np.ndarray) -> np.ndarray:
        """As `apply`; returns the block as it was, for interpolation: neighbours of a peak may not be allowed."""
        before = block.copy()
        self.apply(block, first, rows)
        return before

    def _penalty(self, most: float, rows: np.ndarray) -> np.ndarray:
        """(T, s) float32, 0 for shifts within `most` along the axis, else UNLIKELY."""
        phi = -2 * np.pi * np.arange(len(rows)) / len(rows) * self.turning
        along = np.abs(np.stack([np.sin(phi), np.cos(phi)], -1) @ self.shifts.T)
        penalty = np.empty(along.shape, np.float32)
        penalty[rows] = np.where(along <= most + self.step / 2, np.float32(0), UNLIKELY)
        return penalty
