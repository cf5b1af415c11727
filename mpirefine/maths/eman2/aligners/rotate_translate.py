"""EMAN2's aligners that turn and shift, without mirroring."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.eman2.aligners.base import ALIGNERS, limit_shift, search_poses, search_with_shifts
from mpirefine.maths.eman2.aligners.quadratic import Comparator
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.poses import Alignment


@ALIGNERS.register("rotate_translate", shifts=True)
def rotate_translate(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    maxshift: int = -1,
    nozero: bool = False,
    rfp_mode: int = 2,
    useflcf: bool = False,
    zscore: bool = False,
) -> Alignment:
    """Turn and shift.

    EMAN2's rotate_translate: the best pose of all angles and of all shifts within `maxshift` pixels on either axis (0
    or less: n/4), interpolated between pixels; EMAN2 tries two angles from footprints, and whole pixels. `nozero`,
    `rfp_mode`, `useflcf` and `zscore` change nothing.
    """
    return search_with_shifts(image, reference, comparator, about, maxshift, False)


@ALIGNERS.register("frm2d", shifts=True)
def frm2d(
    image: np.ndarray, reference: np.ndarray, comparator: Comparator, about: About, *, maxshift: int = -1
) -> Alignment:
    """Turn and shift.

    EMAN2's frm2d: as rotate_translate, within `maxshift` pixels (0 or less: n/4); EMAN2 finds two angles and a distance
    by fast rotational matching.
    """
    return search_with_shifts(image, reference, comparator, about, maxshift, False)


@ALIGNERS.register("rotate_translate_bispec", shifts=True)
def rotate_translate_bispec(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    maxshift: int = -1,
    nozero: bool = False,
    useflcf: bool = False,
    size: int = 16,
    rfpn: int = 4,
    harmonic: bool = False,
) -> Alignment:
    """Turn and shift.

    EMAN2's rotate_translate_bispec: as rotate_translate, within `maxshift` pixels (0 or less: n/4); EMAN2 takes the
    angle from bispectral invariants. `nozero`, `useflcf`, `size`, `rfpn` and `harmonic` change nothing.
    """
    return search_with_shifts(image, reference, comparator, about, maxshift, False)


@ALIGNERS.register("rotate_translate_iterative", shifts=True)
def rotate_translate_iterative(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    maxshift: int = -1,
    maxiter: int = 3,
    r1: int = -1,
    r2: int = -1,
    nozero: bool = False,
    useflcf: bool = False,
) -> Alignment:
    """Turn and shift.

    EMAN2's rotate_translate_iterative: as rotate_translate, within `maxshift` pixels (0 or less: n/4); EMAN2 shifts and
    turns in alternation, `maxiter` times. `maxiter`, `r1`, `r2` (pixels), `nozero` and `useflcf` change nothing.
    """
    return search_with_shifts(image, reference, comparator, about, maxshift, False)


@ALIGNERS.register("rotate_translate_resample", shifts=True)
def rotate_translate_resample(
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
    """Turn and shift.

    EMAN2's rotate_translate_resample: as rotate_translate, within the larger of `tx` and `ty` pixels (0: no shift);
    EMAN2 turns about every whole pixel, for dot and ccc. `r1` and `r2` (pixels) change nothing: all radii count.
    """
    return search_poses(
        image, reference, comparator, about, maxshift=limit_shift(max(tx, ty), 0, np.shape(image)[-1]), mirror=False
    )
