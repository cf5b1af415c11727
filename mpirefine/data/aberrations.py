"""Lens errors that particle files tell of and that images are not corrected for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Aberrations:
    """One entry in every field for each of k cases: the optics groups, or the rows that differ. NaN where voltage or Cs
    are not told.
    """

    names: tuple[str, ...]  # of the cases, as a reader finds them
    voltage: np.ndarray  # (k,) kV
    cs: np.ndarray  # (k,) mm
    tilt: np.ndarray  # (k, 2) mrad, of the beam along x and y
    odd: tuple[
        tuple[float, ...], ...
    ]  # coefficients of RELION's odd Zernike polynomials, radians with frequencies in 1/Å
    even: tuple[tuple[float, ...], ...]  # of the even ones
    magnification: np.ndarray  # (k, 2, 2), the identity where it is the same everywhere
