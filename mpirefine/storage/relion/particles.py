"""RELION particle files: STAR 3.1 with optics groups, and the older single table; and the same file written back with
classes and poses.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpirefine.data.aberrations import Aberrations
from mpirefine.data.grid import Grid
from mpirefine.data.keys import halves, image_keys
from mpirefine.data.lens import Lens
from mpirefine.data.particles import ParticleTable
from mpirefine.errors import PROBLEMS_SHOWN, InputError, Problems
from mpirefine.storage.particle_checks import check_boxes, noise_groups
from mpirefine.storage.relion.aberrations import read_aberrations
from mpirefine.storage.relion.ctf import read_ctf
from mpirefine.storage.relion.image_names import COLUMN, Stacks, parse_image_names
from mpirefine.storage.relion.optics import check_image_size, read_optics_groups
from mpirefine.storage.relion.pixel_size import read_pixel_size
from mpirefine.storage.relion.poses import pose_columns, read_half_sets, read_poses
from mpirefine.storage.star import StarTable, read_star, write_star
from mpirefine.storage.star_cells import decimal_cells, integer_cells

MICROGRAPH = "rlnMicrographName"


@dataclass(frozen=True)
class RelionParticles:
    """A particle file without its pixels: the table, the grid of the images, and the STAR tables for writing back."""

    path: Path
    table: ParticleTable
    grid: Grid
    tables: dict[str, StarTable]
    name: str  # of the table that holds the particles
    stacks: tuple[str, ...]  # names of the stacks as written, in the order of `table.files`
    pixel_source: str = ""  # where the pixel size came from, in words
    aberrations: Aberrations | None = None

    suffix = ".star"

    @property
    def particles(self) -> StarTable:
        """The STAR table of the particles."""
        return self.tables[self.name]

    def with_table(self, table: ParticleTable) -> RelionParticles:
        """The same file with another table of what is known of its rows."""
        return replace(self, table=table)

    def image_names(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """index@stack of some rows, as written."""
        return self.particles.take(rows).column(COLUMN)

    def unchanged(self) -> RelionRows:
        """The rows as they were read, for writing; only image names are made absolute where they have to be."""
        return self._rows({})

    def with_results(
        self,
        *,
        model: np.ndarray,
        posterior: np.ndarray,
        rotation: np.ndarray,
        shift_xy: np.ndarray,
        half: np.ndarray | None = None,
    ) -> RelionRows:
        """The rows with class, angles, origins, posterior and half-set, for writing; every other column is kept.

        `model` (p,) map from 0, -1 for particles set aside (class 0); `posterior` (p,) of that map; `rotation` (p, 3,
        3) from map to image; `shift_xy` (p, 2) pixels from the box centre to the particle (RELION's origin is the way
        back); `half` (p,) half-set from 0.
        """
        cells = pose_columns(self.particles, self.grid, rotation, shift_xy)
        cells["rlnClassNumber"] = integer_cells(model + 1)
        cells["rlnMaxValueProbDistribution"] = decimal_cells(posterior)
        if half is not None:
            cells["rlnRandomSubset"] = integer_cells(half + 1)
        return self._rows(cells)

    def _rows(self, cells: dict[str, np.ndarray]) -> RelionRows:
        table = self.particles.with_columns({**cells, **self._resolving_names()})
        return RelionRows({**self.tables, self.name: table}, self.name)

    def _resolving_names(self) -> dict[str, list[str]]:
        """Image names that resolve from the current folder: absolute where they were relative to the STAR file."""
        prefix = [stack if Path(stack).exists() else str(file) for stack, file in zip(self.stacks, self.table.files)]
        if prefix == list(self.stacks):
            return {}
        indices = (cell.partition("@")[0] for cell in self.particles.column(COLUMN))
        return {COLUMN: [f"{index}@{prefix[file]}" for index, file in zip(indices, self.table.file.tolist())]}


@dataclass(frozen=True)
class RelionRows:
    """All rows as they are to be written, formatted once."""

    tables: dict[str, StarTable]
    name: str  # of the table that holds the particles

    def write(self, path: str | os.PathLike[str], rows: np.ndarray | None = None) -> None:
        """Write the rows, or some of them in the order given."""
        chosen = self.tables[self.name] if rows is None else self.tables[self.name].take(rows)
        write_star(path, {**self.tables, self.name: chosen}.values())


def read_relion_particles(
    path: str | os.PathLike[str],
    apix: float | None = None,
    *,
    ctf: bool = True,
    poses: bool = False,
    ctf_required: bool = True,
) -> RelionParticles:
    """On rank 0. Read and check a particle file and the headers of its stacks; `apix` (Å) overrides what the files say.

    With `ctf=False` the images are taken as free of contrast transfer; so they are with `ctf_required=False` where the
    columns of the CTF are missing, which is an error otherwise. `poses=True` reads angles and origins, which must be
    there. Raises InputError with every problem found, each naming file, row and column.
    """
    path, tables, problems = Path(path), read_star(path), Problems(PROBLEMS_SHOWN)
    name, particles, optics = _find_tables(path, tables)
    names = parse_image_names(path, particles, problems)
    optics_group, optics_names = read_optics_groups(path, particles, optics, problems)
    stacks = Stacks(path, names, problems)
    box = check_boxes(path, stacks.boxes, problems)
    check_image_size(path, optics, optics_group, names.file, stacks.headers, problems)
    found = (apix, "--apix") if apix else None
    pixel, source = found or read_pixel_size(path, particles, optics, optics_group, stacks.headers, problems)
    params = read_ctf(path, particles, optics, optics_group, problems, required=ctf_required) if ctf else None
    lens = read_aberrations(path, particles, optics, optics_group, problems)
    grid = Grid(box, float(pixel))
    rotation, shift = read_poses(path, particles, grid, problems) if poses else (None, None)
    problems.raise_if_any()
    stacks.warn()
    group, group_names, optics_of_group = _noise_groups(particles, optics_group, optics_names)
    table = ParticleTable(
        stacks.paths,
        names.file,
        names.image,
        np.arange(len(particles)),
        group,
        group_names,
        halves(image_keys(stacks.paths, names.file, names.image)),
        params,
        rotation,
        shift,
        optics_of_group,
        subset=read_half_sets(particles),
        lenses=(Lens("all", grid),),
    )
    return RelionParticles(path, table, grid, tables, name, names.stacks, source, lens)


def _noise_groups(
    particles: StarTable, optics_group: np.ndarray, optics_names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """As `noise_groups`, with micrographs where the file names them."""
    names, micrograph = particles.factorise(MICROGRAPH) if MICROGRAPH in particles else ((), optics_group[:0])
    return noise_groups(names, micrograph, optics_group, optics_names)


def _find_tables(path: Path, tables: dict[str, StarTable]) -> tuple[str, StarTable, StarTable | None]:
    """Name and table of the particles, and the table of optics groups."""
    name = next((name for name, table in tables.items() if COLUMN in table), None)
    if name is None:
        raise InputError(
            f"{path}: no table has a column _{COLUMN}: this is not a particle file (of RELION 3.0 or later)"
        )
    if not len(tables[name]):
        raise InputError(f"{path}: table '{name}' holds no particles")
    optics = tables.get("optics")
    if optics is not None and not len(optics):
        raise InputError(f"{path}: table 'optics' has no rows, so no optics group: the file was not written whole")
    return name, tables[name], optics
