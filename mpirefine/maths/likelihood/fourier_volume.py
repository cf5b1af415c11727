"""Insertion of central slices into a slab of a padded Fourier volume, and the way from such volumes to maps.

The volume is the half-spectrum (l, k, h) of an N³ box, N = padding × box, h ≥ 0; a slab is a range of l (kz, in FFT
order). The value of each sample, and its weight, are shared by its eight neighbours with trilinear weights; the ratio
of the sums is then a local weighted average, and the map is divided by the transform of the trilinear kernel, sinc² on
each axis.
"""

from __future__ import annotations

import numpy as np

from mpirefine.data.partition import Block

MOST_INT32 = 1 << 31  # voxels of a slab from which on their numbers need 64 bits
ADDED = 1 << 16  # samples whose neighbours are in memory together


class Slab:
    """Sums of several maps and both half-sets on the planes `block` of l: (m, voxels, 6) float32.

    The six numbers of a voxel (real, imaginary, weight of each half) are adjacent in memory: a sample changes all of
    them, at the cost of one cache miss.
    """

    def __init__(self, box: int, block: Block, models: int):
        self.box, self.block = box, block
        self.shape = (block.size, box, box // 2 + 1)
        self.sums = np.zeros((models, int(np.prod(self.shape)), 6), np.float32)
        self._index = np.int32 if self.sums.shape[1] < MOST_INT32 else np.int64

    def numerator(self, model: int, half: int) -> np.ndarray:
        """Sum of values (l, k, h) complex64."""
        part = np.ascontiguousarray(self.sums[model, :, 3 * half : 3 * half + 2])
        return part.view(np.complex64).reshape(self.shape)

    def weight(self, model: int, half: int) -> np.ndarray:
        """Sum of weights (l, k, h) float32."""
        return self.sums[model, :, 3 * half + 2].reshape(self.shape)

    def insert(self, model: int, positions: np.ndarray, values: np.ndarray, weights: np.ndarray) -> int:
        """Add samples of both halves, at the same positions, to one map in place. Returns how many of them touched the
        slab.

        `positions` (n, 3) float32 are x, y, z in pixels of the padded spectrum; `values` (2, n) complex64, `weights`
        (2, n) float32.
        """
        from scipy.sparse import csc_array

        if not self.block.size:
            return 0
        positions, source, mate = fold(positions)
        near = np.flatnonzero(self._touches(positions[:, 2]))
        positions, source, mate = positions[near], source[near], mate[near]
        columns = np.empty((len(near), 6), np.float32)
        for half in (0, 1):
            columns[:, 3 * half] = values[half].real[source]
            columns[:, 3 * half + 1] = np.where(mate, -values[half].imag[source], values[half].imag[source])
            columns[:, 3 * half + 2] = weights[half][source]
        voxel, kernel = self._neighbours(positions)
        pointer = np.arange(0, voxel.size + 1, 8, dtype=np.int32)
        spread = csc_array((kernel.reshape(-1), voxel.reshape(-1), pointer), shape=(self.sums.shape[1], len(near)))
        self.sums[model] += spread @ columns
        return len(near)

    def add(self, model: int, half: int, positions: np.ndarray, numbers: np.ndarray) -> None:
        """Add samples of one half-set to one map, in place; without memory for a second slab, unlike `insert`.

        `positions` (n, 3) float32 are as `fold` gives them, `numbers` (n, 3) float32 the real and imaginary part of the
        value, and the weight.
        """
        sums = self.sums[model].reshape(-1)
        for start in range(0, len(positions), ADDED):
            part = slice(start, start + ADDED)
            voxel, kernel = self._neighbours(positions[part])
            first = (voxel * np.int64(6) + 3 * half).reshape(-1)
            for number in range(3):
                np.add.at(sums, first + number, (kernel * numbers[part, number, None]).reshape(-1))

    def _touches(self, z: np.ndarray) -> np.ndarray:
        """Which samples, by their z, have a neighbour in the slab."""
        lower = np.floor(z).astype(np.int32)
        lower[lower < 0] += self.box
        upper = np.where(lower + 1 == self.box, 0, lower + 1)
        return ((lower >= self.block.start) & (lower < self.block.stop)) | (
            (upper >= self.block.start) & (upper < self.block.stop)
        )

    def _neighbours(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Flat index and trilinear weight (n, 8) of the eight voxels around each sample; weight 0 for those outside the
        slab.
        """
        x, y, z = (self._axis(positions[:, axis], axis) for axis in range(3))
        voxel = np.empty((len(positions), 8), self._index)
        kernel = np.empty((len(positions), 8), np.float32)
        for i, (a, b, c) in enumerate(np.ndindex(2, 2, 2)):
            voxel[:, i] = x[a][0] + y[b][0] + z[c][0]
            kernel[:, i] = x[a][1] * y[b][1] * z[c][1]
        return voxel, kernel

    def _axis(self, position: np.ndarray, axis: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For the lower and the upper neighbour on one axis: its part of the flat index, and its weight; both 0 if
        outside.
        """
        row, lower = self.box // 2 + 1, np.floor(position)
        upper = (position - lower).astype(np.float32)
        lower = lower.astype(np.int32)
        found = []
        for place, kernel in ((lower, 1 - upper), (lower + 1, upper)):
            if axis > 0:
                place = np.where(place < 0, place + self.box, place)
                place = np.where(place == self.box, 0, place)
            first, stop, stride = (
                (0, row, 1),
                (0, self.box, row),
                (self.block.start, self.block.stop, row * self.box),
            )[axis]
            inside = (place >= first) & (place < stop)
            found.append(
                (
                    np.where(inside, (place - first) * self._index(stride), 0).astype(self._index),
                    np.where(inside, kernel, 0),
                )
            )
        return found


def fold(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Move samples to x ≥ 0 by Friedel's law, and add the mates of those whose mate still has neighbours on the plane x
    = 0.

    Returns positions (m, 3), the sample each comes from (m,), and whether its value must be conjugated (m,).
    """
    flip = positions[:, 0] < 0
    folded = np.where(flip[:, None], -positions, positions)
    close = np.flatnonzero(folded[:, 0] < 1)
    source = np.concatenate([np.arange(len(positions)), close])
    return np.concatenate([folded, -folded[close]]), source, np.concatenate([flip, ~flip[close]])


def radial_index(box: int, block: Block, pad: float) -> np.ndarray:
    """Rounded radius (l, k, h) int32 of each coefficient of a slab, in shells of the unpadded box."""
    full = np.fft.fftfreq(box) * box
    z, half = full[block.as_slice], np.arange(box // 2 + 1)
    radius = np.sqrt(z[:, None, None] ** 2 + full[None, :, None] ** 2 + half[None, None] ** 2)
    return np.rint(radius / pad).astype(np.int32)


def shell_sums(weight_lkh: np.ndarray, shell_lkh: np.ndarray, shells: int) -> np.ndarray:
    """For each shell (2, shells): the sum of weights, and the number of sampled coefficients, in a slab."""
    shell = np.minimum(shell_lkh, shells).ravel()
    sampled = (weight_lkh > 0).ravel()
    return np.stack([np.bincount(shell, weight_lkh.ravel(), shells + 1), np.bincount(shell, sampled, shells + 1)])[
        :, :shells
    ]


def divide(numerator: np.ndarray, weight: np.ndarray, shell_lkh: np.ndarray, floor_k: np.ndarray) -> np.ndarray:
    """Wiener division numerator / (weight + floor of the shell), complex64; 0 beyond the shells of `floor_k` and where
    the floor is infinite.
    """
    floor = np.concatenate([floor_k, [np.inf]]).astype(np.float32)[np.minimum(shell_lkh, len(floor_k))]
    total = weight + floor
    return np.where(
        np.isfinite(total) & (total > 0), numerator / np.maximum(total, np.finfo(np.float32).tiny), 0
    ).astype(np.complex64)


def crop_axis(values: np.ndarray, axis: int, length: int) -> np.ndarray:
    """The central `length` samples of a real-space axis in FFT order (origin first), with the origin at length // 2."""
    index = np.arange(-(length // 2), length - length // 2) % values.shape[axis]
    return np.take(values, index, axis=axis)


def kernel_correction(nx: int, box: int) -> np.ndarray:
    """The transform (nx,) of the trilinear kernel along one axis, sinc², at positions around nx // 2 of a
    padded box.
    """
    return np.sinc((np.arange(nx) - nx // 2) / box) ** 2
