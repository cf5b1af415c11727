"""How images were recorded: what all images of one optics group have in common."""

from __future__ import annotations

from collections.abc import Sequence
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


def common_grid(lenses: Sequence[Lens]) -> Grid:
    """The grid that images of all lenses are brought to: their own where they agree; else that of the coarsest pixel,
    with the even box that fits in the smallest field, to half a pixel.

    >>> common_grid([Lens("a", Grid(64, 6.55)), Lens("b", Grid(80, 5.24))])
    Grid(nx=64, apix=6.55)
    """
    first = lenses[0].grid
    if all(first.agrees(lens.grid) for lens in lenses):
        return first
    apix, length = max(lens.grid.apix for lens in lenses), min(lens.grid.length for lens in lenses)
    return Grid(2 * int((length / apix + 0.5) / 2), apix)
