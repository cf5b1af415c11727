"""Pixels of particles: only the rows asked for, from as many stacks as they lie in."""

from __future__ import annotations

import numpy as np

from mpirefine.data.particles import ParticleTable
from mpirefine.storage.image_file import ImageFile, MrcImages
from mpirefine.storage.images import open_stack


class ParticleStack:
    """The images of a table's rows. Pixels are read at each call; headers of MRC stacks are read once."""

    def __init__(self, table: ParticleTable):
        self.table = table
        self._known: dict[int, MrcImages] = {}  # file of the table -> its stack

    def read(self, rows: np.ndarray) -> np.ndarray:
        """(p, y, x) float32 images of rows of the table, in the order given; pixels that are not finite are left as
        they are. InputError when they cannot be read.
        """
        rows = np.asarray(rows)
        files, images = self.table.file[rows], self.table.image[rows]
        out: np.ndarray | None = None
        for file in np.unique(files):
            at = np.flatnonzero(files == file)
            order = at[np.argsort(images[at], kind="stable")]
            with self._open(int(file)) as stack:
                pixels = stack.read(images[order])
            if out is None:
                out = np.empty((len(rows), *pixels.shape[1:]), np.float32)
            out[order] = pixels
        return out if out is not None else np.zeros((0, 0, 0), np.float32)

    def _open(self, file: int) -> ImageFile:
        if file in self._known:
            return self._known[file]
        stack = open_stack(self.table.files[file])
        if isinstance(stack, MrcImages):
            self._known[file] = stack
        return stack
