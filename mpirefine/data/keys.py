"""A random number for every image that follows from its name alone, so that random choices do not depend on the order
of rows or the number of ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HALF, HELD_OUT, SAMPLE, EVEN_ODD, HALF_ANEW, HANDED_OUT = range(1, 7)  # purposes, with independent random numbers
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mixed(values: np.ndarray) -> np.ndarray:
    """uint64 to uint64, each bit depending on all bits (the finaliser of splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = np.asarray(values, np.uint64) + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def image_keys(files: Sequence[str], file: np.ndarray, image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Keys (p,) uint64 of images: from the name, without folder, of stack `file` (index into `files`) and the index
    `image`.

    Folders do not count, so that a data set may be moved.
    """
    names = [Path(name).name for name in files] or [""]
    stack = np.array(
        [
            int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "little")
            for name in names
        ],
        np.uint64,
    )
    return mixed(stack[np.minimum(file, len(stack) - 1)] ^ mixed(np.asarray(image).astype(np.uint64)))


def uniform(key: np.ndarray, purpose: int) -> np.ndarray:
    """Random numbers (p,) float64 in [0, 1) from keys, independent for each purpose."""
    return (mixed(key ^ mixed(np.array(purpose))) >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def halves(key: np.ndarray, purpose: int = HALF) -> np.ndarray:
    """Half-sets (p,) int8, 0 or 1, from keys."""
    return (uniform(key, purpose) >= 0.5).astype(np.int8)
