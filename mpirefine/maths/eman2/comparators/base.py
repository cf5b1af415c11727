"""What all comparators share: the registry, what is known of images beside their pixels, and batches.

A comparator is f(particle, reference, about, *, parameters) -> (n,) float64, smaller is better. Both images are (n, y,
x) float32, or one for all, (y, x) or (1, y, x); they are EMAN2's `this` and `with` of this.cmp(name, with, parameters).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import NamedTuple

import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.partition import Rows
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.ctf import ctf_image, ring_curve
from mpirefine.registry import Registry

CMPS = Registry("comparator")
PIXELS_AT_ONCE = 1 << 18  # of images that are compared together: all arrays for them fit into the cache
LEAST_SNR = 0.001  # weight of a ring whose estimated SNR is 0 or negative
UNDEFINED = 2.0  # score of comparators with values from −1 to 1 where nothing can be compared


class TransferPower:
    """CTF² at the half-spectrum, (y, x) or (n, y, x), made when it is first read: few comparators read it."""

    def __init__(self, count: int, make: Callable[[], np.ndarray]):
        self._count, self._make = count, make

    @cached_property
    def array(self) -> np.ndarray:
        """The values, float32."""
        return self._make()

    def take(self, rows: Rows) -> TransferPower:
        """That of some rows, unless it is one for all."""
        return TransferPower(2, lambda: self.array[rows]) if self._count > 1 else self

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> TransferPower:
        """The same after a change of the array."""
        return TransferPower(self._count, lambda: change(self.array))


class Along(NamedTuple):
    """How far images may be shifted along the axis of a helix, which is y of its projections."""

    pixels: np.ndarray  # (n,) for each pair of images, or (1,) for all; infinite where there is no axis
    turning: bool  # the projection is the image that is moved, its axis turns with it


@dataclass(frozen=True)
class About:
    """What comparators and aligners may need beside pixels; arrays have a row for all pairs of images, or one each."""

    apix: float = 1.0  # Å
    snr: np.ndarray | None = (
        None  # (k,) or (n, k) signal to noise ratio of rings 0 .. nx // 2 − 1, of the particle's CTF
    )
    transfer: TransferPower | None = None
    count: float | np.ndarray = 0.0  # particles in the reference, EMAN2's ptcl_repr
    along: Along | None = None

    @classmethod
    def of(cls, ctfs: list[EmanCTF], nx: int, apix: float, count: float | np.ndarray = 0.0) -> About:
        """Of particles with CTF in boxes of nx pixels; without SNR when one of them has no SNR curve."""
        snr = np.array([ring_curve(ctf, "SNR", nx) for ctf in ctfs]) if all(ctf.snr for ctf in ctfs) else None
        transfer = TransferPower(len(ctfs), lambda: np.array([ctf_image(ctf, "INTEN", nx) for ctf in ctfs], np.float32))
        return cls(apix, snr, transfer, count)

    @property
    def intensity(self) -> np.ndarray | None:
        """CTF² (y, x) or (n, y, x) at the half-spectrum; None for particles without a CTF."""
        return None if self.transfer is None else self.transfer.array

    def take(self, rows: Rows) -> About:
        """What is known of the given pairs; rows that hold for all stay."""

        def part(values: np.ndarray | None, ndim: int) -> np.ndarray | None:
            return values[rows] if values is not None and values.ndim == ndim and len(values) > 1 else values

        each = isinstance(self.count, np.ndarray) and self.count.ndim == 1 and len(self.count) > 1
        count = np.asarray(self.count)[rows] if each else self.count
        along = self.along
        if along is not None and len(along.pixels) > 1:
            along = along._replace(pixels=along.pixels[rows])
        return About(self.apix, part(self.snr, 2), self.transfer and self.transfer.take(rows), count, along)

    def ring_weights(self, name: str) -> np.ndarray:
        """SNR (1 or n, k) of each ring, at least 0.001. Raises ParameterError, for comparator `name`, when there is
        none.
        """
        if self.snr is None:
            raise ParameterError(f"{name}: snrweight needs particles with a CTF and its SNR curve in their headers")
        return np.atleast_2d(np.where(self.snr > 0, self.snr, LEAST_SNR))


def stack(images: np.ndarray) -> np.ndarray:
    """One image or several as (n, y, x)."""
    return images if images.ndim == 3 else images[None]


def pairwise(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Decorator: a comparator for any number of pairs from a function of two stacks of equal length, or of length 1.

    The function is called for as many pairs as fit into the cache. The comparator raises ParameterError when shapes or
    numbers of images differ.
    """

    @wraps(function)
    def compare(particle: np.ndarray, reference: np.ndarray, about: About, **parameters: object) -> np.ndarray:
        """Scores (n,). Raises ParameterError when shapes or numbers of images differ."""
        sides = [stack(np.asarray(side)) for side in (particle, reference)]
        count, shape = max(map(len, sides)), sides[0].shape[1:]
        if sides[1].shape[1:] != shape or {len(side) for side in sides} - {1, count}:
            raise ParameterError(f"images of shapes {sides[0].shape} and {sides[1].shape} cannot be compared")
        out, step = np.empty(count), max(1, PIXELS_AT_ONCE // (shape[0] * shape[1]))
        for start in range(0, count, step):
            part = slice(start, start + step)
            first, second = (side if len(side) == 1 else side[part] for side in sides)
            out[part] = function(first, second, about.take(part), **parameters)
        return out

    return compare


def half_spectra(images: np.ndarray) -> np.ndarray:
    """Half-spectra (n, y, x) complex64."""
    from scipy import fft

    return fft.rfft2(images.astype(np.float32, copy=False))


def masked_pixels(images: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Pixels (n, p) float64 of images, those where the mask is above 0.5; all without a mask.

    Raises ParameterError when the mask has another shape or is empty.
    """
    if mask is None:
        return images.reshape(len(images), -1).astype(np.float64)
    if mask.shape != images.shape[1:] or not (mask > 0.5).any():
        raise ParameterError(
            f"a mask of shape {mask.shape} for images of {images.shape[1:]}, or one without pixels above 0.5"
        )
    return images[:, mask > 0.5].astype(np.float64)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Dot products (n,) of rows (n, p)."""
    return np.einsum("np,np->n", a, b)


def both_nonzero(particle: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Where neither image is exactly 0."""
    return (particle != 0) & (reference != 0)
