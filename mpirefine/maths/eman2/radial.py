"""Rings of image transforms as EMAN2 has them, of many images at once.

Half-spectra are (n, y, x) with ny = nx rows. Two kinds of rings: those of correlations have a rounded radius and count
every independent coefficient once; radial profiles share each coefficient between the two rings its radius lies
between.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=16)
def rows(nx: int) -> np.ndarray:
    """(nx, 1) frequency of each row in Fourier pixels; the Nyquist row of even boxes is positive."""
    k = np.arange(nx)
    return np.where(k <= nx // 2, k, k - nx)[:, None]


@lru_cache(maxsize=16)
def radius(nx: int) -> np.ndarray:
    """(nx, nx // 2 + 1) distance of each coefficient from the origin in Fourier pixels."""
    return np.hypot(rows(nx), np.arange(nx // 2 + 1))


@lru_cache(maxsize=16)
def independent(nx: int) -> tuple[np.ndarray, np.ndarray]:
    """The coefficients that correlations count, in the order of their ring 0 .. nx // 2, and where each ring starts."""
    ring = np.floor(radius(nx) + 0.5).astype(int)
    used = ((np.arange(nx // 2 + 1) > 0) | (rows(nx) >= 0)) & (ring <= nx // 2)
    places = np.flatnonzero(used)
    places = places[np.argsort(ring.ravel()[places], kind="stable")]
    return places, np.searchsorted(ring.ravel()[places], np.arange(nx // 2 + 1))


def ring_counts(nx: int) -> np.ndarray:
    """(nx // 2 + 1,) coefficients on each ring, conjugates included."""
    places, starts = independent(nx)
    return 2.0 * np.diff(np.append(starts, len(places)))


def ring_sums(values_nyx: np.ndarray) -> np.ndarray:
    """(n, nx // 2 + 1) float64 sums over the independent coefficients of each ring."""
    places, starts = independent(values_nyx.shape[-2])
    return np.add.reduceat(values_nyx.reshape(len(values_nyx), -1)[:, places], starts, axis=1, dtype=np.float64)


def power(spectra_nyx: np.ndarray) -> np.ndarray:
    """|F|²."""
    return spectra_nyx.real**2 + spectra_nyx.imag**2


def common(a_nyx: np.ndarray, b_nyx: np.ndarray) -> np.ndarray:
    """Re F G*."""
    return a_nyx.real * b_nyx.real + a_nyx.imag * b_nyx.imag


def correlation(a_nyx: np.ndarray, b_nyx: np.ndarray) -> np.ndarray:
    """Fourier ring correlation (n, nx // 2 + 1) of half-spectra, one of which may be single; NaN where a ring
    is empty.
    """
    norm = np.sqrt(ring_sums(power(a_nyx)) * ring_sums(power(b_nyx)))
    with np.errstate(invalid="ignore"):
        return ring_sums(common(a_nyx, b_nyx)) / norm


@lru_cache(maxsize=16)
def profile_operator(nx: int):
    """Sparse (nx // 2, nx · (nx // 2 + 1)) matrix of the mean over each ring; of the column x = 0 only one of each
    conjugate pair counts.
    """
    from scipy import sparse

    k = np.arange(nx)
    distance = np.hypot(np.where(k < nx // 2, k, nx - k)[:, None], np.arange(nx // 2 + 1))
    used = (np.arange(nx // 2 + 1) > 0) | (k <= nx // 2)[:, None]
    place = np.flatnonzero(used)
    low, part = distance.astype(int).ravel()[place], (distance % 1).ravel()[place]
    ring, place, share = np.append(low, low + 1), np.append(place, place), np.append(1 - part, part)
    inside = (ring < nx // 2) & (share > 0)
    matrix = sparse.csr_array((share[inside], (ring[inside], place[inside])), (nx // 2, used.size))
    return sparse.diags_array(1 / matrix.sum(axis=1)) @ matrix


def profile(values_nyx: np.ndarray) -> np.ndarray:
    """(n, nx // 2) float64 radial profiles, EMAN2's calc_radial_dist."""
    flat = values_nyx.reshape(len(values_nyx), -1).astype(np.float64)
    return (profile_operator(values_nyx.shape[-2]) @ flat.T).T


@lru_cache(maxsize=16)
def spreading_operator(nx: int):
    """Sparse (nx · (nx // 2 + 1), nx // 2) matrix from a value of each ring to all coefficients, linear between rings.

    EMAN2's apply_radial_func: the last value holds from the last ring but one on, and along x frequencies are k / (nx +
    2), nx even.
    """
    from scipy import sparse

    k, count = np.arange(nx), nx // 2
    y, x = np.where(k < nx // 2, k, nx - k)[:, None] / nx, np.arange(nx // 2 + 1) / (nx + 2 - nx % 2)
    place = (np.hypot(y, x) * nx).ravel()
    low = place.astype(int)
    part = np.where(low >= count - 2, 0, place - low)
    low = np.where(low >= count - 2, count - 1, low)
    line = np.arange(low.size)
    entries = (np.append(1 - part, part), (np.append(line, line), np.append(low, np.minimum(low + 1, count - 1))))
    return sparse.csr_array(entries, (low.size, count))


def spread(curves_nk: np.ndarray, nx: int) -> np.ndarray:
    """(n, nx, nx // 2 + 1) factors of half-spectra from curves (n, nx // 2)."""
    return (spreading_operator(nx) @ curves_nk.T).T.reshape(len(curves_nk), nx, nx // 2 + 1)
