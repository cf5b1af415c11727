"""Catalogue of particle files, by suffix: RELION's STAR files, cryoSPARC's tables, EMAN2's lists and stacks; each can
be written in every program's format.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.storage.cryosparc.conversion import convert_to_cs
from mpirefine.storage.cryosparc.dataset import dataset_paths
from mpirefine.storage.cryosparc.particles import read_cs_particles
from mpirefine.storage.images import convert_to_list, read_images_as_particles
from mpirefine.storage.relion.conversion import convert_to_relion
from mpirefine.storage.relion.particles import read_relion_particles

log = logging.getLogger(__name__)
STAR, CS, LST = ".star", ".cs", ".lst"
LISTS = {"star": STAR, "cs": CS, "lst": LST}  # name of a format -> suffix


class ParticleRows(Protocol):
    """All rows of a particle file as they are to be written, formatted once for any number of sets."""

    def write(self, path: str | os.PathLike[str], rows: np.ndarray | None = None) -> None:
        """Write the rows, or some of them in the order given."""
        ...


class ParticleInput(Protocol):
    """A particle file without its pixels. `suffix` is that of the files it writes; shifts of its table are in pixels of
    `grid`, in the particles' frame.
    """

    suffix: str

    @property
    def path(self) -> Path: ...

    @property
    def table(self) -> ParticleTable: ...

    @property
    def grid(self) -> Grid:
        """The grid that images of all lenses are brought to."""
        ...

    @property
    def pixel_source(self) -> str:
        """Where the pixel size came from, in words."""
        ...

    def with_table(self, table: ParticleTable) -> ParticleInput:
        """The same file with another table of what is known of its rows."""
        ...

    def image_names(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """index@stack of some rows, as the format counts."""
        ...

    def unchanged(self) -> ParticleRows:
        """The rows as they were read, for writing."""
        ...

    def with_results(
        self,
        *,
        model: np.ndarray,
        posterior: np.ndarray,
        rotation: np.ndarray,
        shift_xy: np.ndarray,
        half: np.ndarray | None = None,
    ) -> ParticleRows:
        """The rows with results, for writing: `model` (p,) map from 0, -1 for none; `posterior` (p,) of that map;
        `rotation` (p, 3, 3) from map to image; `shift_xy` (p, 2) pixels of `grid` from the box centre to the
        particle, in its frame; `half` (p,) half-set from 0.
        """
        ...


CONVERSIONS: dict[str, Callable[[Path, ParticleTable, Grid], ParticleInput]] = {
    STAR: convert_to_relion,
    CS: convert_to_cs,
    LST: convert_to_list,
}


def read_particles(
    path: str | os.PathLike[str],
    apix: float | None = None,
    *,
    ctf: bool = True,
    poses: bool = False,
    ctf_required: bool = True,
) -> ParticleInput:
    """On rank 0. Read and check a particle file and the headers of its images; `apix` (Å) overrides what they say.

    With `ctf=False` the images are taken as free of contrast transfer; so they are with `ctf_required=False` where the
    file has no CTF, which is an error otherwise. `poses=True` reads rotations and shifts, which must be there. Raises
    InputError with every problem found.
    """
    files = files_of_input(path)
    asked = {"ctf": ctf, "poses": poses, "ctf_required": ctf_required}
    suffix = files[0].suffix.lower()
    if suffix == CS:
        return read_cs_particles(files, apix, **asked)
    return (read_relion_particles if suffix == STAR else read_images_as_particles)(path, apix, **asked)


def files_of_input(path: str | os.PathLike[str]) -> Sequence[Path]:
    """The files that an input names: one, or a table of cryoSPARC and after commas its passthrough files."""
    return dataset_paths(str(path))


def in_format(source: ParticleInput, name: str | None) -> ParticleInput:
    """The same particles as a file of the format asked for ("star", "cs", "lst"; None: their own)."""
    suffix = LISTS[name] if name else source.suffix
    if suffix == source.suffix:
        return source
    if source.suffix == CS and source.table.inverted is not None and source.table.inverted.any():
        log.warning(
            "warning: %d particles of %s have inverted contrast (blob/sign, --invert), for which %s files have no "
            "column: say --invert when they are read again",
            source.table.inverted.sum(),
            source.path,
            suffix,
        )
    return CONVERSIONS[suffix](source.path, source.table, source.grid)
