"""The sampling of images and maps: box, pixel size, and the frequencies that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """A square or cubic box of `nx` pixels of `apix` Å; the origin is pixel nx // 2.

    >>> Grid(64, 2.0).nyquist
    4.0
    >>> Grid(64, 2.0).resolution(16)
    8.0
    """

    nx: int
    apix: float

    @property
    def length(self) -> float:
        """Edge of the box in Å."""
        return self.nx * self.apix

    @property
    def nyquist(self) -> float:
        """The finest resolution of this sampling, in Å."""
        return 2 * self.apix

    def of_map(self, size: int, apix: float) -> Grid:
        """The grid of a map of `size` voxels whose header says `apix` Å.

        0 or 1 Å counts as missing: the map is then as wide as this grid.

        >>> Grid(64, 2.0).of_map(32, 1.0)
        Grid(nx=32, apix=4.0)
        """
        return Grid(size, apix if apix > 0 and abs(apix - 1) > 1e-3 else self.length / size)

    def agrees(self, other: Grid) -> bool:
        """Whether another grid has the same box and, to 1 in 1000, pixel size."""
        return self.nx == other.nx and abs(self.apix / other.apix - 1) < 1e-3

    @property
    def half_shape(self) -> tuple[int, int]:
        """Shape (h rows, k columns) of the half-spectrum of an image."""
        return self.nx, self.nx // 2 + 1

    def resolution(self, ring: float) -> float:
        """Resolution in Å of the Fourier radius `ring` (pixels of 1/length)."""
        return self.length / ring

    def ring(self, resolution: float) -> float:
        """Fourier radius in pixels of a resolution in Å."""
        return self.length / resolution

    def frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies in 1/Å of an image half-spectrum: fy (nx, 1) and fx (1, nx//2+1)."""
        return np.fft.fftfreq(self.nx, self.apix)[:, None], np.fft.rfftfreq(self.nx, self.apix)[None, :]

    def mates(self) -> np.ndarray:
        """How many coefficients of the full transform each column of a half-spectrum stands for, (k,): 2, or 1 on x = 0
        and Nyquist.
        """
        count = np.full(self.nx // 2 + 1, 2.0)
        count[0] = 1
        if self.nx % 2 == 0:
            count[-1] = 1
        return count

    def shells(self, ndim: int) -> np.ndarray:
        """Fourier radius in pixels, rounded, of each coefficient of a half-spectrum with `ndim` axes (the last one
        halved); int32.
        """
        full, half = np.fft.fftfreq(self.nx) * self.nx, np.fft.rfftfreq(self.nx) * self.nx
        axes = np.meshgrid(*[full] * (ndim - 1), half, indexing="ij", sparse=True)
        return np.rint(np.sqrt(sum(a * a for a in axes))).astype(np.int32)
