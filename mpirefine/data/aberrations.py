"""Lens aberrations that particle files list and that images are not corrected for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Aberrations:
    """One entry in every field for each of k cases: the optics groups, or the different rows. NaN where voltage or Cs
    are unknown.
    """

    names: tuple[str, ...]  # of the cases, for messages
    voltage: np.ndarray  # (k,) kV
    cs: np.ndarray  # (k,) mm
    tilt: np.ndarray  # (k, 2) mrad, of the beam along x and y
    # coefficients of RELION's odd and even Zernike polynomials, in radians for frequencies in 1/Å
    odd: tuple[tuple[float, ...], ...]
    even: tuple[tuple[float, ...], ...]
    magnification: np.ndarray  # (k, 2, 2), the identity where the magnification is isotropic
