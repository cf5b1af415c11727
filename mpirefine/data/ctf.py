"""CTF parameters of particles, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mpirefine.data.partition import Rows


@dataclass(frozen=True)
class CTFParams:
    """One value per particle in every field, float64 arrays (p,).

    Underfocus is positive. The CTF has RELION's sign for bright particles: positive at low frequency.
    """

    defocus_u: np.ndarray  # Å, along `defocus_angle`
    defocus_v: np.ndarray  # Å, across it
    defocus_angle: np.ndarray  # degrees from +x
    phase_shift: np.ndarray  # degrees
    bfactor: np.ndarray  # Å², amplitude exp(-B s²/4)
    scale: np.ndarray  # factor of the whole CTF
    voltage: np.ndarray  # kV
    cs: np.ndarray  # mm
    amplitude_contrast: np.ndarray  # 0..1
    # bool, the phases of these images are flipped already, so that their CTF is |CTF|; None: of no image
    flipped: np.ndarray | None = None
    # bool, these images were multiplied by their CTF: they have CTF² · signal and CTF · noise; None: no image was
    premultiplied: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.defocus_u)

    def take(self, rows: Rows) -> CTFParams:
        """The parameters of the given particles."""
        columns: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        taken: dict[str, Any] = {name: None if values is None else values[rows] for name, values in columns.items()}
        return CTFParams(**taken)
