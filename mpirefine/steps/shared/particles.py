"""A rank's own particles: their table, and their pixels on the grid that is used."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.data.particles import ParticleTable
from mpirefine.data.poses import HardPoses
from mpirefine.maths.fourier.ring_averages import ring_means
from mpirefine.maths.image.background import Background, backgrounds, fill_padding
from mpirefine.maths.image.resampling import Resampler

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
    """Where pixels are read from; within `with`, files may stay open between calls."""

    def __enter__(self) -> Stack: ...

    def __exit__(self, *failure: object) -> None: ...

    def read(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32 images of rows of the stack's own table, all of one box."""
        ...


class MemoryStack:
    """A stack that is in memory: `images` (p, y, x)."""

    def __init__(self, images: np.ndarray):
        self._images = images

    def __enter__(self) -> MemoryStack:
        return self

    def __exit__(self, *failure: object) -> None:
        """Nothing was opened."""

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Copies (n, y, x) of some images."""
        return self._images[rows].copy()


class OwnParticles:
    """Table and pixels of the particles of one rank, and which of them can be used.

    Images are used on `grid`, whatever box and pixel size their lens gave them; a table without lenses holds images on
    `grid` itself. `pixels` (p, y, x) float32 is where they are kept, in memory or in a file; None: they are read again
    when they are asked for. `chunk` is how many are read at once (0: automatic). `reason` (p,) int8 says why an image
    cannot be used, as index of REASONS; 0 where it can. `power` (p, k) float32 is each image's mean power per Fourier
    pixel on rings 0 .. nx // 2. With `outside` (y, x) bool, the background pixels, each image's background is brought
    to mean 0, no slope and standard deviation 1; `background` holds what it was. `fingerprint` (p,) uint64 is a hash of
    the pixels in the file, by which copies of an image are found.
    """

    def __init__(
        self,
        table: ParticleTable,
        stack: Stack,
        grid: Grid,
        *,
        pixels: np.ndarray | None,
        outside: np.ndarray | None = None,
        chunk: int = 0,
    ):
        self.table, self._stack, self.grid, self._outside, self._pixels = table, stack, grid, outside, pixels
        self._chunk = chunk
        self.reason = np.zeros(len(table), np.int8)
        self.power = np.empty((len(table), grid.nx // 2 + 1), np.float32)
        self.background = Background.blank(len(table))
        self.fingerprint = np.zeros(len(table), np.uint64)
        self.lenses = table.lenses or (Lens("all", grid),)
        self._resamplers = [Resampler(lens, grid) for lens in self.lenses]
        with stack:
            for rows in self.in_order_of_files():
                images = self._inspected(rows, stack.read(rows))
                if pixels is not None:
                    pixels[rows] = images

    def in_order_of_files(self, wanted: np.ndarray | None = None) -> list[np.ndarray]:
        """Rows of one lens each, a few at a time, in the order in which they lie in the stacks; of all, or `wanted`."""
        table, found = self.table, []
        rows = np.arange(len(table)) if wanted is None else wanted
        rows = rows[np.lexsort((table.image[rows], table.file[rows], table.lens_of(rows)))]
        bounds = np.flatnonzero(np.diff(table.lens_of(rows))) + 1
        for part in np.split(rows, bounds):
            box = max(self.grid.nx, *(lens.grid.nx for lens in self.lenses))
            step = self._chunk or max(1, CHUNK_PIXELS // box**2)
            found += [part[start : start + step] for start in range(0, len(part), step)]
        return found

    def _inspected(self, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Measure images of one lens, whose attributes are set at `rows`, and return them as they are used; changed in
        place.
        """
        from scipy import fft

        self.fingerprint[rows] = fingerprints(images)
        self.reason[rows] = unusable(images)
        images = self._on_grid(rows, self._usable(rows, images))
        if self._outside is not None:
            self.background.put(rows, backgrounds(images, self._outside))
        images = self._as_used(rows, images)
        power = ring_means(np.abs(fft.rfft2(images).astype(np.complex128)) ** 2, self.grid)
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
        images = np.empty((len(rows), self.grid.nx, self.grid.nx), np.float32)
        lens = self.table.lens_of(rows)
        for number in np.unique(lens):
            at = np.flatnonzero(lens == number)
            images[at] = self._on_grid(rows[at], self._recorded(rows[at]))
        return self._as_used(rows, images)

    def recorded(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32 images of own rows of one lens, in their own box, with the background removed as from those
        in use; zeros for those set aside.
        """
        return self._as_used(rows, self._recorded(rows), self.lens(rows).grid)

    def lens(self, rows: np.ndarray) -> Lens:
        """How own rows of one lens were recorded."""
        return self.lenses[self.table.lens_of(rows[:1])[0]]

    def passing(self) -> AbstractContextManager[object]:
        """Within it, files stay open from one of `in_order_of_files` to the next."""
        return self._stack

    def _recorded(self, rows: np.ndarray) -> np.ndarray:
        """Images (n, y, x) of rows of one lens as they are in their file; zeros for those set aside."""
        return self._usable(rows, self._stack.read(rows))

    def _usable(self, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        """The images of rows of one lens, changed in place: zeros for those set aside, no padding where they will be
        resampled.
        """
        images[self.set_aside[rows]] = 0
        number = self.table.lens_of(rows[:1])[0]
        if self._outside is not None and not self._resamplers[number].keeps:
            fill_padding(images, self._outside_recorded(self.lenses[number].grid))
        return images

    def _outside_recorded(self, grid: Grid) -> np.ndarray:
        """(y, x) bool, the background pixels of images on another grid."""
        axis = np.rint((np.arange(grid.nx) - grid.nx // 2) * grid.apix / self.grid.apix).astype(int)
        near = np.clip(axis + self.grid.nx // 2, 0, self.grid.nx - 1)
        return self._outside[np.ix_(near, near)] if self._outside is not None else np.ones((grid.nx, grid.nx), bool)

    def _on_grid(self, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Images (n, y, x) of rows of one lens, as they are in their file, on the grid that is used."""
        return self._resamplers[self.table.lens_of(rows[:1])[0]](images)

    def ctf(self, rows: np.ndarray) -> CTFParams | None:
        """CTF parameters of own rows; None where the images carry no contrast transfer."""
        return None if self.table.ctf is None else self.table.ctf.take(rows)

    def _as_used(self, rows: np.ndarray, images: np.ndarray, grid: Grid | None = None) -> np.ndarray:
        """The images, which may change in place, with background removed and, with --invert, the contrast turned.

        They are on `grid`, by default the one in use, on which the background was measured.
        """
        if self._outside is not None:
            background = self.background.take(rows)
            images = (background if grid is None else background.on(grid.apix / self.grid.apix)).removed(images)
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
