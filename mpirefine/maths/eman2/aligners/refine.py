"""EMAN2's aligners that improve given poses."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.eman2.aligners.base import ALIGNERS, limit_shift, with_angles_wrapped
from mpirefine.maths.eman2.aligners.quadratic import Comparator, PoseScorer, improve, in_parts
from mpirefine.maths.eman2.comparators.base import About, stack
from mpirefine.maths.eman2.poses import Alignment

FINISH = 2  # comparisons more than EMAN2's `maxiter`
OF_CG = 7  # comparisons for one step of refinecg


@ALIGNERS.register("refine", shifts=True)
def refine(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    start: Alignment | None = None,
    *,
    stepx: float = 1.0,
    stepy: float = 1.0,
    stepaz: float = 5.0,
    stepscale: float = 0.0,
    precision: float = 0.04,
    maxiter: int = 28,
    maxshift: int = -1,
    mode: int = 0,
    mask: np.ndarray | None = None,
    snr: np.ndarray | None = None,
    verbose: int = 0,
) -> Alignment:
    """Better shift and angle, from a start.

    EMAN2's refine: the comparator of the moved image (times `mask`) with the reference, minimised over shift, angle
    and, if `stepscale` is not 0, scale (0.7 to 1.3), from `start` (default: no change), mirrored as there. First steps
    are `stepx`, `stepy` (pixels), `stepaz` (degrees) and `stepscale`; it ends when steps and moves are below
    `precision` (pixels, degrees) or after `maxiter` + 2 comparisons, at least 12, or 17 with scale. Quadratic surfaces
    take the place of a simplex, which compares about twice in each of its `maxiter` steps. Shifts stay within
    `maxshift` pixels on either axis (0 or less: n/4), or that of the start. Never worse than the start. `mode`, `snr`
    and `verbose` change nothing: EMAN2's fast dot product (mode 2) ends far from the best pose.
    """
    images, out = stack(np.asarray(image)), []
    steps = (stepx, stepy, stepaz, stepscale)[: 4 if stepscale else 3]
    reach = limit_shift(maxshift, images.shape[-1] // 4, images.shape[-1])
    beginning = Alignment.of(np.zeros(len(images))) if start is None else start
    for part, some, references, known in in_parts(images, reference, about):
        first, scorer = beginning.take(part), PoseScorer(some, references, comparator, known, mask)
        limit = np.maximum(reach, np.maximum(np.abs(first.tx), np.abs(first.ty)))
        out.append(improve(scorer, first, limit, steps, precision, maxiter + FINISH))
    return with_angles_wrapped(Alignment.concatenate(out))


@ALIGNERS.register("refinecg", shifts=True)
def refinecg(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    start: Alignment | None = None,
    *,
    step: float = 0.1,
    stepscale: float = 0.0,
    precision: float = 0.02,
    maxiter: int = 12,
    maxshift: int = -1,
    mode: int = 0,
    mask: np.ndarray | None = None,
    snr: np.ndarray | None = None,
    verbose: int = 0,
) -> Alignment:
    """Better shift and angle, from a start, as refine.

    EMAN2's refinecg, which follows slopes taken over `step`; here it is refine with its default first steps, with
    `stepscale`, `precision` (pixels, degrees), `maxshift` (pixels) and `mask` as given, and at most 7 `maxiter`
    + 2 comparisons. `step`, `mode`, `snr` and `verbose` change nothing.
    """
    return refine(
        image,
        reference,
        comparator,
        about,
        start,
        stepscale=stepscale,
        precision=precision,
        maxiter=OF_CG * maxiter,
        maxshift=maxshift,
        mask=mask,
    )
