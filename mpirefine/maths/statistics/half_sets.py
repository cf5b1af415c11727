"""Half-sets: copies of an image stay together, and the particle file's own half-sets are used when they are sound."""

from __future__ import annotations

import numpy as np

FEW = 20  # particles of a map from which on an empty half-set cannot be chance
LEAST_SHARE = 0.05  # of a map's particles that each half should have


def copies(fingerprint: np.ndarray, used: np.ndarray) -> np.ndarray:
    """For each row (p,) the first row with the same image. `fingerprint` (p,) is computed from the pixels.

    Rows that are not `used` (p, bool) are taken to have no copy.
    """
    first, rows = np.arange(len(fingerprint)), np.flatnonzero(used)
    _, place, which = np.unique(fingerprint[rows], return_index=True, return_inverse=True)
    first[rows] = rows[place[which]] if len(rows) else rows
    return first


def shared_keys(key: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Keys (p,) uint64 that are equal for rows with the same image: the smallest of theirs. `first` is from
    `copies`.
    """
    least = np.full(len(key), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, first, key)
    return least[first]


def unsound(subset: np.ndarray, first: np.ndarray) -> str:
    """Why the half-sets `subset` (p,) of a particle file, 0 or 1 (-1: neither), cannot be used; empty when they can.
    `first` is from `copies`.
    """
    unknown = int((subset < 0).sum())
    if unknown:
        return f"{unknown} of {len(subset)} values are neither 1 nor 2"
    sizes = np.bincount(subset, minlength=2)
    if not sizes.all():
        return f"all {len(subset)} particles have the same value"
    parted = int((subset != subset[first]).sum())
    return f"{parted} rows repeat an image that is in the other half" if parted else ""


def missing_half(model: np.ndarray, half: np.ndarray, maps: int) -> str:
    """Which map has no particles, or next to none, of one half; empty when all have both. `model` (p,) is -1
    for none.
    """
    for m in range(maps):
        counts = np.bincount(half[model == m], minlength=2)
        if counts.sum() >= FEW and counts.min() < LEAST_SHARE * counts.sum():
            return f"{counts.max()} of {counts.sum()} particles tried in map {m + 1} are of half {counts.argmax() + 1}"
    return ""
