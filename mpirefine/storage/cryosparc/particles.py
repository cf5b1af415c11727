"""cryoSPARC's particle files (.cs), and the same rows written with classes, poses and half-sets.

Conventions as in pyem's csparc2star and cryoDRGN's parse_pose_csparc: the rotation vector `alignments3D/pose` turns
image coordinates into map coordinates, so that its inverse is RELION's rotation; `alignments3D/shift` is RELION's
origin in pixels of `alignments3D/psize_A`; maps and half-sets count from 0; images times `blob/sign` have bright
particles.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.keys import halves, image_keys
from mpirefine.data.lens import common_grid
from mpirefine.data.particles import ParticleTable
from mpirefine.errors import PROBLEMS_SHOWN, Problems
from mpirefine.storage.cryosparc.columns import (
    ALIGNMENT,
    PATH,
    SIGN,
    Columns,
    ctf_of,
    images_of,
    lenses_of,
    poses_of,
    split_of,
)
from mpirefine.storage.cryosparc.dataset import join, read_dataset, texts, with_columns, write_dataset
from mpirefine.storage.lens_frames import from_common, pixels_of_rows
from mpirefine.storage.particle_checks import noise_groups

MICROGRAPHS = ("location/micrograph_path", "location/micrograph_uid")
GROUP = "ctf/exp_group_id"


@dataclass(frozen=True)
class CsParticles:
    """A particle file without its pixels: the table, the grid of the images, and cryoSPARC's own columns."""

    path: Path
    table: ParticleTable
    grid: Grid
    rows: np.ndarray  # (p,) with named columns
    pixel_source: str = ""  # where the pixel size came from, in words

    suffix = ".cs"

    def with_table(self, table: ParticleTable) -> CsParticles:
        """The same file with another table of what is known of its rows."""
        return replace(self, table=table)

    def image_names(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """index@stack of some rows, the index from 0 as cryoSPARC counts."""
        return [f"{self.table.image[row]}@{self.table.files[self.table.file[row]]}" for row in rows]

    def unchanged(self) -> CsRows:
        """The rows as they were read, for writing."""
        return self._rows({})

    def with_results(
        self,
        *,
        model: np.ndarray,
        posterior: np.ndarray,
        rotation: np.ndarray,
        shift_xy: np.ndarray,
        half: np.ndarray | None = None,
    ) -> CsRows:
        """The rows with results in the columns of `alignments3D`, for writing; every other column is kept.

        `model` (p,) map from 0, -1 for particles set aside: `class`, 0 with `class_posterior` 0 for those; `posterior`
        (p,) of that map; `rotation` (p, 3, 3) from map to image; `shift_xy` (p, 2) pixels of `grid` from the box centre
        to the particle; `half` (p,) half-set from 0.
        """
        from scipy.spatial.transform import Rotation

        pixel = pixels_of_rows(self.table, self.grid)
        origin = -from_common(shift_xy, self.table, self.grid) / pixel[:, None]
        columns = {
            "pose": Rotation.from_matrix(rotation).inv().as_rotvec().astype("f4"),
            "shift": origin.astype("f4"),
            "psize_A": pixel.astype("f4"),
            "class": np.maximum(model, 0).astype("u4"),
            "class_posterior": np.where(np.asarray(model) < 0, 0, posterior).astype("f4"),
        }
        if half is not None:
            columns["split"] = np.asarray(half).astype("u4")
        return self._rows({ALIGNMENT + name: values for name, values in columns.items()})

    def _rows(self, columns: dict[str, np.ndarray]) -> CsRows:
        """The rows with columns changed, the sign of the contrast as it is used, and names of stacks that can be found
        from the current folder or those above it.
        """
        inverted, known = self.table.inverted, self.rows.dtype.names or ()
        if inverted is not None or SIGN in known:
            columns[SIGN] = np.where(np.zeros(len(self.rows), bool) if inverted is None else inverted, -1, 1)
            columns[SIGN] = columns[SIGN].astype("f4")
        names, place = texts(self.rows[PATH])
        here = (Path.cwd() / "x").parents
        found = [any((folder / name.lstrip(">")).is_file() for folder in here) for name in names]
        if all(found):
            return CsRows(with_columns(self.rows, columns))
        files = np.array([name.encode() for name in self.table.files])
        return CsRows(with_columns(with_columns(self.rows, columns), {PATH: files[self.table.file]}, retyped=(PATH,)))


@dataclass(frozen=True)
class CsRows:
    """All rows as they are to be written."""

    rows: np.ndarray

    def write(self, path: str | os.PathLike[str], rows: np.ndarray | None = None) -> None:
        """Write the rows, or some of them in the order given."""
        write_dataset(path, self.rows if rows is None else self.rows[rows])


def read_cs_particles(
    paths: Sequence[Path], apix: float | None = None, *, ctf: bool, poses: bool, ctf_required: bool
) -> CsParticles:
    """On rank 0. Read and check a particle file, joined with the passthrough files after it, and the headers of its
    stacks; `apix` (Å) overrides what it says.

    Arguments as of `particle_file.read_particles`. Raises InputError with every problem found, each naming file, row
    and column.
    """
    rows, path = read_dataset(paths[0]), paths[0]
    for second in paths[1:]:
        rows = join(rows, path, read_dataset(second), second)
    problems = Problems(PROBLEMS_SHOWN)
    columns = Columns(path, rows, problems)
    images = images_of(columns)
    lenses, lens, source = lenses_of(columns, images, apix)
    params = ctf_of(columns, required=ctf_required) if ctf else None
    split = split_of(columns)
    problems.raise_if_any()
    grid = common_grid(lenses)
    group, group_names, optics = noise_groups_of(rows)
    table = ParticleTable(
        images.paths,
        images.file,
        images.image,
        np.arange(len(rows)),
        group,
        group_names,
        halves(image_keys(images.paths, images.file, images.image)),
        params,
        optics=optics,
        subset=split,
        inverted=images.inverted if images.inverted.any() else None,
        lenses=lenses,
        lens=lens if len(lenses) > 1 else None,
    )
    if poses:
        rotation, shift = poses_of(columns, table, grid)
        problems.raise_if_any()
        table = replace(table, rotation=rotation, shift=shift)
    return CsParticles(path, table, grid, rows, source)


def noise_groups_of(rows: np.ndarray) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """As `noise_groups`, with exposure groups as optics groups."""
    names = rows.dtype.names or ()
    column = next((name for name in MICROGRAPHS if name in names), None)
    micrographs, micrograph = texts(rows[column]) if column else ([], np.zeros(0, int))
    groups, number = texts(rows[GROUP]) if GROUP in names else (["all"], np.zeros(len(rows), int))
    return noise_groups(micrographs, micrograph, number.astype(np.int32), groups)
