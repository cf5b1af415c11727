"""CTF parameters of particles, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mpirefine.data.partition import Rows


@dataclass(frozen=True)
class CTFParams:
    """One value per particle in every field but the last, float64 arrays (p,).

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
    # int32, place in `even_coefficients`; None: no image has even aberrations
    even: np.ndarray | None = None
    # the different lists of coefficients of RELION's even Zernike polynomials, radians; the same for any rows
    even_coefficients: tuple[tuple[float, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.defocus_u)

    def columns(self) -> dict[str, np.ndarray]:
        """The values of single particles by field, without those that no particle has."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "even_coefficients"}
        return {name: values for name, values in found.items() if values is not None}

    def take(self, rows: Rows) -> CTFParams:
        """The parameters of the given particles."""
        taken: dict[str, Any] = {name: values[rows] for name, values in self.columns().items()}
        return replace(self, **taken)
