"""A rank's own particles: pixels kept in memory, or read again by chunk with --lowmem."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.data.poses import HardPoses
from mpirefine.maths.fourier.ring_averages import ring_means
from mpirefine.maths.image.background import Background, backgrounds

CHUNK_PIXELS = 1 << 20  # pixels of the images that are read or transformed together
MOST_POWER = 1e30  # of an image: the squares of larger values overflow single precision
REASONS = (  # why a particle is set aside, by code
    "",
    "pixels are not finite",
    "all pixels are the same",
    "no map explains it: its likelihood is far below that of its group",
)
OUTLIER = 3


class Stack(Protocol):
    """Where pixels are read from."""

    def read(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32 images of rows of the stack's own table."""
        ...


class OwnParticles:
    """Table and pixels of the particles of one rank, and which of them can be used.

    `box` is the edge in pixels of the images that are used, `resample` brings those of the file to it; `chunk` is how
    many are read at once (0: automatic). `reason` (p,) int8 says why an image cannot be used, as index of REASONS; 0
    where it can. `power` (p, k) float32 is each image's mean power per Fourier pixel on rings 0 .. box // 2. With
    `outside` (y, x) bool, the background pixels, each image's background is brought to mean 0, no slope and standard
    deviation 1; `background` holds what it was. `fingerprint` (p,) uint64 is a hash of the pixels in the file, by which
    copies of an image are found.
    """

    def __init__(
        self,
        table: ParticleTable,
        stack: Stack,
        box: int,
        *,
        keep_pixels: bool,
        outside: np.ndarray | None = None,
        resample: Callable[[np.ndarray], np.ndarray] | None = None,
        chunk: int = 0,
    ):
        self.table, self._stack, self._outside, self._resample = table, stack, outside, resample
        self.reason = np.zeros(len(table), np.int8)
        self.power = np.empty((len(table), box // 2 + 1), np.float32)
        self.background = Background.blank(len(table))
        self.fingerprint = np.zeros(len(table), np.uint64)
        self._pixels: np.ndarray | None = np.empty((len(table), box, box), np.float32) if keep_pixels else None
        chunk = chunk or max(1, CHUNK_PIXELS // box**2)
        for start in range(0, len(table), chunk):
            rows = np.arange(start, min(start + chunk, len(table)))
            images = self._inspected(rows, stack.read(rows), box)
            if self._pixels is not None:
                self._pixels[rows] = images

    def _inspected(self, rows: np.ndarray, images: np.ndarray, box: int) -> np.ndarray:
        """Measure images, whose attributes are set at `rows`, and return them as they are used; changed in place."""
        from scipy import fft

        self.fingerprint[rows] = fingerprints(images)
        self.reason[rows] = unusable(images)
        images[self.set_aside[rows]] = 0
        images = self._at_working_size(images)
        if self._outside is not None:
            self.background.put(rows, backgrounds(images, self._outside))
        images = self._as_used(rows, images)
        power = ring_means(np.abs(fft.rfft2(images).astype(np.complex128)) ** 2, Grid(box, 1.0))
        huge = power.max(axis=1) > MOST_POWER
        self.reason[rows[huge]], images[huge], power[huge] = 1, 0, 0
        self.power[rows] = power
        return images

    def __len__(self) -> int:
        return len(self.table)

    @property
    def given_poses(self) -> HardPoses:
        """Rotations (p, 3, 3) and shifts (p, 2) in pixels of the images in use; the maps are unknown (-1)."""
        rotation, shift = self.table.rotation, self.table.shift
        assert rotation is not None and shift is not None, "poses were not read"
        return HardPoses(np.full(len(self.table), -1), rotation, shift)

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
        return self._as_used(rows, self._at_working_size(images))

    def _at_working_size(self, images: np.ndarray) -> np.ndarray:
        """Images (n, y, x) of the file on the grid that is used."""
        return images if self._resample is None else self._resample(images)

    def ctf(self, rows: np.ndarray) -> CTFParams | None:
        """CTF parameters of own rows; None where the images carry no contrast transfer."""
        return None if self.table.ctf is None else self.table.ctf.take(rows)

    def _as_used(self, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        """The images, which may change in place, with background removed and, with --invert, the contrast turned."""
        if self._outside is not None:
            images = self.background.take(rows).removed(images)
        if self.table.inverted is not None:
            images[self.table.inverted[rows]] *= -1
        return images


def fingerprints(images_pyx: np.ndarray) -> np.ndarray:
    """(p,) uint64 hash of the pixels of each image."""
    digests = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images_pyx)
    return np.array([int.from_bytes(digest, "little") for digest in digests], np.uint64)


def unusable(images_pyx: np.ndarray) -> np.ndarray:
    """(p,) int8 why an image cannot be used, as index of REASONS; 0 where it can."""
    finite = np.isfinite(images_pyx).all(axis=(1, 2))
    flat = (images_pyx == images_pyx[:, :1, :1]).all(axis=(1, 2))
    return np.where(finite, np.where(flat, 2, 0), 1).astype(np.int8)
