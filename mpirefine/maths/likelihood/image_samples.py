"""Fourier samples of single images, at the frequencies of the particle, for insertion into a volume.

A sample has α c X / σ² and α² c² / σ² (α grey scale, c CTF, X transform of the image, σ² noise power), as class sums
have. Nothing is resampled: each lens keeps its own box, pixel size, distortion and phase error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.maths.image.aberrations import odd_phase
from mpirefine.maths.image.ctf import contrast_transfer
from mpirefine.maths.likelihood.model import ctf_filter, on_shells


@dataclass(frozen=True)
class ImageSamples:
    """The independent coefficients of images of a `lens` that a map on `grid` has room for; images are masked by `disc`
    (y, x), which covers the particle.
    """

    lens: Lens
    grid: Grid
    disc: np.ndarray

    @cached_property
    def chosen(self) -> np.ndarray:
        """Which coefficients of the half-spectrum (h, k), bool: one of each Friedel pair, within Nyquist of the image
        and of the map.
        """
        fy, fx = self.lens.grid.frequencies()
        x, y = self.true_frequencies
        ring = np.rint(np.hypot(fx, fy) * self.lens.grid.length)
        in_map = np.rint(np.hypot(x, y) * self.grid.length) < self.grid.nx // 2
        return (ring < self.lens.grid.nx // 2) & in_map & ((fx > 0) | (fy >= 0))

    @cached_property
    def true_frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies x and y (h, k) of the particle, in 1/Å: the magnification matrix times those of the image."""
        fy, fx = self.lens.grid.frequencies()
        (a, b), (c, d) = self.lens.magnification
        return a * fx + b * fy, c * fx + d * fy

    @cached_property
    def points(self) -> np.ndarray:
        """Coordinates x, y, 0 (n, 3) of the samples in Fourier pixels of the map."""
        x, y = (values[self.chosen] * self.grid.length for values in self.true_frequencies)
        return np.stack([x, y, np.zeros_like(x)], axis=1)

    @cached_property
    def area(self) -> float:
        """Area of a sample in Fourier pixels of the map."""
        return (self.grid.length / self.lens.grid.length) ** 2

    @cached_property
    def without_odd_phase(self) -> np.ndarray:
        """Factors (h, k) complex64 that remove the lens's odd aberrations."""
        return np.exp(-1j * odd_phase(self.lens, *self.true_frequencies)).astype(np.complex64)

    def of_images(
        self, images_pyx: np.ndarray, ctf: CTFParams | None, amplitude: np.ndarray, noise_pk: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values (p, n) complex64 and weights (p, n) float32 of images, with the origin at pixel 0.

        `amplitude` (p,) is the grey scale α of the map in each image, `noise_pk` σ² of each on rings 0 .. nx // 2 of
        its own box.
        """
        from scipy import fft

        x, y = self.true_frequencies
        curve = np.ones((len(images_pyx), *x.shape), np.float32) if ctf is None else contrast_transfer(ctf, x, y)
        precision = on_shells((amplitude[:, None] / noise_pk).astype(np.float32), self.lens.grid).astype(np.float32)
        spectrum = fft.rfft2(images_pyx)
        if any(self.lens.odd):
            spectrum *= self.without_odd_phase
        spectrum *= ctf_filter(curve, ctf)
        spectrum *= precision
        spectrum = fft.rfft2(fft.irfft2(spectrum, s=images_pyx.shape[1:], overwrite_x=True) * self.disc)
        weight = precision * curve
        weight *= curve
        values = spectrum[:, self.chosen].astype(np.complex64) * np.float32(self.area)
        return values, weight[:, self.chosen] * (amplitude[:, None] * self.area).astype(np.float32)

    def moved_back(self, values_n: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Values (n,) complex64 with the origin at the particle, which lies `shift` (x, y) in Å of the true frame from
        the box centre.
        """
        centre = self.lens.grid.nx // 2 * self.lens.grid.apix
        fy, fx = (values[self.chosen] for values in np.broadcast_arrays(*self.lens.grid.frequencies()))
        x, y = (values[self.chosen] for values in self.true_frequencies)
        turns = x * shift[0] + y * shift[1] + (fx + fy) * centre
        return values_n * np.exp(2j * np.pi * turns).astype(np.complex64)
