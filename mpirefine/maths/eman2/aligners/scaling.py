"""EMAN2's aligners that try several scales, each with one of the other searches, and keep the best; frm2d."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.aligners.base import ALIGNERS, search_with_shifts
from mpirefine.maths.eman2.aligners.quadratic import Comparator
from mpirefine.maths.eman2.comparators.base import About, stack
from mpirefine.maths.eman2.poses import Alignment, move_images

LEAST, MOST, STEP = 0.95, 1.05, 0.01  # EMAN2's range of scales


def scales_between(name: str, least: float, most: float, step: float) -> np.ndarray:
    """The scales (s,) that are tried. ParameterError unless 0 < least <= most and step > 0; `name` is the aligner's."""
    if not (0 < least <= most and step > 0):
        raise ParameterError(f"{name}: min={least:g}, max={most:g}, step={step:g}: 0 < min <= max and 0 < step")
    return least + step * np.arange(int((most - least) / step + 1e-6) + 1)


def best_scale(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    scales: np.ndarray,
    maxshift: float | None = None,
    mirror: bool = False,
) -> Alignment:
    """The pose of each image (n, y, x), scaled by each of `scales` (s,), with the best score; with `maxshift` (pixels)
    it is turned and shifted too, and with `mirror` mirrored.
    """
    images, best, value = stack(np.asarray(image)), None, np.full(len(stack(np.asarray(image))), np.inf)
    for scale in scales:
        pose = Alignment.of(np.zeros(len(images)), scale=scale)
        if maxshift is not None:
            moved = search_with_shifts(move_images(images, pose), reference, comparator, about, maxshift, mirror)
            pose = replace(moved, scale=pose.scale)
        score = comparator(move_images(images, pose), reference, about)
        better = score < value
        chosen = pose if best is None else best
        best = Alignment.of(*(np.where(better, *both) for both in zip(pose.columns, chosen.columns)))
        value = np.where(better, score, value)
    assert best is not None, "at least one scale is tried"
    return best


@ALIGNERS.register("scale")
def scale(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    min: float = LEAST,
    max: float = MOST,
    step: float = STEP,
) -> Alignment:
    """Magnify or reduce, nothing else.

    EMAN2's scale: the best of the scales from `min` to `max` in steps of `step`.
    """
    return best_scale(image, reference, comparator, about, scales_between("scale", min, max, step))


@ALIGNERS.register("rotate_translate_scale", "rotate_trans_scale_iter", shifts=True)
def rotate_translate_scale(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    min: float = LEAST,
    max: float = MOST,
    step: float = STEP,
    maxshift: int = -1,
    maxiter: int = 3,
    nozero: bool = False,
    rfp_mode: int = 2,
    useflcf: bool = False,
    zscore: bool = False,
) -> Alignment:
    """Turn, shift and scale.

    EMAN2's rotate_translate_scale: rotate_translate of the image at each scale from `min` to `max` in steps of `step`,
    within `maxshift` pixels on either axis (0 or less: n/4). `maxiter`, `nozero`, `rfp_mode`, `useflcf` and `zscore`
    change nothing.
    """
    scales = scales_between("rotate_translate_scale", min, max, step)
    return best_scale(image, reference, comparator, about, scales, maxshift)


@ALIGNERS.register("rotate_trans_flip_scale", "rotate_trans_flip_scale_iter", shifts=True, mirrors=True)
def rotate_trans_flip_scale(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    min: float = LEAST,
    max: float = MOST,
    step: float = STEP,
    flip: np.ndarray | None = None,
    maxshift: int = -1,
    maxiter: int = 3,
    nozero: bool = False,
    rfp_mode: int = 2,
    useflcf: bool = False,
    zscore: bool = False,
) -> Alignment:
    """Turn, shift, mirror and scale.

    EMAN2's rotate_trans_flip_scale: rotate_translate_flip of the image at each scale from `min` to `max` in steps of
    `step`, within `maxshift` pixels on either axis (0 or less: n/4). `flip` (the mirrored image), `maxiter`, `nozero`,
    `rfp_mode`, `useflcf` and `zscore` change nothing.
    """
    scales = scales_between("rotate_trans_flip_scale", min, max, step)
    return best_scale(image, reference, comparator, about, scales, maxshift, True)


@ALIGNERS.register("frm2d", shifts=True)
def frm2d(
    image: np.ndarray, reference: np.ndarray, comparator: Comparator, about: About, *, maxshift: int = -1
) -> Alignment:
    """Turn and shift.

    EMAN2's frm2d, fast rotational matching: as rotate_translate, within `maxshift` pixels on either axis (0 or less:
    n/4).
    """
    return search_with_shifts(image, reference, comparator, about, maxshift, False)
