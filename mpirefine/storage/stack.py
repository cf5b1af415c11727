"""Pixels of particles: only the rows asked for, from as many stacks as they lie in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpirefine.data.particles import ParticleTable
from mpirefine.storage import mrc
from mpirefine.storage.eman2.hdf import EmanHdf
from mpirefine.storage.images import HDF


class ParticleStack:
    """The images of a table's rows; headers are read once per stack, pixels at each call."""

    def __init__(self, table: ParticleTable):
        self.table = table
        self._headers: dict[int, mrc.MrcHeader] = {}

    def read(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32 images of own rows, in the order given; pixels that are not finite are left as they are."""
        rows = np.asarray(rows)
        files, images = self.table.file[rows], self.table.image[rows]
        out: np.ndarray | None = None
        for file in np.unique(files):
            at = np.flatnonzero(files == file)
            order = at[np.argsort(images[at], kind="stable")]
            pixels = self._sections(int(file), images[order])
            if out is None:
                out = np.empty((len(rows), *pixels.shape[1:]), np.float32)
            out[order] = pixels
        return out if out is not None else np.zeros((0, 0, 0), np.float32)

    def _sections(self, file: int, images: np.ndarray) -> np.ndarray:
        if Path(self.table.files[file]).suffix.lower() not in HDF:
            return mrc.read_sections(self._header(file), images)
        with EmanHdf(self.table.files[file]) as stack:
            return stack.read(images)

    def _header(self, file: int) -> mrc.MrcHeader:
        if file not in self._headers:
            self._headers[file] = mrc.read_header(self.table.files[file])
        return self._headers[file]
