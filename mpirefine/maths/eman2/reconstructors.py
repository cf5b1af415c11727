"""Maps from class averages by EMAN2's direct Fourier inversion: f(box, symmetry, *, parameters) gives a Reconstructor
to insert images into.

A coefficient (u, v) of an image lies at R^T (u, v, 0) in the map's transform, for each symmetry operation S at S^T R^T
(u, v, 0). Its value times a weight, and the weight, are spread to the neighbours of that place; the map's transform is
the sum of the values over that of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.poses import Alignment, move_images
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.registry import Registry, nearest

RECONSTRUCTORS = Registry("reconstructor")
TABLE = np.exp(-np.arange(1 << 12) / 50)  # EMAN2 looks its exponentials up in steps of 1/50
WIDTH_2, WIDTH_3, WIDTH_5 = 4 / np.pi**2, 6.4 / np.pi**2, 10.4 / np.pi**2
SHARES = 1 << 19  # neighbours that get a share at once
IMAGES = 64  # transformed at once
SMALLEST = 1e-9  # weights below are what taking an image out again leaves of 0
COARSEST = 3  # Fourier pixels; the low-resolution quality leaves out what is within
LOWEST_RESOLUTION = 12.0  # A; ... and what is beyond


class Agreement(NamedTuple):
    """How images agree with the map made so far, (n,) each: EMAN2's reconstruct_norm, _absqual, _absqual_lowres and
    _weight.
    """

    norm: np.ndarray  # what to multiply the image by to have the map's power
    quality: np.ndarray  # weighted correlation of coefficients
    lowres: np.ndarray  # the same from 3 Fourier pixels to 12 A
    weight: np.ndarray  # mean weight of the map's coefficients


class Kernel(NamedTuple):
    """Which neighbours of a place get a share: `many` on each axis from floor(place - before) on; `width` is that of
    exp(-d^2 / width).
    """

    many: int
    before: float
    width: (
        Callable[[np.ndarray], np.ndarray] | None
    )  # of the radius of the places; None: trilinear or the nearest alone
    evened: bool = False  # the shares divided by about what they come to, which the width changes


KERNELS = {
    "nearest_neighbor": Kernel(1, -0.5, None),
    "trilinear": Kernel(2, 0.0, None),
    "gauss_2": Kernel(2, 0.0, lambda radius: np.full_like(radius, WIDTH_2)),
    "gauss_3": Kernel(3, 0.5, lambda radius: (8 + radius) * WIDTH_3 / 32, evened=True),
    "gauss_5": Kernel(6, 2.5, lambda radius: np.full_like(radius, WIDTH_5)),
    "gauss_var": Kernel(6, 2.5, lambda radius: np.minimum(radius**2 / 4000 + 0.15, 10)),
}


@RECONSTRUCTORS.register("fourier", needs_snr="usessnr")
def fourier(
    box: int,
    symmetry: str,
    *,
    mode: str = "gauss_2",
    corners: bool = False,
    sqrtnorm: bool = False,
    usessnr: bool = False,
) -> Reconstructor:
    """Direct Fourier inversion: coefficients shared out to their neighbours, then divided by the weights. EMAN2's
    fourier.

    mode: the shares of the neighbours: nearest_neighbor; trilinear; gauss_2: 2 on each axis, exp(-d^2 pi^2 / 4);
    gauss_3: 3, of width (8 + radius) / 32 * 6.4 / pi^2, scaled to about the same sum at all radii; gauss_5: 6, exp(-d^2
    pi^2 / 10.4); gauss_var: 6, of width 0.15 + radius^2 / 4000. corners: also insert coefficients beyond Nyquist
    (round(radius) > n / 2). sqrtnorm: divide by weight^1.5 instead. usessnr: weight each ring by the image's SNR curve
    (its value at the nearest ring) instead of the image's weight.
    """
    return Reconstructor(box, symmetry, mode, corners, 1.5 if sqrtnorm else 1.0, "ring" if usessnr else "")


@RECONSTRUCTORS.register("wiener_fourier", needs_snr=True)
def wiener_fourier(box: int, symmetry: str, *, mode: str = "gauss_2", sqrtnorm: bool = False) -> Reconstructor:
    """Direct Fourier inversion with a Wiener filter: coefficients weighted by their SNR, divided by the weights + 1.
    EMAN2's wiener_fourier.

    Images need an SNR curve; of one that is Wiener-filtered already the filter SNR / (SNR + 1) is undone first. Only
    radii below Nyquist are used. mode: the shares of the neighbours, as in fourier. sqrtnorm: divide by weight^1.5 + 1
    instead.
    """
    return Reconstructor(box, symmetry, mode, False, 1.5 if sqrtnorm else 1.0, "wiener")


class Reconstructor:
    """A map in the making. `numerator` (complex128) and `weight` (float64) are sums over images, (z, y, x // 2 + 1) of
    an FFT with origin at the corner: those of several objects can be added. What falls on the planes x = 0 and x = box
    / 2 waits there for its Friedel mate until `finish`.
    """

    def __init__(self, box: int, symmetry: str, mode: str, corners: bool, power: float, snr: str):
        if mode not in KERNELS:
            raise ParameterError(f"unknown reconstruction mode '{mode}': {nearest(mode, list(KERNELS))}")
        self.box, self.kernel, self.corners, self.power, self.snr = box, KERNELS[mode], corners, power, snr
        self.operations = operations(symmetry)
        self.numerator = np.zeros((box, box, box // 2 + 1), np.complex128)
        self.weight = np.zeros(self.numerator.shape)

    @property
    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """The arrays themselves, to be added up over processes in place."""
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
        """Add images (n, y, x), normalised and padded to the box, seen at rotations (n, 3, 3); those of weight 0 are
        left out.

        They are moved by `shifts` (n, 2; pixels, x and y, bilinear), then mirrored where `mirror` (n,), as EMAN2's
        preprocess_slice does. `snr` (n, k) is the SNR from radius 0 to Nyquist; `filtered` (n,) whether an image is
        Wiener-filtered by it.
        """
        for start in range(0, len(images), IMAGES):
            rows = start + np.flatnonzero(weights[start : start + IMAGES])
            if not len(rows):
                continue
            spectra = spectra_of(
                images[rows], None if shifts is None else shifts[rows], None if mirror is None else mirror[rows]
            )
            values, shares = self._weighted(
                spectra,
                np.asarray(weights)[rows],
                None if snr is None else np.asarray(snr)[rows],
                None if filtered is None else np.asarray(filtered)[rows],
            )
            self._add(values, shares, rotations[rows], images.shape[1], self.numerator, self.weight)

    def agreement(
        self,
        images: np.ndarray,
        rotations: np.ndarray,
        weights: np.ndarray,
        apix: float,
        leave_out: bool = True,
        shifts: np.ndarray | None = None,
        mirror: np.ndarray | None = None,
        snr: np.ndarray | None = None,
        filtered: np.ndarray | None = None,
    ) -> Agreement:
        """How images agree with the map of all inserted so far, coefficient by coefficient with the nearest voxel,
        weighted by its weight.

        `leave_out`: what the image itself has given is taken out first; it must have been inserted just so. Otherwise
        these are EMAN2's numbers without subtraction (its subtraction adds the image again): it is still in the map,
        the weights of x = 0 and Nyquist lack their mates' and each row's coefficients are followed by the first of the
        next row.
        """
        spectra = spectra_of(images, shifts, mirror)
        numerator, weight = merged(self.numerator), merged(self.weight) if leave_out else self.weight
        own: list[np.ndarray] = [np.zeros_like(sums) for sums in (numerator, weight)] if leave_out else []
        found = []
        for i, spectrum in enumerate(spectra):
            values, where, radius = self._compared(spectrum, rotations[i], leave_out)
            index, mate = self._nearest(where)
            map_values, map_weights = numerator.ravel()[index], weight.ravel()[index]
            if leave_out and weights[i]:
                one = slice(i, i + 1)
                shares = self._weighted(
                    spectra[one],
                    weights[one],
                    None if snr is None else snr[one],
                    None if filtered is None else filtered[one],
                )
                touched: list[np.ndarray] = []
                self._add(*shares, rotations[one], len(spectrum), own[0], own[1], touched)
                map_values, map_weights = map_values - merged_at(own[0], index), map_weights - merged_at(own[1], index)
                for sums in own:
                    for places in touched:
                        sums.reshape(-1)[places] = 0
            map_values = np.where(mate, map_values.conj(), map_values)
            found.append(
                _compare(
                    values,
                    map_values,
                    map_weights,
                    (radius > COARSEST) & (radius < apix * len(spectrum) / LOWEST_RESOLUTION),
                )
            )
        return Agreement(*np.array(found).reshape(-1, 4).T)

    def finish(self) -> np.ndarray:
        """The map (z, y, x) float32, origin at voxel box // 2; where nothing was inserted its transform is 0."""
        total = merged(self.weight) ** self.power
        floor = 1.0 if self.snr == "wiener" else 0.0
        spectrum = np.where(total > 0, merged(self.numerator) / np.where(total > 0, total + floor, 1), 0)
        return np.fft.fftshift(np.fft.irfftn(spectrum, (self.box,) * 3, axes=(0, 1, 2))).astype(np.float32)

    def _used(self, n: int) -> np.ndarray:
        """Which coefficients (y, x // 2 + 1) of an image are inserted."""
        radius = plane(n)[0]
        if self.snr == "wiener":
            return radius < n / 2
        return np.full(radius.shape, True) if self.corners else np.rint(radius) <= n // 2

    def _weighted(
        self, spectra: np.ndarray, weights: np.ndarray, snr: np.ndarray | None, filtered: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values times weights, and weights, (n, m) of the coefficients of images that are inserted."""
        n = spectra.shape[1]
        used = self._used(n)
        values = spectra[:, used].astype(np.complex128)
        if not self.snr:
            shares = np.broadcast_to(np.asarray(weights, np.float64)[:, None], values.shape)
            return values * shares, shares
        if snr is None:
            raise ParameterError(
                "this reconstructor weights by the SNR, and the images have none: use a CTF averager (ctf.auto, "
                "ctfw.auto)"
            )
        shares = np.stack([self._snr_weights(np.asarray(curve, np.float64), plane(n)[0][used] / n) for curve in snr])
        undone = np.zeros(len(values)) if filtered is None or self.snr == "ring" else np.asarray(filtered, np.float64)
        return values * (shares + undone[:, None]), shares

    def _snr_weights(self, snr: np.ndarray, frequency: np.ndarray) -> np.ndarray:
        """The curve at frequencies in 1/pixel: at the nearest ring, or between rings; EMAN2's Wiener reconstructor
        counts k rings to Nyquist.
        """
        if self.snr == "ring":
            return snr[np.minimum(np.rint(frequency * 2 * (len(snr) - 1)).astype(int), len(snr) - 1)]
        return np.interp(frequency * 2 * len(snr), np.arange(len(snr)), snr)

    def _add(
        self,
        values: np.ndarray,
        weights: np.ndarray,
        rotations: np.ndarray,
        n: int,
        numerator: np.ndarray,
        total: np.ndarray,
        touched: list[np.ndarray] | None = None,
    ) -> None:
        """Add coefficients (i, m) of images of n pixels to sums, at all their symmetry copies; `touched` gets the flat
        places that got something.
        """
        _, u, v = (of[self._used(n)] for of in plane(n))
        copies = len(self.operations)
        step = max(1, SHARES // (len(u) * self.kernel.many**3))
        real, imaginary, weight = (*np.moveaxis(numerator.reshape(-1, 1).view(np.float64), 1, 0), total.reshape(-1))
        for start in range(0, len(values) * copies, step):
            image, copy = np.divmod(np.arange(start, min(start + step, len(values) * copies)), copies)
            turned = (rotations[image] @ self.operations[copy])[:, None] * (self.box / n)
            where = (u[:, None] * turned[:, :, 0] + v[:, None] * turned[:, :, 1]).reshape(-1, 3)
            index, mate, share = self._shares(where)
            numbers = values[image].reshape(-1)
            for part, of in (
                (numbers.real, real),
                (np.where(mate, -numbers.imag, numbers.imag), imaginary),
                (weights[image].reshape(-1), weight),
            ):
                accumulate(of, index, (share * part.reshape(-1, 1, 1, len(where))).reshape(-1))
            if touched is not None:
                touched.append(index)

    def _shares(self, where: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The neighbours of places (m, 3) x, y, z: flat indices (all,), whether it is the Friedel mate that is stored
        (x neighbours, m), and shares.

        The shares, and so the indices, go by (x neighbours, y neighbours, z neighbours, m).
        """
        many, before, width, evened = self.kernel
        first = np.floor(where.T - before)
        place = (first[:, None] + np.arange(many)[:, None]).astype(np.int64)
        away = place - where.T[:, None]
        share = _outer((np.abs(place) <= self.box // 2).astype(np.float64), np.multiply)
        if width is not None:
            radius = np.linalg.norm(where, axis=1)
            share *= exponential(_outer(away**2, np.add) / width(radius))
            if evened:
                share /= np.array([1, 6, 12, 8]) @ exponential(np.arange(4)[:, None] / width(radius))
        elif many > 1:
            share *= _outer(1 - np.abs(away), np.multiply)
        mate = place[0] < 0
        y, z = (np.where(mate[:, None], -at, at) % self.box for at in place[1:])
        x = np.minimum(np.abs(place[0]), self.box // 2)
        index = x[:, None, None] + (self.box // 2 + 1) * (y[:, :, None] + self.box * z[:, None])
        return index.reshape(-1), mate, share

    def _compared(
        self, spectrum: np.ndarray, rotation: np.ndarray, honest: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is compared with the map: coefficients of an image at all symmetry copies (m,), their places (m, 3),
        their radii (m,).
        """
        n = len(spectrum)
        radius, u, v = plane(n)
        used = self._used(n) & (radius > 0)
        if not honest:
            spectrum = np.concatenate([spectrum, np.append(spectrum[1:, 0], 0)[:, None]], axis=1)
            u, v = np.concatenate([u, np.full((n, 1), n // 2 + 1.0)], axis=1), np.concatenate([v, v[:, :1]], axis=1)
            radius = np.hypot(u, v)
            used = radius > 0
        turned = (rotation @ self.operations)[:, None]
        where = u[used][:, None] * turned[:, :, 0] + v[used][:, None] * turned[:, :, 1]
        inside = (np.abs(where[..., 0]) <= n / 2) & (np.abs(where[..., 1:]) < n / 2).all(axis=-1)
        copies = len(self.operations)
        return (
            np.tile(spectrum[used], (copies, 1))[inside],
            where[inside] * (self.box / n),
            np.tile(radius[used], (copies, 1))[inside],
        )

    def _nearest(self, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Flat index of the voxel nearest to places (m, 3), and whether it holds the Friedel mate (m,)."""
        half = self.box // 2
        place = np.clip(np.floor(where + 0.5).astype(np.int64), -half, half)
        mate = place[:, 0] < 0
        x, y, z = np.where(mate[:, None], -place, place).T
        return x + (half + 1) * (y % self.box + self.box * (z % self.box)), mate


def spectra_of(images: np.ndarray, shifts: np.ndarray | None, mirror: np.ndarray | None) -> np.ndarray:
    """Transforms (n, y, x // 2 + 1) with origin at the corner of images moved and mirrored, times EMAN2's factor, the
    root of (x + 2) / y.
    """
    if shifts is not None or mirror is not None:
        tx, ty = (0.0, 0.0) if shifts is None else np.asarray(shifts, np.float64).T
        images = move_images(images, Alignment.of(np.zeros(len(images)), tx, ty, False if mirror is None else mirror))
    spectra = np.fft.rfft2(np.fft.ifftshift(images, axes=(1, 2)))
    return spectra * np.sqrt(2 * spectra.shape[2] / spectra.shape[1])


def plane(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radius, u (along x) and v of the coefficients (y, x // 2 + 1) of an image's transform, in Fourier pixels."""
    v, u = np.meshgrid(np.fft.fftfreq(n, 1 / n), np.arange(n // 2 + 1.0), indexing="ij")
    return np.hypot(u, v), u, v


def exponential(minus: np.ndarray) -> np.ndarray:
    """exp(-minus), `minus` rounded to 1/50 as in EMAN2's table."""
    return TABLE[np.minimum((minus * 50 + 0.5).astype(np.int64), len(TABLE) - 1)]


def merged(sums: np.ndarray) -> np.ndarray:
    """Sums (z, y, x // 2 + 1) whose planes x = 0 and x = box / 2 have got what their Friedel mates have."""
    out = sums.copy()
    for x in (0, *([sums.shape[2] - 1] if len(sums) % 2 == 0 else [])):
        out[:, :, x] += np.roll(sums[::-1, ::-1, x], 1, axis=(0, 1)).conj()
    return out


def accumulate(sums: np.ndarray, index: np.ndarray, values: np.ndarray) -> None:
    """Add values at flat places, which may come more than once; by whole arrays where most places get something."""
    if 2 * len(index) > len(sums):
        sums += np.bincount(index, values, len(sums))
    else:
        np.add.at(sums, index, values)


def merged_at(sums: np.ndarray, index: np.ndarray) -> np.ndarray:
    """What `merged` has at flat places."""
    box, half = len(sums), sums.shape[2]
    flat, x = sums.reshape(-1), index % half
    values = flat[index]
    shared = np.flatnonzero((x == 0) | ((x == half - 1) & (box % 2 == 0)))
    z, y = np.divmod(index[shared] // half, box)
    values[shared] += flat[x[shared] + half * (-y % box + box * (-z % box))].conj()
    return values


def _outer(axes: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """(x, y, z neighbours, m) of what the neighbours on each axis have, (3, neighbours, m)."""
    return combine(combine(axes[0][:, None, None], axes[1][:, None]), axes[2])


def _compare(
    values: np.ndarray, sums: np.ndarray, weights: np.ndarray, coarse: np.ndarray
) -> tuple[float, float, float, float]:
    """Agreement's four numbers of one image's coefficients with the map's, sums and weights."""
    counted = weights > SMALLEST
    values, weights, coarse = values[counted], weights[counted], coarse[counted]
    map_values = sums[counted] / weights
    products = np.stack([(map_values * values.conj()).real, np.abs(map_values) ** 2, np.abs(values) ** 2]) * weights
    qualities = []
    for of in (products.sum(axis=1), products[:, coarse].sum(axis=1)):
        qualities.append(of[0] / np.sqrt(of[1] * of[2]) if of[1] * of[2] > 0 else 0.0)
    power = products[1:].sum(axis=1)
    return (
        np.sqrt(power[0] / power[1]) if power[1] > 0 else 1.0,
        qualities[0],
        qualities[1],
        weights.mean() if len(weights) else 0.0,
    )
