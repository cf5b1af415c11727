"""Shifts of particles between the common grid, on which the program works, and the images of each lens."""

from __future__ import annotations

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.maths.image.resampling import shift_to_image, shift_to_particle


def to_common(shift: np.ndarray, table: ParticleTable, grid: Grid) -> np.ndarray:
    """Shifts (p, 2: x, y) in Å of the images as pixels of the common grid, in the particles' frame."""
    out = np.empty(shift.shape)
    for place, lens in enumerate(table.lenses):
        rows = slice(None) if table.lens is None else table.lens == place
        out[rows] = shift_to_particle(lens, shift[rows])
    return out / grid.apix


def from_common(shift: np.ndarray, table: ParticleTable, grid: Grid) -> np.ndarray:
    """Shifts (p, 2: x, y) in pixels of the common grid as Å in the images."""
    out = np.array(shift, np.float64) * grid.apix
    for place, lens in enumerate(table.lenses):
        rows = slice(None) if table.lens is None else table.lens == place
        out[rows] = shift_to_image(lens, out[rows])
    return out


def pixels_of_rows(table: ParticleTable, grid: Grid) -> np.ndarray:
    """(p,) Å per pixel of each row's image; that of the common grid where no lens is known."""
    own = np.array([lens.grid.apix for lens in table.lenses] or [grid.apix])
    return own[np.zeros(len(table), int) if table.lens is None else table.lens]
