"""A rank's own particles: pixels kept in memory, or read again by chunk with --lowmem."""
from __future__ import annotations

from typing import Protocol

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.maths.likelihood import ring_means

MOST_POWER = 1e30          # of an image: squares of what is larger leave single precision
REASONS = ("", "pixels are not finite", "all pixels are the same",      # why a particle is set aside, by code
           "no map explains it: its likelihood is far below that of its group")
OUTLIER = 3


class Stack(Protocol):
    def read(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32 images of rows of the stack's own table."""
        ...


class OwnParticles:
    """Table, pixels and usability of the rows of one rank.

    `box` is the edge of the images. `reason` (p,) int8 says why an image cannot be used, as in REASONS; 0 for the rest. `power` (p, k) float32 is
    each image's mean power per Fourier pixel on rings 0 .. nx // 2.
    """

    def __init__(self, table: ParticleTable, stack: Stack, box: int, *, keep_pixels: bool, chunk: int = 256):
        from scipy import fft
        self.table, self._stack = table, stack
        self.reason = np.zeros(len(table), np.int8)
        self.power = np.empty((len(table), box // 2 + 1), np.float32)
        self._pixels: np.ndarray | None = None
        for start in range(0, len(table), chunk):
            rows = np.arange(start, min(start + chunk, len(table)))
            images = stack.read(rows)
            self.reason[rows] = unusable(images)
            images[self.set_aside[rows]] = 0
            power = ring_means(np.abs(fft.rfft2(images).astype(np.complex128)) ** 2, Grid(box, 1.0))
            huge = power.max(axis=1) > MOST_POWER
            self.reason[rows[huge]], images[huge], power[huge] = 1, 0, 0
            self.power[rows] = power
            if keep_pixels:
                if self._pixels is None:
                    self._pixels = np.empty((len(table), *images.shape[1:]), np.float32)
                self._pixels[rows] = images

    def __len__(self) -> int:
        return len(self.table)

    @property
    def set_aside(self) -> np.ndarray:
        """(p,) bool, the particles that take no part."""
        return self.reason > 0

    def images(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32 pixels of own rows; zeros for those set aside."""
        if self._pixels is not None:
            return self._pixels[rows]
        images = self._stack.read(rows)
        images[self.set_aside[rows]] = 0
        return images


def unusable(images_pyx: np.ndarray) -> np.ndarray:
    """(p,) int8 code of REASONS of each image."""
    finite = np.isfinite(images_pyx).all(axis=(1, 2))
    flat = (images_pyx == images_pyx[:, :1, :1]).all(axis=(1, 2))
    return np.where(finite, np.where(flat, 2, 0), 1).astype(np.int8)
