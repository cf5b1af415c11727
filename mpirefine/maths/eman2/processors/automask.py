"""Masks that follow the density: EMAN2's mask.auto2d, mask.auto3d, and what they are composed of."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.eman2.processors.base import PROCESSORS, mean_and_sigma, only, single
from mpirefine.maths.image import masks as shapes


@PROCESSORS.register("mask.onlypeaks")
def only_peaks(image: np.ndarray, pixel: float, *, npeaks: int = 0) -> np.ndarray:
    """Local maxima, zero elsewhere.

    EMAN2's mask.onlypeaks: a pixel becomes 0 if more than `npeaks` (0 is 1) pixels of its neighbourhood of 3 on each
    axis, itself included, are not lower. The outermost pixels are kept.
    """
    lower = np.zeros(image.shape, int)
    for step in np.ndindex((3,) * image.ndim):
        lower += np.roll(image, [s - 1 for s in step], range(image.ndim)) >= image
    return single(np.where(shapes.interior(image.shape) & (lower > (npeaks or 1)), 0, image))


@PROCESSORS.register("mask.addshells")
def add_shells(image: np.ndarray, pixel: float, *, nshells: int = 1) -> np.ndarray:
    """A mask grown by shells.

    EMAN2's mask.addshells: 1 where the image is not 0 and in `nshells` shells of neighbours over faces; the outermost
    pixels are not entered.
    """
    return single(shapes.grown(image != 0, nshells))


@PROCESSORS.register("mask.addshells.gauss")
def add_shells_gauss(image: np.ndarray, pixel: float, *, val1: int = 0, val2: int = 0) -> np.ndarray:
    """A mask grown by shells with a Gaussian edge.

    EMAN2's mask.addshells.gauss: 1 where the image is not 0 and in `val1` shells of neighbours over faces; then `val2`
    shells more, shell i from 0 exp(−(2i/val2)²). The outermost pixels are not entered.
    """
    mask = shapes.grown(image != 0, val1)
    out = mask.astype(np.float32)
    for i in range(val2):
        wider = shapes.grown(mask, 1)
        out[wider & ~mask] = np.exp(-((2 * i / val2) ** 2))
        mask = wider
    return out


def flood_level(image: np.ndarray, threshold: float | None, sigma: float | None) -> float:
    """The level that bounds a flood: the threshold, or mean + sigma standard deviations, which is preferred."""
    if sigma is None:
        return 0.0 if threshold is None else float(np.float32(threshold))
    mean, deviation = mean_and_sigma(image)
    return mean + sigma * deviation


def apply_mask(image: np.ndarray, mask: np.ndarray, return_mask: bool) -> np.ndarray:
    """The mask itself, or the image times the mask."""
    return single(mask if return_mask else image * mask)


@PROCESSORS.register("mask.auto3d")
def auto3d(
    image: np.ndarray,
    pixel: float,
    *,
    threshold: float | None = None,
    sigma: float | None = None,
    radius: int = 0,
    nmaxseed: int = 0,
    nshells: int = 0,
    nshellsgauss: int = 0,
    return_mask: bool = False,
    verbose: int = 0,
) -> np.ndarray:
    """What is connected above a level in a map, with a soft edge.

    EMAN2's mask.auto3d: a flood over faces from the voxels at or above `threshold` (or mean + `sigma` standard
    deviations) within `radius` voxels of the centre and from the `nmaxseed` highest ones, through all voxels above it;
    `nshells` + `nshellsgauss` / 2 shells are added; a Gaussian low-pass with 1/e at 1 / nshellsgauss per voxel follows,
    and values below 0.002 become 0. `return_mask`: the mask itself. `verbose` changes nothing.
    """
    only(3, image, "mask.auto3d")
    mask = shapes.auto3d(image, flood_level(image, threshold, sigma), radius, nshells, nshellsgauss, nmaxseed)
    return apply_mask(image, mask, return_mask)


@PROCESSORS.register("mask.auto3d.thresh")
def auto3d_thresh(
    image: np.ndarray,
    pixel: float,
    *,
    threshold1: float,
    threshold2: float,
    nshells: int = 0,
    nshellsgauss: int = 0,
    return_mask: bool = False,
    verbose: int = 0,
) -> np.ndarray:
    """What is connected above a low level with something above a high one.

    EMAN2's mask.auto3d.thresh: mask.auto3d (`nshells`, `nshellsgauss`, `return_mask`) whose flood starts from all
    voxels at or above `threshold1` and goes through those above `threshold2`. `verbose` changes nothing.
    """
    only(3, image, "mask.auto3d.thresh")
    mask = shapes.softened(
        shapes.flood(image, image >= np.float32(threshold1), float(np.float32(threshold2))), nshells, nshellsgauss
    )
    return apply_mask(image, mask, return_mask)


@PROCESSORS.register("mask.auto2d")
def auto2d(
    image: np.ndarray,
    pixel: float,
    *,
    threshold: float | None = None,
    sigma: float | None = None,
    radius: int = 0,
    nmaxseed: int = 0,
    nshells: int = 0,
    nshellsgauss: int = 0,
    return_mask: bool = False,
    verbose: int = 0,
) -> np.ndarray:
    """What is connected above a level in an image, with a soft edge.

    EMAN2's mask.auto2d: a flood over edges from the pixels at or above `threshold` (or mean + `sigma` standard
    deviations) within `radius` pixels of the centre and from the `nmaxseed` highest local maxima, through all pixels
    above it; mask.addshells.gauss with `nshells` and `nshellsgauss` follows. `return_mask`: the mask itself. `verbose`
    changes nothing.
    """
    only(2, image, "mask.auto2d")
    edge = flood_level(image, threshold, sigma)
    peaks = shapes.highest(only_peaks(image, pixel), nmaxseed)
    peaks[0], peaks[:, 0] = False, False
    seeds = (image >= edge) & shapes.ball(image.shape, radius) | peaks
    mask = add_shells_gauss(shapes.flood(image, seeds, edge), pixel, val1=nshells, val2=nshellsgauss)
    return apply_mask(image, mask, return_mask)
