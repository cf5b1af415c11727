"""All in-plane angles, mirrors and shifts of many particle-projection pairs at once, by real products and one FFT.

With a_m(k), b_m(k) the angular coefficients of particle and projection (weights included in a), the correlation with
the projection moved by φ round the circle is C(φ) = Σ_m C_m exp(imφ), C_m = Σ_k a_m b_m*, and with its mirror image
C'_m = (−1)^m Σ_k a_m b_m. Both are real functions of φ, so Z = C + iC' holds them in one complex transform, and every
Z_m is a product of a complex particle and a *real* reference matrix:  Z_m = Σ f a_m (Re b_m − Im b_m),  Z_−m = Σ f a_m*
(Re b_m + Im b_m)  with f = 1 + i for even m; for odd m the two real matrices change places and f = 1 − i.

The norm term ½ Σ α²c²|P|²/σ² of an astigmatic CTF depends on φ: it is the same correlation of c² with |P|², of which a
few even orders matter. They join the product before its transform, so that every angle and mirror gets its exact norm.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mpirefine.maths.fourier.polar import PolarGrid, angular_coefficients, angular_reach

if TYPE_CHECKING:
    import pyfftw

LEAST_RINGS, RING_STEPS = 4, 3  # bands differ by 4 or more rings, in about 3 steps: each band costs a call
NORM_ORDERS = (2, 4, 6)  # angular orders of CTF² besides its average; order 2n decays as the n-th Bessel function
BAD_STRIDE, ROW_PADDING = 128, 8  # pairs; rows are padded, since at multiples of 1 KB they share cache lines
PLANNING = threading.Lock()  # FFTW can plan in one thread at a time only
PLAN_STEP = 64  # pairs; transforms are planned for multiples of 64


@dataclass(frozen=True)
class AngularOrder:
    """The order of the T rows of the matrices: T = odd · 2^n as an odd × 2^n array, so that the transform needs no
    twiddle factors.

    Good's prime-factor map (Good 1958): row (i, j) has the angular order (2^n i + odd j) mod T, and after the transform
    the angle t with t = i mod odd, t = j mod 2^n. FFTW is 1.5 to 3 times faster on these two axes than on one of length
    T.
    """

    n_angles: int

    @property
    def shape(self) -> tuple[int, int]:
        """The two axes, (odd, 2^n)."""
        power = self.n_angles & -self.n_angles
        return self.n_angles // power, power

    @cached_property
    def orders(self) -> np.ndarray:
        """Angular order (T,) of each row before the transform, −T/2 .. T/2 − 1."""
        odd, power = self.shape
        order = (power * np.arange(odd)[:, None] + odd * np.arange(power)).ravel() % self.n_angles
        return np.where(order >= self.n_angles // 2, order - self.n_angles, order)

    @cached_property
    def row_of_angle(self) -> np.ndarray:
        """Row (T,) of each angle after the transform."""
        odd, power = self.shape
        angle = np.arange(self.n_angles)
        return (angle % odd) * power + angle % power


def fill_rows(positive: np.ndarray, negative: np.ndarray, out: np.ndarray, axis: int) -> None:
    """Write orders m = 0 .. T/2 − 1 and −m (both along `axis`; m = 0 of the second is not used) to their rows of `out`,
    in place; order −T/2, which is always 0, too.
    """
    orders = AngularOrder(out.shape[axis]).orders
    rows, source = np.moveaxis(out, axis, 0), [np.moveaxis(part, axis, 0) for part in (positive, negative)]
    up, down = np.flatnonzero(orders >= 0), np.flatnonzero((orders < 0) & (orders > -(len(orders) // 2)))
    rows[up], rows[down] = source[0][orders[up]], source[1][-orders[down]]
    rows[orders == -(len(orders) // 2)] = 0


def reference_matrices(half_rkt: np.ndarray, out_rtk: np.ndarray) -> np.ndarray:
    """Prepare projections for `Correlator.correlate`.

    `half_rkt` (r, k, T/2) complex64 are half-circle samples; `out_rtk` (r, T, k) float32 is filled in place, outermost
    ring first, T as in `AngularOrder` and possibly fewer angles than sampled. Returns the mean power (r, k) float32 on
    each ring, innermost ring first.
    """
    b = angular_coefficients(half_rkt, axis=2)
    orders = out_rtk.shape[1] // 2
    b = np.moveaxis(b[:, ::-1, :orders], 1, 2)  # (r, m, k), m = 0 .. T/2 - 1
    difference, total = b.real - b.imag, b.real + b.imag
    odd = (np.arange(orders) % 2 == 1)[:, None]
    fill_rows(np.where(odd, total, difference), np.where(odd, difference, total), out_rtk, 1)
    power = np.abs(half_rkt) ** 2
    return power.mean(axis=2)


def with_more_angles(matrices_rtk: np.ndarray, n_angles: int) -> np.ndarray:
    """Reference matrices (r, T, k) for `n_angles` > T in-plane angles: the added angular orders are 0."""
    have, want = AngularOrder(matrices_rtk.shape[1]).orders, AngularOrder(n_angles).orders
    place = np.empty(n_angles, np.int64)
    place[want] = np.arange(n_angles)  # negative orders count from the end
    out = np.zeros((len(matrices_rtk), n_angles, matrices_rtk.shape[2]), np.float32)
    out[:, place[have]] = matrices_rtk
    return out


def norm_matrices(half_rkt: np.ndarray, out_rok: np.ndarray) -> None:
    """Prepare the ring powers of projections for `Correlator.correlate`: NORM_ORDERS of |P|², then the negative ones,
    are written to `out_rok` (r, 2 orders, k).
    """
    from scipy import fft

    places = [order // 2 for order in NORM_ORDERS]  # |P|² repeats after half a circle: only even orders
    q = fft.fft(np.abs(half_rkt) ** 2, axis=2)[..., places].transpose(0, 2, 1) / half_rkt.shape[2]
    out_rok[:, : len(places)], out_rok[:, len(places) :] = q.real - q.imag, q.real + q.imag


def norm_columns(orders_ko: np.ndarray) -> np.ndarray:
    """NORM_ORDERS of ½ α²c²/σ² of a particle, with the weight of each ring, (k, order), as `Correlator.correlate` takes
    them: (2 orders, k) complex64.
    """
    positive = orders_ko.T
    return np.ascontiguousarray((1 + 1j) * np.concatenate([positive, positive.conj()]), np.complex64)


def particle_matrices(samples_kt: np.ndarray, ramp_kts: np.ndarray, out_tks: np.ndarray) -> None:
    """Prepare one particle at several shifts for `Correlator.correlate`.

    `samples_kt` (k, t) complex64 are half-circle samples with all weights of the score, `ramp_kts` (k, t, s) the phases
    of the shifts; `out_tks` (T, k, s) complex64 is filled in place, outermost ring first, T as in `AngularOrder`:
    possibly fewer angles than sampled, or more.
    """
    a = angular_coefficients(samples_kt[:, :, None] * ramp_kts, axis=1)
    orders = len(out_tks) // 2
    a = a[::-1, :orders].transpose(1, 0, 2)  # (m, k, s)
    if len(a) < orders:
        a = np.concatenate([a, np.zeros((orders - len(a), *a.shape[1:]), a.dtype)])
    factor = np.where(np.arange(orders) % 2 == 1, 1 - 1j, 1 + 1j).astype(np.complex64)[:, None, None]
    fill_rows(a * factor, a.conj() * factor, out_tks, 0)


@dataclass(frozen=True)
class Band:
    """Rows `start:stop` of T whose angular orders need the same number of rings, the outermost `n_rings`."""

    start: int
    stop: int
    n_rings: int


def bands(grid: PolarGrid, radius: float) -> tuple[Band, ...]:
    """The T rows in runs of equal number of rings: content within `radius` pixels has high angular orders on outer
    rings only.
    """
    orders = np.abs(AngularOrder(grid.n_angles).orders)
    least_rings = max(LEAST_RINGS, -(-grid.n_rings // RING_STEPS))
    reach = angular_reach(grid.nx, grid.radii, radius)
    carrying = np.maximum((reach[None, :] >= orders[:, None]).sum(axis=1), 1)
    need = np.minimum(-(-carrying // least_rings) * least_rings, grid.n_rings)
    edges = [0, *(np.flatnonzero(np.diff(need)) + 1).tolist(), len(need)]
    return tuple(Band(lo, hi, int(need[lo])) for lo, hi in zip(edges[:-1], edges[1:]))


class Correlator:
    """Products and FFT of blocks of at most `max_pairs` (reference, particle at a shift) pairs, in buffers that are
    allocated once.

    `radius` is that of the content in pixels. `flop` counts the floating-point operations so far.
    """

    def __init__(self, grid: PolarGrid, radius: float, max_pairs: int):
        import pyfftw

        self.grid, self.bands = grid, bands(grid, radius)
        self.max_pairs = max_pairs
        self.order = AngularOrder(grid.n_angles)
        self._buffer = pyfftw.empty_aligned((grid.n_angles * (max_pairs + PLAN_STEP + ROW_PADDING),), np.complex64)
        self._plans: dict[int, tuple[np.ndarray, pyfftw.FFTW]] = {}
        self.flop = 0.0  # of products and transforms done so far
        orders = sum((band.stop - band.start) * band.n_rings for band in self.bands)
        self.flop_per_pair = 4 * orders + 5 * grid.n_angles * np.log2(grid.n_angles)

    @property
    def rows(self) -> np.ndarray:
        """Row (T,) of the block that has each angle."""
        return self.order.row_of_angle

    @cached_property
    def norm_rows(self) -> np.ndarray:
        """Rows of the block to which `norm_matrices` belong."""
        return np.array([np.flatnonzero(self.order.orders == m)[0] for m in (*NORM_ORDERS, *(-m for m in NORM_ORDERS))])

    def _plan(self, pairs: int) -> tuple[np.ndarray, pyfftw.FFTW]:
        """A view of the buffer (T, pairs) and the plan of its transform, which may include some more columns, so that
        few plans serve all sizes.
        """
        import pyfftw

        planned = -(-pairs // PLAN_STEP) * PLAN_STEP
        if planned not in self._plans:
            stride = planned + (ROW_PADDING if planned % BAD_STRIDE == 0 else 0)
            rows = self._buffer[: self.grid.n_angles * stride].reshape(self.grid.n_angles, stride)
            rows[:] = 0
            both = rows.reshape(*self.order.shape, stride)[..., :planned]
            axes = (0, 1) if self.order.shape[0] > 1 else (1,)
            with PLANNING:
                plan = pyfftw.FFTW(
                    both, both, axes=axes, direction="FFTW_BACKWARD", flags=("FFTW_ESTIMATE",), normalise_idft=False
                )
            self._plans[planned] = rows, plan
        rows, plan = self._plans[planned]
        return rows[:, :pairs], plan

    def correlate(
        self, particles_tks: np.ndarray, references_rtk: np.ndarray, norm: tuple[np.ndarray, np.ndarray] | None = None
    ) -> np.ndarray:
        """Correlations (T, r, s, 2) float32 of all references × all columns of particle matrices, at most `max_pairs`
        of them.

        The last axis holds the correlation with the projection turned by φ = −2πt/T (EMAN2's sign) and that with its
        mirror image; angle t is in row `rows[t]`. The result is a view that is valid until the next call. `norm`:
        `norm_columns` (o, k) of the one particle in the columns and `norm_matrices` (r, o, k), whose correlation is
        subtracted.
        """
        count, columns = len(references_rtk), particles_tks.shape[2]
        view, plan = self._plan(count * columns)
        product = view.view(np.float32).reshape(self.grid.n_angles, count, 2 * columns)
        left, right = references_rtk.transpose(1, 0, 2), particles_tks.view(np.float32)
        for band in self.bands:
            span = slice(band.start, band.stop)
            np.matmul(left[span, :, : band.n_rings], right[span, : band.n_rings], out=product[span])
        if norm is not None:
            uneven = norm[1].transpose(1, 0, 2) @ norm[0].view(np.float32).reshape(*norm[0].shape, 2)
            view.reshape(self.grid.n_angles, count, columns)[self.norm_rows] -= uneven.view(np.complex64)
        plan.execute()
        self.flop += self.flop_per_pair * count * columns
        return product.reshape(self.grid.n_angles, count, columns, 2)
