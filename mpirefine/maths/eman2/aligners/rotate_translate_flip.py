"""EMAN2's aligners that turn, shift and mirror."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.eman2.aligners.base import ALIGNERS, limit_shift, search_poses, search_with_shifts
from mpirefine.maths.eman2.aligners.quadratic import Comparator
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.poses import Alignment


@ALIGNERS.register("rotate_translate_flip", shifts=True, mirrors=True)
def rotate_translate_flip(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    flip: np.ndarray | None = None,
    usedot: bool = True,
    maxshift: int = -1,
    rfp_mode: int = 2,
    useflcf: bool = False,
    zscore: bool = False,
    usebispec: bool = False,
    useharmonic: bool = False,
) -> Alignment:
    """Turn, shift and mirror.

    EMAN2's rotate_translate_flip: rotate_translate of the image and its mirror image, within `maxshift` pixels on
    either axis (0 or less: n/4). `flip` (the mirrored image), `usedot`, `rfp_mode`, `useflcf`, `zscore`, `usebispec`
    and `useharmonic` change nothing.
    """
    return search_with_shifts(image, reference, comparator, about, maxshift, True)


@ALIGNERS.register("rotate_translate_tree", shifts=True, mirrors="flip")
def rotate_translate_tree(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    flip: bool = True,
    maxshift: int = -1,
    maxres: float = -1.0,
    verbose: int = 0,
) -> Alignment:
    """Turn, shift and, by default, mirror.

    EMAN2's rotate_translate_tree: as rotate_translate_flip, or with `flip`=0 as rotate_translate, within `maxshift`
    pixels on either axis (0 or less: n/4). EMAN2 starts in small boxes, where it hardly shifts, and refines in larger
    ones. `maxres` (Å) and `verbose` change nothing.
    """
    return search_with_shifts(image, reference, comparator, about, maxshift, flip)


@ALIGNERS.register("rotate_translate_flip_iterative", shifts=True, mirrors=True)
def rotate_translate_flip_iterative(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    flip: np.ndarray | None = None,
    maxshift: int = -1,
    maxiter: int = 3,
    r1: int = -1,
    r2: int = -1,
    nozero: bool = False,
    useflcf: bool = False,
) -> Alignment:
    """Turn, shift and mirror.

    EMAN2's rotate_translate_flip_iterative: as rotate_translate_flip, within `maxshift` pixels (0 or less: n/4). `flip`
    (the mirrored image), `maxiter`, `r1`, `r2` (pixels), `nozero` and `useflcf` change nothing.
    """
    return search_with_shifts(image, reference, comparator, about, maxshift, True)


@ALIGNERS.register("rotate_translate_flip_resample", shifts=True, mirrors=True)
def rotate_translate_flip_resample(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    tx: int = 0,
    ty: int = 0,
    r1: int = -1,
    r2: int = -1,
) -> Alignment:
    """Turn, shift and mirror.

    EMAN2's rotate_translate_flip_resample: as rotate_translate_flip, within the larger of `tx` and `ty` pixels (0: no
    shift). `r1` and `r2` (pixels) change nothing.
    """
    return search_poses(
        image, reference, comparator, about, maxshift=limit_shift(max(tx, ty), 0, np.shape(image)[-1]), mirror=True
    )


@ALIGNERS.register("rtf_exhaustive", shifts=True, mirrors=True)
def rtf_exhaustive(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    flip: np.ndarray | None = None,
    maxshift: int = -1,
) -> Alignment:
    """Turn, shift and mirror.

    EMAN2's rtf_exhaustive: as rotate_translate_flip, within `maxshift` pixels on either axis (0 or less: n/8); EMAN2
    turns about every whole pixel of images at half size. `flip` (the mirrored image) changes nothing.
    """
    return search_with_shifts(image, reference, comparator, about, maxshift, True, 8)


@ALIGNERS.register("rtf_slow_exhaustive", shifts=True, mirrors=True)
def rtf_slow_exhaustive(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    flip: np.ndarray | None = None,
    maxshift: int = -1,
    transtep: float = 1.0,
    angstep: float = -1.0,
) -> Alignment:
    """Turn, shift and mirror.

    EMAN2's rtf_slow_exhaustive: as rotate_translate_flip, within `maxshift` pixels on either axis (0 or less: n/10);
    EMAN2 compares every pose. `flip` (the mirrored image), `transtep` (pixels) and `angstep` (degrees) change nothing.
    """
    return search_with_shifts(image, reference, comparator, about, maxshift, True, 10)
