"""Where the particles are and what is known of each: a table without pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.keys import image_keys


@dataclass(frozen=True)
class ParticleTable:
    """Rows of the particle file, in its order; any range of them can be taken as a table of its own.

    `half` is 0 or 1: the half-set of the particle. It, and all that is drawn of particles, follows from `key`, which
    follows from the image's name and index, never from row or rank; rows that repeat an image have one key.
    """

    files: tuple[str, ...]  # stacks, absolute paths
    file: np.ndarray  # (p,) int32, which of `files`
    image: np.ndarray  # (p,) int64, index in that stack, from 0
    row: np.ndarray  # (p,) int64, row in the particle file, from 0
    group: (
        np.ndarray
    )  # (p,) int32, noise and grey-scale group (micrograph, or optics group where it holds too few), from 0
    group_names: tuple[str, ...]
    half: np.ndarray  # (p,) int8
    ctf: CTFParams | None  # None: the images carry no contrast transfer
    rotation: np.ndarray | None = None  # (p, 3, 3) of the particle file, when its poses are used
    shift: np.ndarray | None = None  # (p, 2) likewise, pixels
    optics: np.ndarray | None = None  # (g,) int32, optics group of each group, from 0; None: every group is one
    eman_ctf: tuple[EmanCTF, ...] | None = None  # of EMAN2's headers, with their SNR curves, each once
    eman_index: np.ndarray | None = None  # (p,) which of them
    subset: np.ndarray | None = (
        None  # (p,) int8 half-set as the particle file has it, -1 for a value that is none; None: it has none
    )
    own_key: np.ndarray | None = None  # (p,) uint64, once copies are known; None: by name
    repeat: np.ndarray | None = None  # (p,) bool, the same image stands on an earlier row; None: not known
    inverted: np.ndarray | None = None  # (p,) bool, the contrast is to be turned when pixels are read; None: of none

    def __len__(self) -> int:
        return len(self.file)

    def take(self, rows) -> ParticleTable:
        """The given rows (slice, indices or mask)."""
        rotation, shift, own, *more = (
            None if values is None else values[rows]
            for values in (
                self.rotation,
                self.shift,
                self.eman_index,
                self.subset,
                self.own_key,
                self.repeat,
                self.inverted,
            )
        )
        return ParticleTable(
            self.files,
            self.file[rows],
            self.image[rows],
            self.row[rows],
            self.group[rows],
            self.group_names,
            self.half[rows],
            None if self.ctf is None else self.ctf.take(rows),
            rotation,
            shift,
            self.optics,
            self.eman_ctf,
            own,
            *more,
        )

    @property
    def key(self) -> np.ndarray:
        """(p,) uint64, see `data/keys.py`."""
        return image_keys(self.files, self.file, self.image) if self.own_key is None else self.own_key

    @property
    def repeats(self) -> np.ndarray:
        """(p,) bool, rows whose image stands on an earlier row."""
        return np.zeros(len(self), bool) if self.repeat is None else self.repeat

    @property
    def optics_of_group(self) -> np.ndarray:
        """(g,) optics group of each group."""
        return np.arange(len(self.group_names)) if self.optics is None else self.optics
