"""How images were recorded: what all images of one optics group have in common."""

from __future__ import annotations

from dataclasses import dataclass

from mpirefine.data.grid import Grid

Matrix = tuple[tuple[float, float], tuple[float, float]]
NO_DISTORTION: Matrix = ((1.0, 0.0), (0.0, 1.0))


@dataclass(frozen=True)
class Lens:
    """Sampling and aberrations of the images of an optics group, in RELION's definitions.

    A frequency (x, y) of an image, by its nominal pixel size, is the frequency `magnification` · (x, y) of the
    particle. Coefficients of Zernike polynomials are in radians, for true frequencies in 1/Å; beam tilt is one of the
    odd ones.
    """

    name: str  # of the optics group, or of the first row that has these values, for messages
    grid: Grid
    magnification: Matrix = NO_DISTORTION
    odd: tuple[float, ...] = ()
    even: tuple[float, ...] = ()
