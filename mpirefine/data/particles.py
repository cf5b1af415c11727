"""The particles of a data set: where their images are and what is known of them, without pixels."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.keys import image_keys
from mpirefine.data.partition import Rows

SHARED = ("files", "group_names", "optics", "eman_ctf")  # fields of a table that are not per particle


@dataclass(frozen=True)
class ParticleTable:
    """Rows of the particle file, in its order; any selection of them is a table too.

    All random choices about a particle follow from its `key`, which follows from the name and index of its image, never
    from row or rank; rows that repeat an image have one key.
    """

    files: tuple[str, ...]  # stacks, absolute paths
    file: np.ndarray  # (p,) int32, index into `files`
    image: np.ndarray  # (p,) int64, index in that stack, from 0
    row: np.ndarray  # (p,) int64, row in the particle file, from 0
    group: np.ndarray  # (p,) int32, group with one noise spectrum and grey scale: micrograph, or optics group
    group_names: tuple[str, ...]
    half: np.ndarray  # (p,) int8, half-set 0 or 1
    ctf: CTFParams | None  # None: the images have no CTF
    rotation: np.ndarray | None = None  # (p, 3, 3) from the particle file, when its poses are used
    shift: np.ndarray | None = None  # (p, 2) likewise, pixels
    optics: np.ndarray | None = None  # (g,) int32, optics group of each group, from 0; None: each group is its own
    eman_ctf: tuple[EmanCTF, ...] | None = None  # the different CTFs of EMAN2's headers, with their SNR curves
    eman_index: np.ndarray | None = None  # (p,) which of them
    subset: np.ndarray | None = None  # (p,) int8, half-set in the particle file, -1 for other values; None: it has none
    own_key: np.ndarray | None = None  # (p,) uint64, set when copies of images are known; None: from the image's name
    repeat: np.ndarray | None = None  # (p,) bool, an earlier row has the same image; None: not known
    inverted: np.ndarray | None = None  # (p,) bool, the contrast is inverted when pixels are read; None: of no image

    def __len__(self) -> int:
        return len(self.file)

    def take(self, rows: Rows) -> ParticleTable:
        """The table of the given rows."""
        columns: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in SHARED}
        own = columns.pop("ctf")
        taken: dict[str, Any] = {name: None if values is None else values[rows] for name, values in columns.items()}
        return replace(self, ctf=None if own is None else own.take(rows), **taken)

    @property
    def key(self) -> np.ndarray:
        """Keys (p,) uint64 of the images, see `data/keys.py`."""
        return image_keys(self.files, self.file, self.image) if self.own_key is None else self.own_key

    @property
    def repeats(self) -> np.ndarray:
        """Rows (p,), bool, whose image stands on an earlier row."""
        return np.zeros(len(self), bool) if self.repeat is None else self.repeat

    @property
    def optics_of_group(self) -> np.ndarray:
        """Optics group (g,) of each group."""
        return np.arange(len(self.group_names)) if self.optics is None else self.optics
