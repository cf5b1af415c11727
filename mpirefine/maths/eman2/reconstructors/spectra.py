"""Transforms of images, and sums of them in the transform of a map: half-spectra with the origin at the corner."""

from __future__ import annotations

import numpy as np

from mpirefine.data.partition import Rows
from mpirefine.maths.eman2.poses import Alignment, move_images


def spectra_of(images: np.ndarray, shifts: np.ndarray | None, mirror: np.ndarray | None) -> np.ndarray:
    """Half-spectra (n, y, x // 2 + 1) of images (n, y, x) that are shifted by pixels (n, 2), then mirrored.

    They are multiplied by EMAN2's factor, the root of (x + 2) / y.
    """
    if shifts is not None or mirror is not None:
        tx, ty = (0.0, 0.0) if shifts is None else np.asarray(shifts, np.float64).T
        images = move_images(images, Alignment.of(np.zeros(len(images)), tx, ty, False if mirror is None else mirror))
    spectra = np.fft.rfft2(np.fft.ifftshift(images, axes=(1, 2)))
    return spectra * np.sqrt(2 * spectra.shape[2] / spectra.shape[1])


def pick_rows(values: np.ndarray | None, rows: Rows) -> np.ndarray | None:
    """The given rows, or None of None."""
    return None if values is None else values[rows]


def plane(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radius, u (along x) and v of the coefficients (y, x // 2 + 1) of an image of n pixels, in Fourier pixels."""
    v, u = np.meshgrid(np.fft.fftfreq(n, 1 / n), np.arange(n // 2 + 1.0), indexing="ij")
    return np.hypot(u, v), u, v


def merge_mates(sums: np.ndarray) -> np.ndarray:
    """Sums (z, y, x // 2 + 1) with those of the Friedel mates added on the planes x = 0 and x = box / 2; a new
    array.
    """
    out = sums.copy()
    for x in (0, *([sums.shape[2] - 1] if len(sums) % 2 == 0 else [])):
        out[:, :, x] += np.roll(sums[::-1, ::-1, x], 1, axis=(0, 1)).conj()
    return out


def merge_mates_at(sums: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The values of `merge_mates` at flat places."""
    box, half = len(sums), sums.shape[2]
    flat, x = sums.reshape(-1), index % half
    values = flat[index]
    shared = np.flatnonzero((x == 0) | ((x == half - 1) & (box % 2 == 0)))
    z, y = np.divmod(index[shared] // half, box)
    values[shared] += flat[x[shared] + half * (-y % box + box * (-z % box))].conj()
    return values


def accumulate(sums: np.ndarray, index: np.ndarray, values: np.ndarray) -> None:
    """Add values to flat `sums` in place, at places that may occur more than once."""
    if 2 * len(index) > len(sums):  # most places get something: faster by whole arrays
        sums += np.bincount(index, values, len(sums))
    else:
        np.add.at(sums, index, values)
