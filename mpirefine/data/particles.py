"""The particles of a file: which image each one is, and what is known of it; a table without pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.keys import image_keys
from mpirefine.data.lens import Lens
from mpirefine.data.partition import Rows

SHARED = ("files", "group_names", "optics", "eman_ctf", "lenses")  # fields that are not columns: the same for any rows
CTF_PREFIX = "ctf."  # of the names of CTF columns


@dataclass(frozen=True)
class ParticleTable:
    """Rows of the particle file, in its order; any range of them can be taken as a table of its own.

    All that is drawn at random for particles follows from `key`, which follows from the image's name and index, never
    from the row or the rank; rows that repeat an image have the same key.
    """

    files: tuple[str, ...]  # stacks, absolute paths
    file: np.ndarray  # (p,) int32, place in `files`
    image: np.ndarray  # (p,) int64, index in that stack, from 0
    row: np.ndarray  # (p,) int64, row in the particle file, from 0
    # (p,) int32, noise and grey-scale group, from 0: the micrograph, or the optics group where a micrograph has too few
    group: np.ndarray
    group_names: tuple[str, ...]
    half: np.ndarray  # (p,) int8, half-set, 0 or 1
    ctf: CTFParams | None  # None: the images carry no contrast transfer
    rotation: np.ndarray | None = None  # (p, 3, 3) of the particle file, when its poses are used
    shift: np.ndarray | None = None  # (p, 2) of the particle file, pixels, when its poses are used
    optics: np.ndarray | None = None  # (g,) int32, optics group of each group, from 0; None: each group is its own
    eman_ctf: tuple[EmanCTF, ...] | None = None  # the different CTFs of EMAN2's headers, with their SNR curves
    eman_index: np.ndarray | None = None  # (p,) int32, place in `eman_ctf`
    subset: np.ndarray | None = None  # (p,) int8, half-set in the particle file, -1: neither 1 nor 2; None: no column
    own_key: np.ndarray | None = None  # (p,) uint64, once copies of images are known; None: by name
    repeat: np.ndarray | None = None  # (p,) bool, the same image is on an earlier row; None: not known
    inverted: np.ndarray | None = None  # (p,) bool, the contrast is inverted when pixels are read; None: of none
    lenses: tuple[Lens, ...] = ()  # how images were recorded
    lens: np.ndarray | None = None  # (p,) int32, place in `lenses`; None: all in the first

    def __len__(self) -> int:
        return len(self.file)

    def columns(self) -> dict[str, np.ndarray]:
        """All that is known of single rows, by name: arrays with first axis p; CTF fields are named `ctf.<field>`."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*SHARED, "ctf")}
        if self.ctf is not None:
            found |= {CTF_PREFIX + name: values for name, values in self.ctf.columns().items()}
        return {name: values for name, values in found.items() if values is not None}

    def from_columns(self, columns: Mapping[str, np.ndarray]) -> ParticleTable:
        """A table of other rows of the same file, from columns as `columns()` gives them."""
        ctf: dict[str, Any] = {
            n.removeprefix(CTF_PREFIX): values for n, values in columns.items() if n.startswith(CTF_PREFIX)
        }
        if ctf and self.ctf is not None:
            ctf["even_coefficients"] = self.ctf.even_coefficients
        own: dict[str, Any] = {n: values for n, values in columns.items() if not n.startswith(CTF_PREFIX)}
        return replace(self, **own, ctf=CTFParams(**ctf) if ctf else None)

    def take(self, rows: Rows) -> ParticleTable:
        """The given rows (slice, indices or mask)."""
        return self.from_columns({name: values[rows] for name, values in self.columns().items()})

    def lens_of(self, rows: Rows) -> np.ndarray:
        """(n,) place in `lenses` of the given rows; 0 where all are in the first."""
        return np.zeros(len(self.file[rows]), np.int32) if self.lens is None else self.lens[rows]

    @property
    def key(self) -> np.ndarray:
        """(p,) uint64, see `data/keys.py`."""
        return image_keys(self.files, self.file, self.image) if self.own_key is None else self.own_key

    @property
    def repeats(self) -> np.ndarray:
        """(p,) bool, rows whose image is on an earlier row."""
        return np.zeros(len(self), bool) if self.repeat is None else self.repeat

    @property
    def optics_of_group(self) -> np.ndarray:
        """(g,) optics group of each group."""
        return np.arange(len(self.group_names)) if self.optics is None else self.optics
