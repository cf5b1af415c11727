"""Contrast transfer parameters of many particles, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class CTFParams:
    """One value per particle in every field, float64 arrays of shape (p,).

    Underfocus is positive. The contrast transfer has RELION's sign with protein bright: positive at low frequency.
    """

    defocus_u: np.ndarray  # Å, along `defocus_angle`
    defocus_v: np.ndarray  # Å, across it
    defocus_angle: np.ndarray  # degrees from +x
    phase_shift: np.ndarray  # degrees
    bfactor: np.ndarray  # Å², amplitude exp(-B s²/4)
    scale: np.ndarray  # factor on the whole curve
    voltage: np.ndarray  # kV
    cs: np.ndarray  # mm
    amplitude_contrast: np.ndarray  # 0..1
    flipped: np.ndarray | None = (
        None  # bool, phases are flipped already: the images hold the curve's absolute value; None: none are
    )
    premultiplied: np.ndarray | None = (
        None  # bool, images were multiplied by their own curve: they hold its square, noise included; None: none
    )

    def __len__(self) -> int:
        return len(self.defocus_u)

    def take(self, rows) -> CTFParams:
        """The given rows (slice, indices or mask)."""
        columns = (getattr(self, f.name) for f in fields(self))
        return CTFParams(*(None if column is None else column[rows] for column in columns))
