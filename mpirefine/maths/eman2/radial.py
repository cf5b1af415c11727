"""Rings of half-spectra as EMAN2 has them: correlations, radial means, and filters from a curve of rings.

Radii are in Fourier pixels. Three kinds of rings are in use in EMAN2: those of correlations have a rounded radius and
count every independent coefficient once; radial means share each coefficient between the two rings that its radius lies
between; and some filters use rings of whole (truncated) radius.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse


@lru_cache(maxsize=16)
def row_frequency(nx: int) -> np.ndarray:
    """Frequency (nx, 1) of each row in Fourier pixels; the Nyquist row of even boxes is positive."""
    k = np.arange(nx)
    return np.where(k <= nx // 2, k, k - nx)[:, None]


@lru_cache(maxsize=16)
def radius(nx: int) -> np.ndarray:
    """Distance (nx, nx // 2 + 1) of each coefficient from the origin."""
    return np.hypot(row_frequency(nx), np.arange(nx // 2 + 1))


@lru_cache(maxsize=16)
def independent(nx: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat places of the coefficients that correlations count, sorted by ring 0 .. nx // 2, and where each ring
    starts.
    """
    ring = np.floor(radius(nx) + 0.5).astype(int)
    used = ((np.arange(nx // 2 + 1) > 0) | (row_frequency(nx) >= 0)) & (ring <= nx // 2)
    places = np.flatnonzero(used)
    places = places[np.argsort(ring.ravel()[places], kind="stable")]
    return places, np.searchsorted(ring.ravel()[places], np.arange(nx // 2 + 1))


def ring_counts(nx: int) -> np.ndarray:
    """Coefficients (nx // 2 + 1,) on each ring of correlations, Friedel mates included."""
    places, starts = independent(nx)
    return 2.0 * np.diff(np.append(starts, len(places)))


def ring_sums(values_nyx: np.ndarray) -> np.ndarray:
    """Sums (n, nx // 2 + 1) float64 over the independent coefficients of each ring of correlations."""
    places, starts = independent(values_nyx.shape[-2])
    return np.add.reduceat(values_nyx.reshape(len(values_nyx), -1)[:, places], starts, axis=1, dtype=np.float64)


def spectral_power(spectra: np.ndarray) -> np.ndarray:
    """|F|² of each coefficient."""
    return spectra.real**2 + spectra.imag**2


def cross_power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Re F G* of each coefficient."""
    return a.real * b.real + a.imag * b.imag


def ring_correlations(a_nyx: np.ndarray, b_nyx: np.ndarray) -> np.ndarray:
    """Fourier ring correlation (n, nx // 2 + 1) of half-spectra, n of both or one of either; NaN where a ring is 0."""
    norm = np.sqrt(ring_sums(spectral_power(a_nyx)) * ring_sums(spectral_power(b_nyx)))
    with np.errstate(invalid="ignore"):
        return ring_sums(cross_power(a_nyx, b_nyx)) / norm


def folded(n: int) -> np.ndarray:
    """EMAN2's distance (n,) of each row from the origin: k below n // 2, n − k from there.

    The middle row of odd boxes comes out one too far.
    """
    k = np.arange(n)
    return np.where(k < n // 2, k, n - k)


def ring_count(half_shape: tuple[int, ...]) -> int:
    """Rings from the origin to the corner of a half-spectrum."""
    return int(half_shape[-2] * np.sqrt(len(half_shape)) / 2)


def ring_shares(half_shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How coefficients are shared out to rings, three arrays (k,): flat place, ring, share.

    On the plane x = 0 only one of each two Friedel mates counts.
    """
    axes = np.meshgrid(*(folded(n) for n in half_shape[:-1]), np.arange(half_shape[-1]), indexing="ij", sparse=True)
    distance = np.sqrt(sum(a * a for a in axes).astype(np.float64))
    used = np.ones(half_shape, bool)
    used[half_shape[0] // 2 + 1 :, ..., 0] = False
    if len(half_shape) == 3:
        used[half_shape[0] // 2, half_shape[1] // 2 + 1 :, 0] = False
    place = np.flatnonzero(used)
    low, part = distance.astype(int).ravel()[place], (distance % 1).ravel()[place]
    return np.append(place, place), np.append(low, low + 1), np.append(1 - part, part)


@lru_cache(maxsize=16)
def mean_operator(half_shape: tuple[int, ...]) -> sparse.csr_array:
    """Sparse matrix (rings, coefficients) that takes an image's half-spectrum to its radial mean."""
    from scipy import sparse

    place, ring, share = ring_shares(half_shape)
    inside = (ring < ring_count(half_shape)) & (share > 0)
    shape = (ring_count(half_shape), int(np.prod(half_shape)))
    matrix = sparse.csr_array((share[inside], (ring[inside], place[inside])), shape)
    total = matrix.sum(axis=1)
    return sparse.diags_array(1 / np.where(total > 0, total, 1)) @ matrix


def radial_means(values_nyx: np.ndarray) -> np.ndarray:
    """Radial means (n, rings) float64 of half-spectra of images, EMAN2's calc_radial_dist."""
    flat = values_nyx.reshape(len(values_nyx), -1).astype(np.float64)
    return (mean_operator(values_nyx.shape[1:]) @ flat.T).T


def radial_mean(values: np.ndarray) -> np.ndarray:
    """Radial mean (rings,) float64 of the half-spectrum of one image or map, EMAN2's calc_radial_dist."""
    if values.ndim == 2:
        return radial_means(values[None])[0]
    rings = ring_count(values.shape)
    place, ring, share = ring_shares(values.shape)
    count = np.bincount(ring, share, rings)[:rings]
    total = np.bincount(ring, share * values.ravel()[place].astype(np.float64), rings)[:rings]
    return total / np.where(count > 0, count, 1)


def whole_rings(half_shape: tuple[int, ...]) -> np.ndarray:
    """Ring of truncated radius of each coefficient, at most `ring_count`."""
    rows = [np.minimum(np.arange(n), n - np.arange(n)) for n in half_shape[:-1]]
    axes = np.meshgrid(*rows, np.arange(half_shape[-1]), indexing="ij", sparse=True)
    return np.minimum(np.sqrt(sum(a * a for a in axes).astype(np.float64)).astype(int), ring_count(half_shape))


def whole_ring_sums(values: np.ndarray) -> np.ndarray:
    """Sums (rings + 1,) over the stored coefficients of each whole ring; the Nyquist row of an even axis counts
    twice.
    """
    weight = np.ones(values.shape)
    for axis, n in enumerate(values.shape[:-1]):
        if n % 2 == 0:
            weight[(slice(None),) * axis + (n // 2,)] *= 2
    return np.bincount(whole_rings(values.shape).ravel(), (values * weight).ravel(), ring_count(values.shape) + 1)


def spread_curve(
    curve: np.ndarray, half_shape: tuple[int, ...], per_ring: float = 1.0, interpolate: bool = True
) -> np.ndarray:
    """Factors (..., half-spectrum) from curves (..., k) with `per_ring` values for each ring, EMAN2's
    apply_radial_func.

    Linear between the values, or, without `interpolate`, the next value; the last value holds from the last but one on.
    EMAN2 divides the frequencies along x by the length of its padded rows, not by that of the box.
    """
    x = np.arange(half_shape[-1]) / (2 * half_shape[-1])
    axes = np.meshgrid(*(folded(n) / n for n in half_shape[:-1]), x, indexing="ij", sparse=True)
    place = np.sqrt(sum(a * a for a in axes)) * half_shape[-2] * per_ring
    low = np.floor(place if interpolate else place + 1).astype(int)
    last = curve.shape[-1] - 2
    inside = np.minimum(low, last)
    factor = curve[..., inside]
    if interpolate:
        factor = factor + (curve[..., inside + 1] - factor) * (place - low)
    return np.where(low >= last, np.expand_dims(curve[..., -1], tuple(range(-low.ndim, 0))), factor)
