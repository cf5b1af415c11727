"""Particle files of any kind, by suffix: RELION's STAR, EMAN2's lists and stacks; and sets written in either format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import numpy as np

from mpirefine.data.aberrations import Aberrations
from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.storage import relion
from mpirefine.storage.eman2 import particle_lists
from mpirefine.storage.optics import CTF_COLUMNS, FLAG_COLUMNS
from mpirefine.storage.star import StarTable

STAR = ".star"
LISTS = {"lst": ".lst", "star": STAR}
OPTICS_COLUMNS = (
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
)  # which RELION looks for in the table of optics groups


class ParticleInput(Protocol):
    """A particle file without its pixels. `suffix` is that of the sets it writes by itself."""

    suffix: str

    @property
    def path(self) -> Path: ...

    @property
    def table(self) -> ParticleTable: ...

    @property
    def grid(self) -> Grid: ...

    @property
    def pixel_source(self) -> str:
        """Where the pixel size came from, in words."""
        ...

    @property
    def aberrations(self) -> Aberrations | None:
        """What the file tells of lens errors that are not corrected."""
        ...

    def subset(self, path: str | os.PathLike[str], rows: np.ndarray) -> None:
        """Write some rows as they came."""
        ...

    def with_table(self, table: ParticleTable) -> ParticleInput:
        """The same file with what is known otherwise of its rows."""
        ...

    def image_names(self, rows: np.ndarray) -> list[str]:
        """The images of some rows, as a reader finds them."""
        ...

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        model: np.ndarray,
        posterior: np.ndarray,
        rotation: np.ndarray,
        shift_xy: np.ndarray,
        half: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        """Write the particles with map (from 0, -1 for none), its probability, rotation (n, 3, 3), shift (n, 2) in
        pixels and half-set (from 0).

        Or only some `rows`.
        """
        ...


def read_particles(
    path: str | os.PathLike[str],
    apix: float | None = None,
    *,
    ctf: bool = True,
    poses: bool = False,
    ctf_needed: bool = True,
) -> ParticleInput:
    """On rank 0. Read and check a particle file; see the readers of both formats. Raises InputError with every problem
    found.
    """
    reader = relion.read_particles if Path(path).suffix.lower() == STAR else particle_lists.read_particles
    return reader(path, apix, ctf=ctf, poses=poses, ctf_needed=ctf_needed)


def in_format(source: ParticleInput, name: str | None) -> ParticleInput:
    """The same particles, writing themselves in the format asked for ("star", "lst"; None: their own)."""
    suffix = LISTS[name] if name else source.suffix
    if suffix == source.suffix:
        return source
    if suffix == STAR:
        tables = as_star(source.table, source.grid)
        return relion.ParticleInput(source.path, source.table, source.grid, tables, "particles")
    return particle_lists.EmanParticles(source.path, source.table, source.grid)


def as_star(table: ParticleTable, grid: Grid) -> dict[str, StarTable]:
    """RELION 3.1 tables of particles that came from elsewhere, an optics group for each microscope."""
    names = [f"{image + 1:06d}@{table.files[file]}" for file, image in zip(table.file, table.image)]
    group, columns, optics = np.zeros(len(table), int), {"rlnImageName": names}, {}
    if table.ctf is not None:
        cells = {**ctf_columns(table.ctf), **flag_columns(table.ctf)}
        own = (*OPTICS_COLUMNS, *FLAG_COLUMNS)
        microscopes, group = np.unique(np.stack([cells.pop(name) for name in own], axis=1), axis=0, return_inverse=True)
        columns.update(cells)
        optics = dict(zip(own, microscopes.T.tolist()))
    columns["rlnOpticsGroup"] = [str(number + 1) for number in group]
    count = int(group.max(initial=0)) + 1
    optics = {
        "rlnOpticsGroupName": [f"group{number + 1}" for number in range(count)],
        "rlnOpticsGroup": [str(number + 1) for number in range(count)],
        "rlnImagePixelSize": [f"{grid.apix:.6f}"] * count,
        "rlnImageSize": [str(grid.nx)] * count,
        "rlnImageDimensionality": ["2"] * count,
        **optics,
    }
    return {
        "optics": StarTable.from_columns("optics", optics),
        "particles": StarTable.from_columns("particles", columns),
    }


def ctf_columns(params: CTFParams) -> dict[str, list[str]]:
    """The CTF in RELION's columns."""
    return {column: [f"{value:.6f}" for value in getattr(params, field)] for column, (field, _) in CTF_COLUMNS.items()}


def flag_columns(params: CTFParams) -> dict[str, list[str]]:
    """What was done to the images, in RELION's columns."""
    none = np.zeros(len(params), bool)
    flags = {column: getattr(params, field) for column, field in FLAG_COLUMNS.items()}
    return {column: [str(int(flag)) for flag in (none if found is None else found)] for column, found in flags.items()}
