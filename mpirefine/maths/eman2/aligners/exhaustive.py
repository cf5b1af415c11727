"""The exhaustive search behind the aligners: all in-plane angles, all shifts in a square, both hands, by
cross-correlation.

Images are reduced to a small box by cutting their transforms and sampled on Fourier rings there. The reference is moved
to all points of a grid of shifts once; each image is correlated with it by `likelihood.correlation.Correlator`. The
best few poses of each image, apart from each other, are kept, interpolated between the points of the grids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from mpirefine.maths.eman2.aligners.quadratic import downhill
from mpirefine.maths.eman2.comparators.base import Along
from mpirefine.maths.eman2.poses import Alignment
from mpirefine.maths.fourier.polar import PolarGrid, PolarTransform, angular_band, good_length
from mpirefine.maths.likelihood.axial_limit import AxialLimit
from mpirefine.maths.likelihood.correlation import Correlator, particle_matrices, reference_matrices

SMALL_BOX, LARGE_BOX, LARGE_FROM = 32, 48, 96  # pixels; images from 96 pixels on are reduced to the larger box
RING_SHARE = 0.44  # of the small box; Nyquist is 0.5
RADIUS_SHARE = 0.42  # of the small box: angles are fine enough for content within this radius
IMAGES_AT_ONCE, FEW = 16, 4  # transformed together; up to 4 images are transformed one by one
APART = 3  # steps of angle between two poses with the same shift
KEPT = {False: 3, True: 2}  # poses that are kept of each image and hand, without and with mirrored ones


@lru_cache(maxsize=8)
def small_box(nx: int) -> tuple[int, PolarGrid]:
    """The even box that images of nx pixels are reduced to, and its Fourier rings."""
    small = min(nx // 2 * 2, SMALL_BOX if nx < LARGE_FROM else LARGE_BOX)
    rings = int(RING_SHARE * small)
    return small, PolarGrid(small, rings, good_length(2 * angular_band(small, rings, RADIUS_SHARE * small)))


@lru_cache(maxsize=8)
def recentring(nx: int, small: int) -> tuple[np.ndarray, np.ndarray]:
    """Phase factors of rows and columns of the small box that take pixel nx // 2 to pixel small // 2."""
    move = (nx // 2) / nx - (small // 2) / small
    rows, columns = np.rint(np.fft.fftfreq(small) * small), np.arange(small // 2 + 1)
    return np.exp(2j * np.pi * move * rows)[:, None].astype(np.complex64), np.exp(2j * np.pi * move * columns).astype(
        np.complex64
    )


def reduce_images(images_nyx: np.ndarray) -> np.ndarray:
    """Images (n, small, small) float32: without their means, cut to the frequencies of the small box."""
    from scipy import fft

    nx = images_nyx.shape[-1]
    small, _ = small_box(nx)
    spectra = fft.rfft2(images_nyx - images_nyx.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32))
    kept = np.rint(np.fft.fftfreq(small) * small).astype(int) % nx
    rows, columns = recentring(nx, small)
    return fft.irfft2(spectra[:, kept, : small // 2 + 1] * rows * columns, s=(small, small)).astype(np.float32)


class PoseSearch:
    """Searches poses within `maxshift` pixels on either axis; `mirror`: mirrored ones too."""

    def __init__(self, nx: int, maxshift: float, mirror: bool):
        self.nx, self.maxshift, self.mirror = nx, maxshift, mirror
        self.small, self.grid = small_box(nx)
        self.reach = int(np.ceil(maxshift * self.small / nx))
        self.side = 2 * self.reach + 1
        steps = np.arange(-self.reach, self.reach + 1, dtype=np.float64)
        self._shifts = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
        self._ramp = self.grid.shift_ramp(self._shifts)
        self._many, self._single = PolarTransform(self.grid, IMAGES_AT_ONCE), PolarTransform(self.grid, 1)
        self._correlator = Correlator(self.grid, self.small / 2, IMAGES_AT_ONCE * self.side**2)

    def _samples(self, images: np.ndarray) -> np.ndarray:
        """Samples (n, k, t) of images on Fourier rings."""
        return (self._many if len(images) > FEW else self._single)(reduce_images(images))

    def expand(self, reference_yx: np.ndarray) -> np.ndarray:
        """Matrices (T, k, s) complex64 of the reference moved back by each shift; it takes the particle's place in
        `Correlator`.
        """
        samples = self._samples(reference_yx[None])[0] * self.grid.quadrature[:, None].astype(np.float32)
        total = self.grid.n_rings
        out = np.empty((self.grid.n_angles, total, self.side**2), np.complex64)
        # outermost ring first, and one by one, so that a ring at all shifts stays in the cache
        for ring in range(total):
            particle_matrices(
                samples[ring : ring + 1], self._ramp[ring : ring + 1], out[:, total - 1 - ring : total - ring]
            )
        return out

    def prepare(self, images_nyx: np.ndarray) -> np.ndarray:
        """Matrices (n, T, k) float32 of images, which may be correlated with one reference after another."""
        out = np.empty((len(images_nyx), self.grid.n_angles, self.grid.n_rings), np.float32)
        for start in range(0, len(images_nyx), IMAGES_AT_ONCE):
            part = slice(start, start + IMAGES_AT_ONCE)
            reference_matrices(self._samples(np.asarray(images_nyx[part])), out[part])
        return out

    def __call__(self, images_nyx: np.ndarray, reference_yx: np.ndarray, along: Along | None = None) -> Alignment:
        """The best poses (n, m) of images on one reference."""
        matrices, images = self.expand(np.asarray(reference_yx)), self.prepare(images_nyx)
        return Alignment.concatenate([self._best(block) for block in self._blocks(matrices, images, along)])

    def highest(self, prepared: np.ndarray, reference_yx: np.ndarray, along: Along | None = None) -> np.ndarray:
        """The highest correlation (n,) over all poses on the grid, of prepared images with one reference."""
        hands = 2 if self.mirror else 1
        blocks = self._blocks(self.expand(np.asarray(reference_yx)), prepared, along)
        return np.concatenate([block[..., :hands].max(axis=(0, 2, 3)) for block in blocks])

    def _blocks(self, matrices: np.ndarray, images: np.ndarray, along: Along | None) -> Iterator[np.ndarray]:
        """Correlations (T, r, s, 2) of a few images at a time; each is overwritten by the next."""
        limit = None
        if along is not None:
            pixels = np.broadcast_to(along.pixels * (self.small / self.nx), len(images))
            limit = AxialLimit.of(pixels, self._shifts, 1.0, along.turning)
        for start in range(0, len(images), IMAGES_AT_ONCE):
            block = self._correlator.correlate(matrices, images[start : start + IMAGES_AT_ONCE])
            if limit is not None:
                limit.apply(block, start, self._correlator.rows)
            yield block

    def _best(self, block: np.ndarray) -> Alignment:
        """The best poses from correlations (T, r, s, 2): for each hand the best shift with its two best angles, and the
        best shift away from it with its best angle.
        """
        count, hands = block.shape[1], 2 if self.mirror else 1
        best = block.max(axis=0)[..., :hands].transpose(0, 2, 1).reshape(count * hands, -1).copy()
        row = np.arange(count * hands)
        first = best.argmax(axis=1)
        y, x = np.divmod(np.arange(best.shape[1]), self.side)
        near = (np.abs(y - y[first][:, None]) <= 1) & (np.abs(x - x[first][:, None]) <= 1)
        second = np.where(near, -np.inf, best).argmax(axis=1)
        image, hand = row // hands, row % hands
        profile = self._profile(block, image, first, hand)
        angle = profile.argmax(axis=1)
        away = np.abs(
            (np.arange(profile.shape[1]) - angle[:, None] + self.grid.n_angles // 2) % self.grid.n_angles
            - self.grid.n_angles // 2
        )
        other = np.where(away <= APART, -np.inf, profile).argmax(axis=1)
        third = self._profile(block, image, second, hand).argmax(axis=1)
        shift, angles = np.stack([first, first, second], 1), np.stack([angle, other, third], 1)
        poses = self._between(block, np.repeat(image, 3), angles.ravel(), shift.ravel(), np.repeat(hand, 3))
        columns = [column.reshape(count * hands, -1) for column in poses]
        order = np.argsort(-columns[-1], axis=1, kind="stable")[:, : KEPT[self.mirror]]
        alpha, tx, ty, mirror = (np.take_along_axis(c, order, axis=1).reshape(count, -1) for c in columns[:-1])
        return Alignment(alpha, tx, ty, mirror, np.ones(alpha.shape))

    def _profile(self, block: np.ndarray, image: np.ndarray, shift: np.ndarray, hand: np.ndarray) -> np.ndarray:
        """(rows, T) correlations over all angles."""
        return block[:, image, shift, hand][self._correlator.rows].T

    def _between(
        self, block: np.ndarray, image: np.ndarray, angle: np.ndarray, shift: np.ndarray, hand: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Angle in degrees, shift in pixels, hand and value at the peak of a parabola through the points around those
        of the grid.
        """
        total = self.grid.n_angles
        y, x = np.divmod(shift, self.side)

        def at(step: tuple[int, ...]) -> np.ndarray:
            inside = np.clip(y + step[2], 0, self.side - 1) * self.side + np.clip(x + step[1], 0, self.side - 1)
            return block[self._correlator.rows[(angle + step[0]) % total], image, inside, hand].astype(np.float64)

        (turn, dx, dy), value = parabola_peak(at)
        scale = self.nx / self.small
        tx, ty = (x - self.reach + dx) * scale, (y - self.reach + dy) * scale
        # the correlator mirrors y before turning, EMAN2 x after it: Mx Z(a) = Z(180 − a) My
        turned = 360 * (angle + turn) / total
        alpha, tx = np.where(hand == 1, 180 + turned, -turned), np.where(hand == 1, -tx, tx)
        return (
            alpha,
            np.clip(tx, -self.maxshift, self.maxshift),
            np.clip(ty, -self.maxshift, self.maxshift),
            hand == 1,
            value,
        )


def parabola_peak(at: Callable[[tuple[int, ...]], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The peak of the parabola through the values one step around a high one: offset (3, n) in steps, and value (n,)
    there.

    `at` gives the values (n,) at an offset in the three coordinates.
    """
    here = at((0, 0, 0))
    slope, bend = np.empty((len(here), 3)), np.empty((len(here), 3, 3))
    for i in range(3):
        step = [int(i == j) for j in range(3)]
        after, before = at(tuple(step)), at(tuple(-s for s in step))
        slope[:, i] = (after - before) / 2
        bend[:, i, i] = np.where(
            (after == here) & (before == here), -1, after - 2 * here + before
        )  # a grid of one point has no slope
        for k in range(i):
            both, crossed = [int(j in (i, k)) for j in range(3)], [int(j == i) - int(j == k) for j in range(3)]
            mixed = at(tuple(both)) + at(tuple(-s for s in both)) - at(tuple(crossed)) - at(tuple(-s for s in crossed))
            bend[:, i, k] = bend[:, k, i] = mixed / 4
    offset = downhill(-slope, -bend)
    return offset.T, here + (slope * offset).sum(axis=1) + 0.5 * np.einsum("ni,nij,nj->n", offset, bend, offset)
