"""Catalogue of particle files, by suffix: RELION's STAR files, EMAN2's lists and stacks; each can be written in either
program's format.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.storage.images import convert_to_list, read_images_as_particles
from mpirefine.storage.relion.conversion import convert_to_relion
from mpirefine.storage.relion.particles import read_relion_particles

STAR = ".star"
LISTS = {"lst": ".lst", "star": STAR}  # name of a format -> suffix


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
    reader = read_relion_particles if Path(path).suffix.lower() == STAR else read_images_as_particles
    return reader(path, apix, ctf=ctf, poses=poses, ctf_required=ctf_required)


def in_format(source: ParticleInput, name: str | None) -> ParticleInput:
    """The same particles as a file of the format asked for ("star", "lst"; None: their own)."""
    suffix = LISTS[name] if name else source.suffix
    if suffix == source.suffix:
        return source
    return (convert_to_relion if suffix == STAR else convert_to_list)(source.path, source.table, source.grid)
