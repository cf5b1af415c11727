"""Polar Fourier transforms of images: samples on rings, in-plane shifts, and angular coefficients.

All in-plane rotation happens here: rotating a ring is a phase on its angular coefficients, exact for any angle. The
transform of a real image has X(k, θ + π) = X(k, θ)*, so only half of the circle is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


def angular_reach(nx: int, ring: np.ndarray, radius: float) -> np.ndarray:
    """The angular order up to which content within `radius` pixels reaches on rings: Bessel cut-off plus a margin."""
    argument = 2 * np.pi * ring * radius / nx
    return argument + 1.8 * argument ** (1 / 3) + 1


def angular_band(nx: int, ring: float, radius: float) -> int:
    """The highest angular order that content within `radius` pixels of the origin has on one ring."""
    return int(np.ceil(angular_reach(nx, np.asarray(ring, np.float64), radius)))


ODD_FACTORS = (1, 3, 5, 7)
LARGEST_POWER = 128  # a larger power of two alone is slow: 256 angles take longer than 5 x 64


def good_length(least: int) -> int:
    """The smallest number of in-plane angles, at least 32 and `least`, whose transform is fast: 2^n, or 3, 5 or 7 times
    2^n, n ≥ 4.
    """
    powers = [1 << n for n in range(4, 16)]
    return min(
        odd * power
        for odd in ODD_FACTORS
        for power in powers
        if odd * power >= max(least, 32) and (odd > 1 or power <= LARGEST_POWER)
    )


@dataclass(frozen=True)
class PolarGrid:
    """Rings `first` .. `n_rings` (radius in Fourier pixels of a box of `nx` pixels) with `n_angles` samples round the
    circle, half of which are stored.
    """

    nx: int
    n_rings: int
    n_angles: int
    first: int = 1

    @classmethod
    def for_content(
        cls, nx: int, n_rings: int, wanted_radius: float, full_radius: float, *, fast: bool, first: int = 1
    ) -> PolarGrid:
        """A grid with so many angles that content within `full_radius` pixels is not aliased onto the angular orders of
        content within `wanted_radius`.

        `fast`: a number of angles that the search of in-plane angles is fast for; otherwise the smallest one, a
        multiple of 4.
        """
        least = angular_band(nx, n_rings, wanted_radius) + angular_band(nx, n_rings, full_radius)
        if fast:
            return cls(nx, n_rings, good_length(least), first)
        from scipy.fft import next_fast_len

        return cls(nx, n_rings, 4 * next_fast_len(-(-least // 4)), first)

    @property
    def half_shape(self) -> tuple[int, int]:
        """Shape (k, t) of the stored half of the samples."""
        return self.n_rings + 1 - self.first, self.n_angles // 2

    @cached_property
    def radii(self) -> np.ndarray:
        """Radii (k,) of the rings in Fourier pixels."""
        return np.arange(self.first, self.n_rings + 1, dtype=np.float64)

    @cached_property
    def quadrature(self) -> np.ndarray:
        """Fourier pixels (k,) that each ring stands for: Σ_k quadrature · mean over the ring approximates a sum over
        the Fourier plane.
        """
        return np.where(self.radii > 0, 2 * np.pi * self.radii, np.pi / 4)

    @cached_property
    def points(self) -> np.ndarray:
        """Positions (k, t, 2), x and y in Fourier pixels, on the half circle."""
        angle = 2 * np.pi * np.arange(self.n_angles // 2) / self.n_angles
        return self.radii[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)

    def shift_ramp(self, shift_sxy: np.ndarray) -> np.ndarray:
        """Phase factors (k, t, s) complex64 that undo each shift (s, 2) in pixels: images at shift s become centred."""
        phase = (2 * np.pi / self.nx) * np.einsum("ktx,sx->kts", self.points, np.asarray(shift_sxy, np.float64))
        return np.exp(1j * phase).astype(np.complex64)


class PolarTransform:
    """Images (p, y, x) to half-circle samples (p, k, t) by one non-uniform FFT for a batch; the origin is pixel nx //
    2.

    Frequencies beyond Nyquist are never asked for, so the samples are those of the band-limited image.
    """

    def __init__(self, grid: PolarGrid, batch: int, threads: int = 1):
        import finufft

        self.grid, self.batch = grid, batch
        self._plan = finufft.Plan(
            2, (grid.nx, grid.nx), n_trans=batch, eps=1e-4, isign=-1, dtype="complex64", nthreads=threads
        )
        x, y = (grid.points * (2 * np.pi / grid.nx)).reshape(-1, 2).T.astype(np.float32)
        self._plan.setpts(np.ascontiguousarray(y), np.ascontiguousarray(x))

    def __call__(self, images_pyx: np.ndarray) -> np.ndarray:
        """Samples (p, k, t) complex64 of images (p, y, x)."""
        count, shape = len(images_pyx), self.grid.half_shape
        out = np.empty((count, *shape), np.complex64)
        for start in range(0, count, self.batch):
            part = images_pyx[start : start + self.batch]
            padded = np.zeros((self.batch, self.grid.nx, self.grid.nx), np.complex64)
            padded[: len(part)] = part
            out[start : start + self.batch] = self._plan.execute(padded).reshape(self.batch, *shape)[: len(part)]
        return out


def angular_coefficients(half: np.ndarray, axis: int) -> np.ndarray:
    """Angular Fourier coefficients m = 0 .. T/2 along `axis` from T/2 half-circle samples, so that X(θ) = Σ a_m
    exp(imθ).

    The negative orders follow from a_−m = (−1)^m a_m*.
    """
    from scipy import fft

    full = np.concatenate([half, half.conj()], axis=axis)
    orders = np.take(fft.fft(full, axis=axis, overwrite_x=True), np.arange(half.shape[axis] + 1), axis=axis)
    orders *= np.float32(1 / full.shape[axis])
    return orders


def half_circle(coefficients: np.ndarray, axis: int, n_angles: int) -> np.ndarray:
    """Half-circle samples (n_angles // 2 along `axis`) from coefficients m = 0 .. M, the inverse of
    `angular_coefficients`.
    """
    from scipy import fft

    coefficients = np.moveaxis(coefficients, axis, -1)
    orders = min(coefficients.shape[-1], n_angles // 2)
    full = np.zeros((*coefficients.shape[:-1], n_angles), np.complex64)
    full[..., :orders] = coefficients[..., :orders]
    sign = (-1.0) ** np.arange(1, orders)
    full[..., n_angles - orders + 1 :] = (sign * coefficients[..., 1:orders].conj())[..., ::-1]
    samples = fft.ifft(full, axis=-1, overwrite_x=True, norm="forward")[..., : n_angles // 2]
    return np.moveaxis(samples, -1, axis)
