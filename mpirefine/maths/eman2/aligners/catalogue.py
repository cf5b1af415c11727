"""EMAN2's two-dimensional aligners.

An aligner is f(image, reference, comparator, about, *, parameters) -> Alignment: images (n, y, x), one reference for
all or one each; the transforms take each image onto its reference. Those that search angles and shifts together share
one exhaustive search (`alignsearch`), which finds what EMAN2's only approximate: their parameters that steer an
approximation are accepted and change nothing. The comparator decides between the best poses.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.aligners.exhaustive import Poses, Search
from mpirefine.maths.eman2.aligners.refine import Comparator, Scorer, improved, in_parts
from mpirefine.maths.eman2.comparators.pairs import About, stack, transform
from mpirefine.maths.eman2.transforms import Alignment
from mpirefine.registry import Registry

__all__ = ["ALIGNERS", "Alignment"]
ALIGNERS = Registry("aligner")
STEPS_PER_ROUND = 7  # EMAN2's simplex steps that cost what a round of `improved` costs


def limited(maxshift: float, default: float, nx: int) -> float:
    """The largest shift in pixels: `default` for 0 or less, and not beyond the box."""
    return min(maxshift if maxshift > 0 else default, nx // 2 - 1)


@lru_cache(maxsize=8)
def search_of(nx: int, maxshift: float, flip: bool, thread: int) -> Search:
    """A search with its buffers, one for each thread."""
    return Search(nx, maxshift, flip)


def groups(references: np.ndarray, count: int) -> list[np.ndarray]:
    """The pairs that have equal references."""
    if len(references) == 1:
        return [np.arange(count)]
    found: dict[bytes, list[int]] = {}
    for row, reference in enumerate(references):
        found.setdefault(reference.tobytes(), []).append(row)
    return [np.array(rows) for rows in found.values()]


def poses_of(images: np.ndarray, references: np.ndarray, maxshift: float, flip: bool) -> Poses:
    """The best poses of every pair."""
    if images.shape[1] != images.shape[2] or images.shape[1:] != references.shape[1:]:
        raise ParameterError(
            f"images of {images.shape[1:]} and references of {references.shape[1:]} pixels: the box must be one, and "
            "square"
        )
    search = search_of(images.shape[2], maxshift, flip, threading.get_ident())
    rows = groups(references, len(images))
    parts = [search(images[part], references[part[0] if len(references) > 1 else 0]) for part in rows]
    return Poses.joined(parts).take(np.argsort(np.concatenate(rows)))


def searched(
    image: np.ndarray, reference: np.ndarray, comparator: Comparator, about: About, *, maxshift: float, flip: bool
) -> Alignment:
    """The pose that the comparator likes best of those found for each pair."""
    images, out = stack(np.asarray(image)), []
    poses = poses_of(images, stack(np.asarray(reference)), maxshift, flip)
    for part, some, references, known in in_parts(images, reference, about):
        few = poses.take(part)
        count, kept = few.alpha.shape
        flat = few.flat()
        values = Scorer(some, references, comparator, known)(flat, np.repeat(np.arange(count), kept))
        out.append(flat.take(values.reshape(count, kept).argmin(axis=1) + kept * np.arange(count)))
    return joined(out)


def joined(parts: list[Alignment]) -> Alignment:
    """One after the other, angles from −180 to 180."""
    alpha, *rest = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("alpha", "tx", "ty", "mirror", "scale")
    )
    return Alignment(180 - np.remainder(180 - alpha, 360), *rest)


@ALIGNERS.register("translational", shifts=True)
def translational(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    maxshift: int = -1,
    nozero: bool = False,
    masked: bool = False,
    intonly: bool = False,
    useflcf: bool = False,
) -> Alignment:
    """Shift in whole pixels, no turn.

    EMAN2's translational: the peak of the circular cross-correlation within `maxshift` pixels on either axis (0 or
    less: n/4). `nozero`: not within
    one pixel of no shift. `masked`: each value is divided by √Σ b² of the reference where the shifted image is not 0.
    `intonly` changes nothing;
    nor does `useflcf`, since EMAN2's local correlation finds corners of the window.
    """
    from scipy import fft

    images, out = stack(np.asarray(image)), []
    nx = images.shape[-1]
    reach = int(limited(maxshift, nx // 4, nx))
    steps = np.arange(-reach, reach + 1)
    for _, part, references, _ in in_parts(images, reference, about):

        def correlated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return fft.irfft2(transform(a) * transform(b).conj(), s=a.shape[1:])

        map_ = correlated(part, references)
        if masked:
            norm = np.sqrt(np.maximum(correlated(part != 0, np.square(references)), 0))
            map_ = np.where(norm > 0, map_ / np.where(norm > 0, norm, 1), map_)
        if nozero:
            map_[:, [[-1], [0], [1]], [-1, 0, 1]] = 0
        window = map_[:, steps[:, None] % nx, steps % nx].reshape(len(part), -1)
        y, x = np.divmod(window.argmax(axis=1), len(steps))
        out.append(Alignment.of(np.zeros(len(part)), -steps[x], -steps[y]))
    return joined(out)


@ALIGNERS.register("rotational", "rotate_precenter")
def rotational(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    rfp_mode: int = 2,
    zscore: bool = False,
    ambig180: bool = False,
) -> Alignment:
    """Turn about the centre, no shift.

    EMAN2's rotational, by a search of all angles at no shift: EMAN2 takes the angle from translation-free footprints
    modulo 180°. `rfp_mode`,
    `zscore` and `ambig180` change nothing.
    """
    return searched(image, reference, comparator, about, maxshift=0, flip=False)


@ALIGNERS.register("rotational_iterative")
def rotational_iterative(
    image: np.ndarray, reference: np.ndarray, comparator: Comparator, about: About, *, r1: int = -1, r2: int = -1
) -> Alignment:
    """Turn about the centre, no shift.

    EMAN2's rotational_iterative: as rotational. `r1` and `r2` (pixels) change nothing: all radii count.
    """
    return searched(image, reference, comparator, about, maxshift=0, flip=False)


@ALIGNERS.register("rotational_bispec")
def rotational_bispec(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    size: int = 16,
    rfpn: int = 4,
    harmonic: bool = False,
) -> Alignment:
    """Turn about the centre, no shift.

    EMAN2's rotational_bispec: as rotational; EMAN2 takes the angle from bispectral invariants. `size`, `rfpn` and
    `harmonic` change nothing.
    """
    return searched(image, reference, comparator, about, maxshift=0, flip=False)


@ALIGNERS.register("rotate_flip", mirrors=True)
def rotate_flip(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    rfp_mode: int = 2,
    zscore: bool = False,
) -> Alignment:
    """Turn about the centre and mirror, no shift.

    EMAN2's rotate_flip: as rotational, of the image and its mirror image. `rfp_mode` and `zscore` change nothing.
    """
    return searched(image, reference, comparator, about, maxshift=0, flip=True)


def full_search(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    maxshift: float,
    flip: bool,
    default: int = 4,
) -> Alignment:
    """All angles, shifts within `maxshift` (0 or less: n / default) and, with `flip`, both hands."""
    nx = np.shape(image)[-1]
    return searched(image, reference, comparator, about, maxshift=limited(maxshift, nx // default, nx), flip=flip)


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

    EMAN2's rotate_translate: the best pose of all angles and shifts within `maxshift` pixels on either axis (0 or less:
    n/4), finer than a pixel;
    EMAN2 tries two angles from footprints and whole pixels. `nozero`, `rfp_mode`, `useflcf` and `zscore` change
    nothing.
    """
    return full_search(image, reference, comparator, about, maxshift, False)


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
    either axis (0 or less: n/4).
    `flip` (the mirrored image), `usedot`, `rfp_mode`, `useflcf`, `zscore`, `usebispec` and `useharmonic` change
    nothing.
    """
    return full_search(image, reference, comparator, about, maxshift, True)


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
    pixels on either axis (0 or less:
    n/4). EMAN2 descends from small boxes whose first level hardly shifts. `maxres` (Å) and `verbose` change nothing.
    """
    return full_search(image, reference, comparator, about, maxshift, flip)


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
    angle from bispectral
    invariants. `nozero`, `useflcf`, `size`, `rfpn` and `harmonic` change nothing.
    """
    return full_search(image, reference, comparator, about, maxshift, False)


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
    turns `maxiter` times. That,
    `r1`, `r2` (pixels), `nozero` and `useflcf` change nothing.
    """
    return full_search(image, reference, comparator, about, maxshift, False)


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
    (the mirrored image),
    `maxiter`, `r1`, `r2` (pixels), `nozero` and `useflcf` change nothing.
    """
    return full_search(image, reference, comparator, about, maxshift, True)


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
    EMAN2 turns about every whole
    pixel, for dot and ccc. `r1` and `r2` (pixels) change nothing: all radii count.
    """
    return searched(
        image, reference, comparator, about, maxshift=limited(max(tx, ty), 0, np.shape(image)[-1]), flip=False
    )


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
    shift). `r1` and `r2` (pixels)
    change nothing.
    """
    return searched(
        image, reference, comparator, about, maxshift=limited(max(tx, ty), 0, np.shape(image)[-1]), flip=True
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
    turns about every whole pixel of
    images at half size. `flip` (the mirrored image) changes nothing.
    """
    return full_search(image, reference, comparator, about, maxshift, True, 8)


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
    EMAN2 compares every pose.
    `flip` (the mirrored image), `transtep` (pixels) and `angstep` (degrees) change nothing.
    """
    return full_search(image, reference, comparator, about, maxshift, True, 10)


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
    and, if `stepscale` is not 0,
    scale (0.7 to 1.3), from `start` (default: no change), the hand as there. First steps are `stepx`, `stepy` (pixels),
    `stepaz` (degrees) and
    `stepscale`; it ends when steps and moves are below `precision` (pixels, degrees) or after `maxiter` / 7 rounds of
    quadratic models, each about
    7 of EMAN2's simplex steps. Shifts stay within `maxshift` pixels on either axis (0 or less: n/4), or that of the
    start. Never worse than the
    start. `mode`, `snr` and `verbose` change nothing: EMAN2's fast dot product (mode 2) ends far from the best pose.
    """
    images, out = stack(np.asarray(image)), []
    nx = images.shape[-1]
    steps = (stepx, stepy, stepaz, stepscale)[: 4 if stepscale else 3]
    beginning = Alignment.of(np.zeros(len(images))) if start is None else start
    for part, some, references, known in in_parts(images, reference, about):
        first = beginning.take(part)
        limit = np.maximum(limited(maxshift, nx // 4, nx), np.maximum(np.abs(first.tx), np.abs(first.ty)))
        out.append(
            improved(
                Scorer(some, references, comparator, known, mask),
                first,
                limit,
                steps,
                precision,
                -(-maxiter // STEPS_PER_ROUND),
            )
        )
    return joined(out)


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

    EMAN2's refinecg: EMAN2 follows slopes taken over `step`; here it is refine with the first steps of that, its
    `stepscale`, `precision` (pixels,
    degrees), `maxshift` (pixels) and `mask`, and at most `maxiter` rounds. `step`, `mode`, `snr` and `verbose` change
    nothing.
    """
    return refine(
        image,
        reference,
        comparator,
        about,
        start,
        stepscale=stepscale,
        precision=precision,
        maxiter=STEPS_PER_ROUND * maxiter,
        maxshift=maxshift,
        mask=mask,
    )
