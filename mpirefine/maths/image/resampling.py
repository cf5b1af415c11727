"""Images brought to another box and pixel size by their Fourier transform, about the box centre, pixel n // 2."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpirefine.data.grid import Grid

SMALL_PRIMES = (2, 3, 5, 7)
SAME_FIELD = 1e-7  # relative difference of the edges of two boxes below which they are one field


@dataclass(frozen=True)
class Resampler:
    """Images on a `source` grid as they are on a `target` grid, whose pixel is not smaller; grey values are kept.

    Frequencies beyond the target's Nyquist are left out. In one field this is Fourier cropping; else the transform is
    taken at the target's frequencies by two products with DFT matrices, which is exact for any pair of pixel sizes, and
    what lies beyond the source's field is 0.
    """

    source: Grid
    target: Grid

    @property
    def same_field(self) -> bool:
        """Whether both boxes have the same edge in Å."""
        return abs(self.source.length / self.target.length - 1) < SAME_FIELD

    def __call__(self, images_pyx: np.ndarray) -> np.ndarray:
        """(p, y, x) float32 on the target grid, of images on the source grid; themselves where both agree."""
        from scipy import fft

        if self.same_field and self.source.nx == self.target.nx:
            return images_pyx
        spectrum = self._cropped(images_pyx) if self.same_field else self._at_target_frequencies(images_pyx)
        return fft.irfft2(spectrum, s=(self.target.nx, self.target.nx)).astype(np.float32)

    def _cropped(self, images_pyx: np.ndarray) -> np.ndarray:
        """Half-spectra (p, h, k) of the target box, cut out of those of the source."""
        from scipy import fft

        n, half = self.target.nx, self.target.nx // 2
        whole = fft.rfft2(images_pyx)
        out = np.empty((len(images_pyx), n, half + 1), np.complex64)
        out[:, : n - half] = whole[:, : n - half, : half + 1]
        out[:, n - half :] = whole[:, -half:, : half + 1]
        return out * np.float32((n / self.source.nx) ** 2)

    def _at_target_frequencies(self, images_pyx: np.ndarray) -> np.ndarray:
        """Half-spectra (p, h, k) of the target box by the sum over the source's pixels."""
        rows, columns = self._matrices
        return rows @ (images_pyx.astype(np.float32) @ columns)

    @cached_property
    def _matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """DFT matrices (h, y) and (x, k) complex64 from pixels of the source to frequencies of the target."""
        n, place = self.target.nx, np.arange(self.source.nx) - self.source.nx // 2
        scale = self.source.apix / self.target.apix
        step = -2j * np.pi / n
        ky, kx = np.fft.fftfreq(n, 1 / n), np.arange(n // 2 + 1)

        def to_corner(k: np.ndarray) -> np.ndarray:
            """The phase that moves the origin from the box centre to pixel 0."""
            return np.exp(step * k * (n // 2))

        rows = scale * to_corner(ky)[:, None] * np.exp(step * np.outer(ky, place * scale))
        columns = scale * to_corner(kx) * np.exp(step * np.outer(place * scale, kx))
        return rows.astype(np.complex64), columns.astype(np.complex64)


def good_box(least: float) -> int:
    """The smallest even number from `least` on without prime factors above 7."""
    n = int(np.ceil(least / 2) * 2)
    while True:
        rest = n
        for prime in SMALL_PRIMES:
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 2
