"""Half-sets: rows that repeat an image go together, and the particle file's own half-sets are used when they can be."""
from __future__ import annotations

import numpy as np

FEW = 20                   # sampled particles of a map from which on a half-set without any of them is no chance
LEAST_SHARE = 0.05         # of a map's particles that are in either half


def copies(fingerprint: np.ndarray, key: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys (p,) uint64 that rows with one image share (the least of theirs), and which rows repeat an earlier one (p,) bool.

    `fingerprint` (p,) of the pixels; rows that are not `used` are taken to be alone.
    """
    own, repeat = key.copy(), np.zeros(len(key), bool)
    rows = np.flatnonzero(used)
    _, first, which = np.unique(fingerprint[rows], return_index=True, return_inverse=True)
    least = np.full(len(first), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, which, key[rows])
    own[rows] = least[which]
    repeat[rows] = first[which] != np.arange(len(rows))
    return own, repeat


def unsound(subset: np.ndarray, key: np.ndarray) -> str:
    """Why the half-sets of a particle file, 0 or 1 (-1: neither), cannot be used; nothing when they can. `key` (p,) as from `copies`."""
    unknown = int((subset < 0).sum())
    if unknown:
        return f"{unknown} of {len(subset)} values are neither 1 nor 2"
    sizes = np.bincount(subset, minlength=2)
    if not sizes.all():
        return f"all {len(subset)} particles have the same value"
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    parted = int((same & (subset[order][1:] != subset[order][:-1])).sum())
    return f"{parted} rows repeat an image that is in the other half" if parted else ""


def missing_half(model: np.ndarray, half: np.ndarray, maps: int) -> str:
    """Which map has (next to) no particles of one half; nothing when all have both. `model` (p,) -1 for none."""
    for m in range(maps):
        counts = np.bincount(half[model == m], minlength=2)
        if counts.sum() >= FEW and counts.min() < LEAST_SHARE * counts.sum():
            return f"{counts.max()} of {counts.sum()} particles tried in map {m + 1} are of half {counts.argmax() + 1}"
    return ""
