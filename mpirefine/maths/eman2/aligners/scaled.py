"""EMAN2's aligners that also scale: the search of other aligners, on images of every scale of a range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.aligners.base import ALIGNERS, search_with_shifts
from mpirefine.maths.eman2.aligners.quadratic import Comparator, PoseScorer, in_parts
from mpirefine.maths.eman2.comparators.base import About, stack
from mpirefine.maths.eman2.poses import Alignment, move_images
from mpirefine.registry import explain

RANGE = (
    "Scales from `min` to `max` in steps of `step` are tried, and the best by the comparator is kept, as the scale of "
    "the transform. EMAN2 leaves `min` out, tries `max` twice, and reports the scale a step further. ParameterError "
    "for a range that cannot be."
)
REST = "`maxshift` is in pixels on either axis (0 or less: n/4)."


def best_scale(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    scales: np.ndarray,
    align: Callable[[np.ndarray], Alignment],
) -> Alignment:
    """The transform of each image with the best score, of those that `align` gives for the image at each scale."""
    images = stack(np.asarray(image))
    every, kept, value = np.arange(len(images)), Alignment.of(np.zeros(len(images))), np.full(len(images), np.inf)
    for scale in scales:
        found = align(move_images(images, Alignment.of(np.zeros(len(images)), scale=scale)))
        found = replace(found, scale=found.scale * scale)
        scores = [
            PoseScorer(some, references, comparator, known)(found.take(part), np.arange(len(some)))
            for part, some, references, known in in_parts(images, reference, about)
        ]
        new = np.concatenate(scores)
        rows = every + len(every) * (new < value)
        kept, value = Alignment.concatenate([kept, found]).take(rows), np.minimum(new, value)
    return kept


def scale_range(least: float, most: float, step: float) -> np.ndarray:
    """All scales of a range, ends included. Raises ParameterError for a range that cannot be."""
    if not 0 < least <= most or step <= 0:
        raise ParameterError(f"scales from min={least:g} to max={most:g} in steps of step={step:g}: there are none")
    return least + step * np.arange(int((most - least) / step + 1e-6) + 1)


@ALIGNERS.register("scale")
@explain(RANGE)
def scale_only(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    min: float = 0.95,
    max: float = 1.05,
    step: float = 0.01,
) -> Alignment:
    """Scale about the centre, no turn and no shift.

    EMAN2's scale.
    """
    return best_scale(
        image, reference, comparator, about, scale_range(min, max, step), lambda i: Alignment.of(np.zeros(len(i)))
    )


@ALIGNERS.register("rotate_translate_scale", "rotate_trans_scale_iter", shifts=True)
@explain(RANGE, REST)
def turn_shift_scale(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    min: float = 0.95,
    max: float = 1.05,
    step: float = 0.01,
    maxshift: int = -1,
    nozero: bool = False,
    rfp_mode: int = 2,
    useflcf: bool = False,
    zscore: bool = False,
    maxiter: int = 3,
    r1: int = -1,
    r2: int = -1,
) -> Alignment:
    """Turn, shift and scale.

    EMAN2's rotate_translate_scale and rotate_trans_scale_iter: rotate_translate of the image at each scale. `nozero`,
    `rfp_mode`, `useflcf`, `zscore`, `maxiter`, `r1` and `r2` change nothing.
    """
    return best_scale(
        image,
        reference,
        comparator,
        about,
        scale_range(min, max, step),
        lambda i: search_with_shifts(i, reference, comparator, about, maxshift, False),
    )


@ALIGNERS.register("rotate_trans_flip_scale", "rotate_trans_flip_scale_iter", shifts=True, mirrors=True)
@explain(RANGE, REST)
def turn_shift_mirror_scale(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    min: float = 0.95,
    max: float = 1.05,
    step: float = 0.01,
    flip: np.ndarray | None = None,
    maxshift: int = -1,
    rfp_mode: int = 2,
    useflcf: bool = False,
    zscore: bool = False,
    maxiter: int = 3,
    r1: int = -1,
    r2: int = -1,
) -> Alignment:
    """Turn, shift, mirror and scale.

    EMAN2's rotate_trans_flip_scale and rotate_trans_flip_scale_iter: rotate_translate_flip of the image at each scale.
    `flip` (the mirrored image), `rfp_mode`, `useflcf`, `zscore`, `maxiter`, `r1` and `r2` change nothing.
    """
    return best_scale(
        image,
        reference,
        comparator,
        about,
        scale_range(min, max, step),
        lambda i: search_with_shifts(i, reference, comparator, about, maxshift, True),
    )
