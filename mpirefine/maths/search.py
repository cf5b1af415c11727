"""All in-plane angles, mirrors and shifts of many particle-projection pairs at once, by real products and one FFT.

With a_m(k), b_m(k) the angular coefficients of particle and projection (weights included in a), the correlation with the projection
moved by φ round the circle is C(φ) = Σ_m C_m exp(imφ), C_m = Σ_k a_m b_m*, and with its mirror image C'_m = (−1)^m Σ_k a_m b_m. Both are real
functions of φ, so Z = C + iC' holds them in one complex transform, and every Z_m is a product of a complex particle and a *real*
reference matrix:  Z_m = Σ f a_m (Re b_m − Im b_m),  Z_−m = Σ f a_m* (Re b_m + Im b_m)  with f = 1 + i for even m; for odd m
the two real matrices change places and f = 1 − i.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.maths.polar import PolarGrid, angular_coefficients


def reference_matrices(half_rkt: np.ndarray, out_rtk: np.ndarray) -> np.ndarray:
    """Prepare projections for `correlate`.

    `half_rkt` (r, k, T/2) complex64 half-circle samples; `out_rtk` (r, T, k) float32 is filled, rings outermost first.
    Returns the mean power on each ring, (r, k) float32 with rings innermost first.
    """
    b = angular_coefficients(half_rkt, axis=2)
    orders = out_rtk.shape[1] // 2
    b = np.moveaxis(b[:, ::-1, :orders], 1, 2)                      # (r, m, k), m = 0 .. T/2 - 1
    difference, total = b.real - b.imag, b.real + b.imag
    odd = np.arange(orders) % 2 == 1
    out_rtk[:, :orders] = np.where(odd[:, None], total, difference)
    out_rtk[:, orders] = 0                                          # the Nyquist order carries nothing by the choice of T
    out_rtk[:, orders + 1:] = np.where(odd[1:, None], difference[:, 1:], total[:, 1:])[:, ::-1]
    power = np.abs(half_rkt) ** 2
    return power.mean(axis=2)


def particle_matrices(samples_kt: np.ndarray, ramp_kts: np.ndarray, out_tks: np.ndarray) -> None:
    """Prepare one particle at several shifts for `correlate`.

    `samples_kt` (k, T/2) complex64 with all weights of the score, `ramp_kts` (k, T/2, s); fills `out_tks` (T, k, s) complex64,
    rings outermost first.
    """
    a = angular_coefficients(samples_kt[:, :, None] * ramp_kts, axis=1)
    orders = len(out_tks) // 2
    a = a[::-1, :orders].transpose(1, 0, 2)                         # (m, k, s)
    factor = np.where(np.arange(orders) % 2 == 1, 1 - 1j, 1 + 1j).astype(np.complex64)[:, None, None]
    np.multiply(a, factor, out=out_tks[:orders])
    out_tks[orders] = 0
    np.multiply(a[:0:-1].conj(), factor[:0:-1], out=out_tks[orders + 1:])


@dataclass(frozen=True)
class Band:
    """Angular orders that need the same number of rings: `start:stop` along T and the count of outermost rings."""

    start: int
    stop: int
    rings: int


def bands(grid: PolarGrid, radius: float, least_rings: int = 4) -> tuple[Band, ...]:
    """Cut the T angular orders into runs by how many rings carry them: content within `radius` pixels leaves high orders to outer rings."""
    orders = np.abs(np.fft.fftfreq(grid.n_angles, 1 / grid.n_angles))
    reach = 2 * np.pi * grid.radii * radius / grid.nx
    reach = reach + 1.8 * reach ** (1 / 3) + 1
    carrying = np.maximum((reach[None, :] >= orders[:, None]).sum(axis=1), 1)
    need = np.minimum(-(-carrying // least_rings) * least_rings, grid.n_rings)
    edges = [0, *(np.flatnonzero(np.diff(need)) + 1).tolist(), len(need)]
    return tuple(Band(lo, hi, int(need[lo])) for lo, hi in zip(edges[:-1], edges[1:]))


class Correlator:
    """Products and FFT of blocks of at most `max_pairs` (reference, particle at a shift) pairs, in buffers made once.

    `correlate` returns a view (T, r, s, 2) float32 of the block: the real part is the correlation with the projection turned by
    φ = −2πt/T (EMAN's sign), the imaginary part that with its mirror image. It is valid until the next call.
    """

    def __init__(self, grid: PolarGrid, radius: float, max_pairs: int, threads: int = 1):
        import pyfftw
        self.grid, self.bands, self.threads = grid, bands(grid, radius), threads
        self.max_pairs = max_pairs
        self._buffer = pyfftw.empty_aligned((grid.n_angles * max_pairs,), np.complex64)
        self._plans: dict[int, object] = {}

    def _plan(self, pairs: int):
        import pyfftw
        if pairs not in self._plans:
            view = self._buffer[:self.grid.n_angles * pairs].reshape(self.grid.n_angles, pairs)
            self._plans[pairs] = (view, pyfftw.FFTW(view, view, axes=(0,), direction="FFTW_BACKWARD", flags=("FFTW_ESTIMATE",),
                                                    threads=self.threads, normalise_idft=False))
        return self._plans[pairs]

    def correlate(self, particles_tks: np.ndarray, references_rtk: np.ndarray) -> np.ndarray:
        """Block of all references × all columns of the particle matrices; their product must not exceed `max_pairs`."""
        count, columns = len(references_rtk), particles_tks.shape[2]
        view, plan = self._plan(count * columns)
        product = view.view(np.float32).reshape(self.grid.n_angles, count, 2 * columns)
        left, right = references_rtk.transpose(1, 0, 2), particles_tks.view(np.float32)
        for band in self.bands:
            span = slice(band.start, band.stop)
            np.matmul(left[span, :, :band.rings], right[span, :band.rings], out=product[span])
        plan.execute()
        return product.reshape(self.grid.n_angles, count, columns, 2)
