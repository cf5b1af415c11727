"""What EMAN2's two-dimensional aligners share: their registry and the exhaustive search.

An aligner is f(image, reference, comparator, about, *, parameters) -> Alignment: images (n, y, x), one reference for
all or one each; the transforms take each image onto its reference. Aligners that search angles and shifts together
share one exhaustive search, which finds what EMAN2's own only approximate: parameters that steer an approximation are
accepted and change nothing. The comparator chooses between the best poses of the search.

Traits: `shifts`, the aligner shifts images; `mirrors`, it tries mirrored ones.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.aligners.exhaustive import PoseSearch
from mpirefine.maths.eman2.aligners.quadratic import Comparator, PoseScorer, in_parts
from mpirefine.maths.eman2.comparators.base import About, stack
from mpirefine.maths.eman2.poses import Alignment
from mpirefine.registry import Registry

ALIGNERS = Registry("aligner")
NOTHING_KNOWN = About()
MOST_SEARCHES = 64  # that are kept, with their buffers: each thread has two or three


def limit_shift(maxshift: float, default: float, nx: int) -> float:
    """The largest shift in pixels of a box of nx: `maxshift`, or `default` for 0 or less, and not beyond the box."""
    return min(maxshift if maxshift > 0 else default, nx // 2 - 1)


def own_search(nx: int, maxshift: float, mirror: bool) -> PoseSearch:
    """The exhaustive search of this thread, with its buffers."""
    return _search(nx, maxshift, mirror, threading.get_ident())


@lru_cache(maxsize=MOST_SEARCHES)
def _search(nx: int, maxshift: float, mirror: bool, thread: int) -> PoseSearch:
    return PoseSearch(nx, maxshift, mirror)


def equal_references(references: np.ndarray, count: int) -> list[np.ndarray]:
    """The rows of the images, in groups that have equal references; one reference is for all `count` images."""
    if len(references) == 1:
        return [np.arange(count)]
    found: dict[bytes, list[int]] = {}
    for row, reference in enumerate(references):
        found.setdefault(reference.tobytes(), []).append(row)
    return [np.array(rows) for rows in found.values()]


def best_poses(
    images: np.ndarray, references: np.ndarray, maxshift: float, mirror: bool, about: About = NOTHING_KNOWN
) -> Alignment:
    """The best few poses (n, m) of each image (n, y, x) on its reference, of which there is one, or one each.

    Raises ParameterError when boxes differ or are not square.
    """
    if images.shape[1] != images.shape[2] or images.shape[1:] != references.shape[1:]:
        raise ParameterError(
            f"images of {images.shape[1:]} and references of {references.shape[1:]} pixels: the box must be one, and "
            "square"
        )
    search = own_search(images.shape[2], maxshift, mirror)
    rows = equal_references(references, len(images))
    parts = [
        search(images[part], references[part[0] if len(references) > 1 else 0], about.take(part).along) for part in rows
    ]
    return Alignment.concatenate(parts).take(np.argsort(np.concatenate(rows)))


def search_poses(
    image: np.ndarray, reference: np.ndarray, comparator: Comparator, about: About, *, maxshift: float, mirror: bool
) -> Alignment:
    """The pose of each image with the best score, of those that the exhaustive search finds."""
    images, out = stack(np.asarray(image)), []
    poses = best_poses(images, stack(np.asarray(reference)), maxshift, mirror, about)
    for part, some, references, known in in_parts(images, reference, about):
        few = poses.take(part)
        count, kept = few.alpha.shape
        flat = few.ravel()
        values = PoseScorer(some, references, comparator, known)(flat, np.repeat(np.arange(count), kept))
        out.append(flat.take(values.reshape(count, kept).argmin(axis=1) + kept * np.arange(count)))
    return with_angles_wrapped(Alignment.concatenate(out))


def search_with_shifts(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    maxshift: float,
    mirror: bool,
    default: int = 4,
) -> Alignment:
    """As `search_poses`, with shifts within `maxshift` pixels (0 or less: box / `default`)."""
    nx = np.shape(image)[-1]
    limit = limit_shift(maxshift, nx // default, nx)
    return search_poses(image, reference, comparator, about, maxshift=limit, mirror=mirror)


def with_angles_wrapped(found: Alignment) -> Alignment:
    """The same with angles from −180 to 180 degrees."""
    return Alignment(180 - np.remainder(180 - found.alpha, 360), found.tx, found.ty, found.mirror, found.scale)
