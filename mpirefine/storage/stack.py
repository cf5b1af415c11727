"""Pixels of particles: only the rows asked for, from as many stacks as they lie in."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from mpirefine.data.particles import ParticleTable
from mpirefine.storage.image_file import ImageFile, MrcImages
from mpirefine.storage.images import open_stack


class ParticleStack:
    """The images of a table's rows. Headers of MRC stacks are read once.

    Within `with`, the file that was read last stays open, so that a pass in the order of the files opens each of them
    once; outside of it, files are opened and closed at each call.
    """

    def __init__(self, table: ParticleTable):
        self.table = table
        self._known: dict[int, MrcImages] = {}  # file of the table -> its stack
        self._opened, self._last = ExitStack(), -1  # what is open, and which file of the table it is
        self._file: ImageFile | None = None
        self._stays_open = False

    def __enter__(self) -> ParticleStack:
        self._stays_open = True
        return self

    def __exit__(self, *failure: object) -> None:
        self._stays_open = False
        self._close()

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
            pixels = self._open(int(file)).read(images[order])
            if out is None:
                out = np.empty((len(rows), *pixels.shape[1:]), np.float32)
            out[order] = pixels
        if not self._stays_open:
            self._close()
        return out if out is not None else np.zeros((0, 0, 0), np.float32)

    def _open(self, file: int) -> ImageFile:
        """A file of the table; another one that is open is closed."""
        if file != self._last or self._file is None:
            self._close()
            stack = self._known[file] if file in self._known else open_stack(self.table.files[file])
            self._file, self._last = self._opened.enter_context(stack), file
            if isinstance(stack, MrcImages):
                self._known[file] = stack
        return self._file

    def _close(self) -> None:
        self._opened.close()
        self._file = None
