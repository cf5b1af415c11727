"""Where the particles are and what is known of each: a table without pixels."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.emanctf import EmanCTF


@dataclass(frozen=True)
class ParticleTable:
    """Rows of the particle file, in its order; any range of them can be taken as a table of its own.

    `half` is 0 or 1: the half-set of the particle, fixed by its row in the whole input, never by rank.
    """

    files: tuple[str, ...]       # stacks, absolute paths
    file: np.ndarray             # (p,) int32, which of `files`
    image: np.ndarray            # (p,) int64, index in that stack, from 0
    row: np.ndarray              # (p,) int64, row in the particle file, from 0
    group: np.ndarray            # (p,) int32, noise and grey-scale group (micrograph, or optics group where it holds too few), from 0
    group_names: tuple[str, ...]
    half: np.ndarray             # (p,) int8
    ctf: CTFParams | None        # None: the images carry no contrast transfer
    rotation: np.ndarray | None = None   # (p, 3, 3) of the particle file, when its poses are used
    shift: np.ndarray | None = None      # (p, 2) likewise, pixels
    optics: np.ndarray | None = None     # (g,) int32, optics group of each group, from 0; None: every group is one
    eman_ctf: tuple[EmanCTF, ...] | None = None      # of EMAN2's headers, with their SNR curves, each once
    eman_index: np.ndarray | None = None             # (p,) which of them

    def __len__(self) -> int:
        return len(self.file)

    def take(self, rows) -> "ParticleTable":
        """The given rows (slice, indices or mask)."""
        rotation, shift, own = (None if values is None else values[rows] for values in (self.rotation, self.shift, self.eman_index))
        return ParticleTable(self.files, self.file[rows], self.image[rows], self.row[rows], self.group[rows], self.group_names,
                             self.half[rows], None if self.ctf is None else self.ctf.take(rows), rotation, shift, self.optics,
                             self.eman_ctf, own)

    @property
    def optics_of_group(self) -> np.ndarray:
        """(g,) optics group of each group."""
        return np.arange(len(self.group_names)) if self.optics is None else self.optics
