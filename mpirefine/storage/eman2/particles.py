"""EMAN2's particle files: lists of images and stacks with headers; and lists written with map, pose and probability of
each particle.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.grid import Grid
from mpirefine.data.keys import halves, image_keys
from mpirefine.data.lens import common_grid
from mpirefine.data.particles import ParticleTable
from mpirefine.errors import PROBLEMS_SHOWN, InputError, Problems
from mpirefine.maths.eman2.ctf import to_params
from mpirefine.storage.eman2.grids import read_grids
from mpirefine.storage.eman2.image_headers import (
    ParticleImages,
    read_ctfs,
    read_flipped,
    read_micrographs,
    read_transforms,
)
from mpirefine.storage.eman2.lst import Entry, format_line, write_lines
from mpirefine.storage.image_file import ImageFile
from mpirefine.storage.lens_frames import from_common, pixels_of_rows, to_common
from mpirefine.storage.particle_checks import RANGES, check_ranges, noise_groups

log = logging.getLogger(__name__)
SUBSET = "half"  # header value of lists: the half-set of a particle, 1 or 2
SUBSETS = {1: 0, 2: 1}


@dataclass(frozen=True)
class EmanParticles:
    """A list or stack without its pixels: the table, the grid of the images, and the list's own header values."""

    path: Path
    table: ParticleTable
    grid: Grid
    headers: Sequence[dict[str, Any]] = ()  # (p,) header values in the list itself; empty: there is no list
    pixel_source: str = ""  # where the pixel size came from, in words

    suffix = ".lst"

    def with_table(self, table: ParticleTable) -> EmanParticles:
        """The same file with another table of what is known of its rows."""
        return replace(self, table=table)

    def image_names(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """index@stack of some rows, the index from 0 as EMAN2 counts."""
        return [f"{self.table.image[row]}@{self.table.files[self.table.file[row]]}" for row in rows]

    def unchanged(self) -> EmanRows:
        """The rows as they were read, for writing."""
        return self._rows([{}] * len(self.table))

    def with_results(
        self,
        *,
        model: np.ndarray,
        posterior: np.ndarray,
        rotation: np.ndarray,
        shift_xy: np.ndarray,
        half: np.ndarray | None = None,
    ) -> EmanRows:
        """The rows with results in the list's header values, for writing.

        `model` (p,) map from 0, -1 for particles set aside: `class` from 1, 0 for those; `posterior` (p,) of that map:
        `score` is minus it, smaller is better; `rotation` (p, 3, 3) from map to image and `shift_xy` (p, 2) pixels from
        the box centre to the particle: `xform.projection`, in pixels of each image; `half` (p,) half-set from 0.
        """
        matrix = np.zeros((len(self.table), 3, 4), np.float32)
        matrix[:, :, :3] = rotation
        own = from_common(shift_xy, self.table, self.grid) / pixels_of_rows(self.table, self.grid)[:, None]
        matrix[:, :2, 3] = own
        columns: dict[str, Sequence[Any]] = {
            "class": (np.asarray(model) + 1).tolist(),
            "score": [-round(value, 6) for value in np.asarray(posterior, float).tolist()],
            "xform.projection": list(matrix),
        }
        if half is not None:
            columns[SUBSET] = (np.asarray(half) + 1).tolist()
        return self._rows([dict(zip(columns, values)) for values in zip(*columns.values())])

    def _rows(self, results: Sequence[dict[str, Any]]) -> EmanRows:
        names, headers = _names_from_here(self.table), self.headers or ({},) * len(self.table)
        rows = zip(self.table.image.tolist(), self.table.file.tolist(), headers, results)
        return EmanRows([format_line(Entry(i, names[file], {**own, **result})) for i, file, own, result in rows])


@dataclass(frozen=True)
class EmanRows:
    """All rows as they are to be written, formatted once."""

    lines: list[bytes]

    def write(self, path: str | os.PathLike[str], rows: np.ndarray | None = None) -> None:
        """Write the rows, or some of them in the order given."""
        write_lines(path, self.lines if rows is None else [self.lines[row] for row in rows])


def _names_from_here(table: ParticleTable) -> list[str]:
    """The stacks as EMAN2 wants them in lists: relative to the current folder where they lie in it, and with the suffix
    of stacks, since a .mrc is a map to EMAN2.
    """
    here, files = Path.cwd(), [Path(file) for file in table.files]
    maps = [file for file in files if file.suffix.lower() == ".mrc"]
    if maps:
        log.warning(
            "warning: EMAN2 takes %s for a map: lists name it %s: for EMAN2 make a link, ln -s %s %s%s",
            maps[0],
            maps[0].with_suffix(".mrcs").name,
            maps[0],
            maps[0].with_suffix(".mrcs"),
            f", and so for {len(maps) - 1} more" if len(maps) > 1 else "",
        )
    files = [file.with_suffix(".mrcs") if file in maps else file for file in files]
    return [os.path.relpath(file, here) if file.is_relative_to(here) else str(file) for file in files]


def read_eman_particles(
    path: Path, images: ImageFile, apix: float | None, *, ctf: bool, poses: bool, ctf_required: bool
) -> EmanParticles:
    """On rank 0. Check an opened list (.lst) or stack (.hdf, .mrcs); `apix` (Å) overrides what the headers say.

    Images whose headers hold a CTF are taken to have flipped phases, as EMAN2's refinements need them, unless a header
    says that they are not; that none has a CTF is an error unless `ctf_required` is False. `poses=True` reads
    `xform.projection`, which must be there. Raises InputError with every problem found.
    """
    if len(images.shape) != 2:
        size = "x".join(map(str, images.shape[::-1]))
        raise InputError(f"{path}: holds {size} voxels: a map, but --input names particles")
    problems = Problems(PROBLEMS_SHOWN)
    particles = ParticleImages(path, images)
    lenses, lens, source = read_grids(particles, apix, problems)
    problems.raise_if_any()  # before the headers of all images are read
    ctfs = read_ctfs(particles, problems, required=ctf_required) if ctf else []
    rotation, shift = read_transforms(particles, problems, required=poses)
    names, micrograph = read_micrographs(particles, problems)
    params = _to_params(particles, ctfs, problems)
    problems.raise_if_any()
    particles.warn()
    several = len(lenses) > 1
    group, group_names, optics_of_group = noise_groups(names, micrograph, lens, [own.name for own in lenses])
    stacks = tuple(str(file.resolve()) for file in particles.files)
    headers = tuple(entry[2] for entry in particles.entries)
    table = ParticleTable(
        stacks,
        particles.file,
        particles.image,
        np.arange(len(headers)),
        group,
        group_names,
        halves(image_keys(stacks, particles.file, particles.image)),
        params,
        rotation,
        shift,
        optics_of_group,
        *_unique_ctfs(ctfs),
        subset=_read_half_sets([header.get(SUBSET) for header in headers]),
        lenses=lenses,
        lens=lens if several else None,
    )
    return EmanParticles(path, *_on_common_grid(table), headers, source)


def _on_common_grid(table: ParticleTable) -> tuple[ParticleTable, Grid]:
    """The table with shifts (p, 2), in pixels of each image, on the common grid of its lenses; and that grid."""
    grid = common_grid(table.lenses)
    if table.shift is None or len(table.lenses) == 1:
        return table, grid
    return replace(table, shift=to_common(table.shift * pixels_of_rows(table, grid)[:, None], table, grid)), grid


def _to_params(particles: ParticleImages, ctfs: list[EmanCTF], problems: Problems) -> CTFParams | None:
    """The CTFs as columns, None without any; a problem for values out of range."""
    if not ctfs:
        return None
    with np.errstate(over="ignore"):
        params = to_params(ctfs, flipped=True)
    if len(ctfs) == len(particles.entries):  # else there are problems
        params = replace(params, flipped=read_flipped(particles))
    check_ranges(particles.path, vars(params), dict.fromkeys(RANGES, "header ctf"), problems)
    return params


def _read_half_sets(values: Sequence[Any]) -> np.ndarray | None:
    """(p,) int8 half-set as the list has it, from 0; -1 where it is neither 1 nor 2. None where no row has any."""
    known = [SUBSETS.get(value, -1) if isinstance(value, int) else -1 for value in values]
    return np.array(known, np.int8) if any(half >= 0 for half in known) else None


def _unique_ctfs(ctfs: list[EmanCTF]) -> tuple[tuple[EmanCTF, ...] | None, np.ndarray | None]:
    """The different CTFs, and (p,) int32 which of them each image has: those of a micrograph are alike. None where they
    say no more than the parameters do.
    """
    if not any(ctf.background or ctf.snr for ctf in ctfs):
        return None, None
    place = {ctf: number for number, ctf in enumerate(dict.fromkeys(ctfs))}
    return tuple(place), np.array([place[ctf] for ctf in ctfs], np.int32)
