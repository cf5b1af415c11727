"""Direct Fourier inversion: sums of images in the transform of a map, as EMAN2's fourier reconstructors form them.

A coefficient (u, v) of an image lies at R^T (u, v, 0) in the map's transform, and for each symmetry operation S at S^T
R^T (u, v, 0); copies along a helix get the phases of their shifts, and the share of them that the box holds. Its value
times a weight, and the weight, are shared out to the neighbours of that place; the map's transform is the sum of the
values over that of the weights.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from mpirefine.data.partition import Rows
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.reconstructors.kernels import KERNELS, neighbour_shares
from mpirefine.maths.eman2.reconstructors.spectra import accumulate, merge_mates, pick_rows, plane, spectra_of
from mpirefine.maths.geometry.symmetry import copies_in_box
from mpirefine.registry import nearest

SHARES = 1 << 19  # neighbours that get a share at once
IMAGES = 64  # transformed at once

SnrWeights = Literal["none", "ring", "wiener"]


class Slices(NamedTuple):
    """Half-spectra (n, y, x // 2 + 1) of images to be inserted, with what belongs to each."""

    spectra: np.ndarray
    rotations: np.ndarray  # (n, 3, 3)
    weights: np.ndarray  # (n,)
    snr: np.ndarray | None  # (n, k) from radius 0 to Nyquist
    filtered: np.ndarray | None  # (n,) bool, Wiener-filtered by that SNR

    def take(self, rows: Rows) -> Slices:
        """The given images."""
        snr, filtered = pick_rows(self.snr, rows), pick_rows(self.filtered, rows)
        return Slices(self.spectra[rows], self.rotations[rows], self.weights[rows], snr, filtered)


class Reconstructor:
    """The sums of a map, and the map.

    `numerator` (complex128) and `weight` (float64) are sums over images in a half-spectrum (z, y, x // 2 + 1) with the
    origin at the corner; those of several objects can be added. On the planes x = 0 and x = box / 2 they lack what
    their Friedel mates got, until `finish` adds it.
    """

    def __init__(self, box: int, symmetry: str, mode: str, *, corners: bool, power: float, snr: SnrWeights):
        """`power` is that of the weight in the division, `corners` whether coefficients beyond Nyquist are inserted.

        `snr`: coefficients are weighted by the images' weights (none), by the SNR of their ring (ring), or by the SNR
        for a Wiener filter (wiener). Raises ParameterError for an unknown mode.
        """
        if mode not in KERNELS:
            raise ParameterError(f"unknown reconstruction mode '{mode}': {nearest(mode, list(KERNELS))}")
        self.box, self.kernel, self.corners, self.power, self.snr = box, KERNELS[mode], corners, power, snr
        self.copies = copies_in_box(symmetry, box)
        self.numerator = np.zeros((box, box, box // 2 + 1), np.complex128)
        self.weight = np.zeros(self.numerator.shape)

    @property
    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """The arrays themselves, to be summed over ranks in place."""
        return self.numerator, self.weight

    def insert(
        self,
        images: np.ndarray,
        rotations: np.ndarray,
        weights: np.ndarray,
        shifts: np.ndarray | None = None,
        mirror: np.ndarray | None = None,
        snr: np.ndarray | None = None,
        filtered: np.ndarray | None = None,
    ) -> None:
        """Add images (n, y, x), normalised and padded to the box, at rotations (n, 3, 3); weight 0 leaves one out.

        Images are moved by `shifts` (n, 2; pixels, x and y, bilinear), then mirrored where `mirror` (n,), as by EMAN2's
        preprocess_slice. `snr` (n, k) is the SNR from radius 0 to Nyquist; `filtered` (n,) whether an image is
        Wiener-filtered by it. Raises ParameterError when the SNR is needed and not given.
        """
        for start in range(0, len(images), IMAGES):
            rows = start + np.flatnonzero(weights[start : start + IMAGES])
            if not len(rows):
                continue
            spectra = spectra_of(images[rows], pick_rows(shifts, rows), pick_rows(mirror, rows))
            slices = Slices(spectra, rotations[rows], weights[rows], pick_rows(snr, rows), pick_rows(filtered, rows))
            self.add(slices, self.numerator, self.weight)

    def add(self, slices: Slices, numerator: np.ndarray, total: np.ndarray) -> list[np.ndarray]:
        """Add slices at all their symmetry copies to sums, in place. Returns flat places of all that was changed."""
        values, weights = self._weigh(slices)
        n = slices.spectra.shape[1]
        _, u, v = (of[self.inserted(n)] for of in plane(n))
        copies = len(self.copies.turns)
        step = max(1, SHARES // (len(u) * self.kernel.size**3))
        real, imaginary, weight = (*np.moveaxis(numerator.reshape(-1, 1).view(np.float64), 1, 0), total.reshape(-1))
        touched = []
        for start in range(0, len(values) * copies, step):
            image, copy = np.divmod(np.arange(start, min(start + step, len(values) * copies)), copies)
            turned = (slices.rotations[image] @ self.copies.turns[copy])[:, None] * (self.box / n)
            where = (u[:, None] * turned[:, :, 0] + v[:, None] * turned[:, :, 1]).reshape(-1, 3)
            index, mate, share, weight_share = neighbour_shares(self.kernel, self.box, where)
            held = self.copies.shares[copy, None]
            numbers = self.moved((values[image] * held).reshape(-1), np.repeat(copy, len(u)), where)
            for part, of, shares in (
                (numbers.real, real, share),
                (np.where(mate, -numbers.imag, numbers.imag), imaginary, share),
                ((weights[image] * held).reshape(-1), weight, weight_share),
            ):
                accumulate(of, index, (shares * part.reshape(-1, 1, 1, len(where))).reshape(-1))
            touched.append(index)
        return touched

    def moved(self, values: np.ndarray, copy: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Values (m,) with the phases of the shifts of their copies (m,) along z, at places (m, 3) of the transform."""
        shifts = self.copies.shifts
        return values * np.exp((2j * np.pi / self.box) * shifts[copy] * where[:, 2]) if shifts.any() else values

    def seed(self, volume: np.ndarray, weight: float) -> None:
        """Put a map (z, y, x) of this box into the sums, with the same weight at every coefficient: EMAN2's
        setup_seed.
        """
        spectrum = np.fft.rfftn(np.fft.ifftshift(volume))
        share = np.full(spectrum.shape, float(weight))
        share[:, :, [0, *([-1] if self.box % 2 == 0 else [])]] /= 2  # the mates on these planes are added at the end
        self.numerator += spectrum * share
        self.weight += share

    def finish(self) -> np.ndarray:
        """The map (z, y, x) float32, origin at voxel box // 2; its transform is 0 where nothing was inserted."""
        total = merge_mates(self.weight) ** self.power
        floor = 1.0 if self.snr == "wiener" else 0.0
        spectrum = np.where(total > 0, merge_mates(self.numerator) / np.where(total > 0, total + floor, 1), 0)
        return np.fft.fftshift(np.fft.irfftn(spectrum, (self.box,) * 3, axes=(0, 1, 2))).astype(np.float32)

    def inserted(self, n: int) -> np.ndarray:
        """Which coefficients (y, x // 2 + 1) of an image of n pixels are inserted, bool."""
        radius = plane(n)[0]
        if self.snr == "wiener":
            return radius < n / 2
        return np.full(radius.shape, True) if self.corners else np.rint(radius) <= n // 2

    def _weigh(self, slices: Slices) -> tuple[np.ndarray, np.ndarray]:
        """Values times weights, and weights, (n, m) of the inserted coefficients. Raises ParameterError without SNR."""
        n = slices.spectra.shape[1]
        used = self.inserted(n)
        values = slices.spectra[:, used].astype(np.complex128)
        if self.snr == "none":
            weights = np.broadcast_to(np.asarray(slices.weights, np.float64)[:, None], values.shape)
            return values * weights, weights
        if slices.snr is None:
            raise ParameterError(
                "this reconstructor weights by the SNR, and the images have none: use a CTF averager (ctf.auto, "
                "ctfw.auto)"
            )
        frequency = plane(n)[0][used] / n
        weights = np.stack([self._snr_weights(np.asarray(curve, np.float64), frequency) for curve in slices.snr])
        # the filter SNR / (SNR + 1) of images that have it is undone: times SNR + 1 instead of SNR
        undone = np.zeros(len(values))
        if slices.filtered is not None and self.snr == "wiener":
            undone = np.asarray(slices.filtered, np.float64)
        return values * (weights + undone[:, None]), weights

    def _snr_weights(self, snr: np.ndarray, frequency: np.ndarray) -> np.ndarray:
        """An SNR curve (k,) at frequencies in 1/pixel: that of the nearest ring, or, for a Wiener filter, linear.

        EMAN2's Wiener reconstructor takes the curve to have k rings to Nyquist, the other one k − 1.
        """
        if self.snr == "ring":
            return snr[np.minimum(np.rint(frequency * 2 * (len(snr) - 1)).astype(int), len(snr) - 1)]
        return np.interp(frequency * 2 * len(snr), np.arange(len(snr)), snr)
