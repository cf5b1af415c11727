"""Particles that came from another program as RELION 3.1 tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.storage.relion.ctf import CTF_COLUMNS, FLAG_COLUMNS
from mpirefine.storage.relion.image_names import COLUMN
from mpirefine.storage.relion.optics import GROUP, GROUP_NAME
from mpirefine.storage.relion.particles import RelionParticles
from mpirefine.storage.star import StarTable
from mpirefine.storage.star_cells import decimal_cells, integer_cells

# RELION looks for these in the table of optics groups
OPTICS_COLUMNS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", *FLAG_COLUMNS)


def convert_to_relion(path: Path, table: ParticleTable, grid: Grid) -> RelionParticles:
    """A particle file of RELION with these particles."""
    return RelionParticles(path, table, grid, star_tables(table, grid), "particles", table.files)


def star_tables(table: ParticleTable, grid: Grid) -> dict[str, StarTable]:
    """RELION 3.1's tables 'optics' and 'particles', with an optics group for each one of the table, each microscope and
    each grid of images.
    """
    names = [f"{image + 1:06d}@{table.files[file]}" for file, image in zip(table.file, table.image)]
    columns: dict[str, list[str] | np.ndarray] = {COLUMN: names}
    grids = [lens.grid for lens in table.lenses] or [grid]
    lens = np.zeros(len(table), int) if table.lens is None else table.lens
    shared = {
        "rlnImagePixelSize": np.array([f"{own.apix:.6f}" for own in grids], "S")[lens],
        "rlnImageSize": np.array([str(own.nx) for own in grids], "S")[lens],
    }
    if table.ctf is not None:
        cells = _ctf_cells(table.ctf)
        shared |= {name: cells.pop(name) for name in OPTICS_COLUMNS}
        columns |= cells
    own_group = integer_cells(table.optics_of_group[table.group])
    different, group = np.unique(np.stack([own_group, *shared.values()], axis=1), axis=0, return_inverse=True)
    columns[GROUP] = integer_cells(group.reshape(-1) + 1)
    numbers = range(1, int(group.max(initial=0)) + 2)
    optics = {
        GROUP_NAME: [f"group{number}" for number in numbers],
        GROUP: [str(number) for number in numbers],
        "rlnImageDimensionality": ["2"] * len(numbers),
        **dict(zip(shared, different.T[1:])),
    }
    return {
        "optics": StarTable.from_columns("optics", optics),
        "particles": StarTable.from_columns("particles", columns),
    }


def _ctf_cells(params: CTFParams) -> dict[str, np.ndarray]:
    """The CTF, and what was done to the images, in RELION's columns."""
    unset = np.zeros(len(params), bool)
    cells = {column: decimal_cells(getattr(params, field)) for column, (field, _) in CTF_COLUMNS.items()}
    for column, field in FLAG_COLUMNS.items():
        flags = getattr(params, field)
        cells[column] = integer_cells((unset if flags is None else flags).astype(int))
    return cells
