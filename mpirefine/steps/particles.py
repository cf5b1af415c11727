"""A rank's own particles: pixels kept in memory, or read again by chunk with --lowmem."""
from __future__ import annotations

from typing import Protocol

import numpy as np

from mpirefine.data.particles import ParticleTable


class Stack(Protocol):
    def read(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32 images of rows of the stack's own table."""
        ...


class OwnParticles:
    """Table, pixels and usability of the rows of one rank. `set_aside` (p,) bool marks images that cannot be used (pixels not finite)."""

    def __init__(self, table: ParticleTable, stack: Stack, *, keep_pixels: bool, chunk: int = 256):
        self.table, self._stack = table, stack
        self.set_aside = np.zeros(len(table), bool)
        self._pixels: np.ndarray | None = None
        for start in range(0, len(table), chunk):
            rows = np.arange(start, min(start + chunk, len(table)))
            images = stack.read(rows)
            self.set_aside[rows] = ~np.isfinite(images).all(axis=(1, 2))
            if keep_pixels:
                images[self.set_aside[rows]] = 0
                if self._pixels is None:
                    self._pixels = np.empty((len(table), *images.shape[1:]), np.float32)
                self._pixels[rows] = images

    def __len__(self) -> int:
        return len(self.table)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32 pixels of own rows; zeros for those set aside."""
        if self._pixels is not None:
            return self._pixels[rows]
        images = self._stack.read(rows)
        images[self.set_aside[rows]] = 0
        return images
