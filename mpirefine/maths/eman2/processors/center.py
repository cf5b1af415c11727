"""Processors that find the centre and shift it to pixel n // 2."""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.automask import auto2d, auto3d
from mpirefine.maths.eman2.processors.base import PROCESSORS, mean_and_sigma, offsets, single
from mpirefine.maths.eman2.processors.masks import gaussian
from mpirefine.maths.eman2.processors.normalize import by_circle_mean
from mpirefine.maths.eman2.processors.threshold import below_to_zero, binary
from mpirefine.maths.eman2.processors.transform import shift_pixels, transform_image
from mpirefine.maths.fourier.filters import filtered, gauss

LEAST_BOX = 12  # pixels; xform.center takes means of rings 6 pixels from the border
OBJECT_SHARE = 10  # xform.center looks at the brightest tenth of the box


def centre_of_mass(image: np.ndarray, threshold: float) -> np.ndarray | None:
    """Centre of mass of the pixels at or above a threshold, x, y, z pixels from pixel n // 2; None when their
    sum is 0.
    """
    weight = np.where(image >= threshold, image, 0).astype(np.float64)
    total = weight.sum()
    return np.array([(weight * a).sum() for a in offsets(image.shape)][::-1]) / total if total else None


def towards_centre(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Shifted back by whole pixels, x, y, z order; unchanged when nothing would be left in the box."""
    far = np.abs(pixels) >= np.array(image.shape[::-1]) - 1
    return single(image) if far.any() else shift_pixels(image, [-int(p) for p in pixels])


@PROCESSORS.register("xform.centerofmass")
def center_of_mass(
    image: np.ndarray, pixel: float, *, threshold: float = 0.0, int_shift_only: bool = True
) -> np.ndarray:
    """The centre of mass comes to pixel n // 2.

    EMAN2's xform.centerofmass: Σ v x / Σ v over the pixels with v ≥ `threshold` (above the maximum: mean + sigma
    instead). By whole pixels, or, when `int_shift_only` is off, by linear interpolation; pixels from outside are 0.
    """
    mean, sigma = mean_and_sigma(image)
    place = centre_of_mass(image, threshold if threshold <= image.max() else mean + sigma) if sigma else None
    if place is None:
        return single(image)
    return (
        towards_centre(image, np.floor(place + 0.5))
        if int_shift_only
        else transform_image(image, np.eye(image.ndim), -place)
    )


@PROCESSORS.register("xform.centeracf")
def center_by_self_convolution(image: np.ndarray, pixel: float) -> np.ndarray:
    """The centre of the best two-fold (in a map: inversion) symmetry comes to pixel n // 2.

    EMAN2's xform.centeracf: half the position of the peak of the image convolved with itself, within n / 4 pixels, as
    whole pixels.
    """
    from scipy import fft

    spectrum = fft.rfftn(image.astype(np.float64))
    peaks = fft.irfftn(spectrum**2, s=image.shape)
    reach = [min(n // 4, n // 2 - 1) for n in image.shape]
    near = peaks[np.ix_(*[(np.arange(-r, r + 1) + 2 * (n // 2)) % n for r, n in zip(reach, image.shape)])]
    peak = np.array(np.unravel_index(near.argmax(), near.shape)) - reach
    return shift_pixels(image, [int(np.floor(-p / 2 + 0.5)) for p in peak[::-1]])


@PROCESSORS.register("xform.center")
def center(image: np.ndarray, pixel: float) -> np.ndarray:
    """The bulk of the object comes to pixel n // 2.

    EMAN2's xform.center: the image is high-passed, masked, squared and low-passed; of its brightest tenth, the part
    connected with the middle or with its peaks is taken; its centre of mass, as whole pixels. ParameterError for boxes
    below 12 pixels.
    """
    if min(image.shape) < LEAST_BOX:
        raise ParameterError(f"xform.center: the box {image.shape} must have {LEAST_BOX} pixels or more")
    if not mean_and_sigma(image)[1]:
        return single(image)
    bulk = isolated(image, pixel)
    mean, sigma = mean_and_sigma(bulk)
    threshold = brightest(bulk, mean, mean + 4 * sigma)
    bulk = below_to_zero(bulk, pixel, minval=threshold)
    flood = auto2d if image.ndim == 2 else auto3d
    part = flood(bulk, pixel, radius=image.shape[-1] // 10, threshold=0.9 * threshold, nmaxseed=5)
    silhouette = binary(part, pixel, value=threshold)
    place = centre_of_mass(silhouette if silhouette.std() else bulk, 0.5)
    if place is None:
        return single(image)
    return towards_centre(
        image, np.sign(place) * np.ceil(np.abs(place) - 0.5)
    )  # a centre half-way between pixels stays


def isolated(image: np.ndarray, pixel: float) -> np.ndarray:
    """What xform.center looks at: high-passed, without the rim, strong density of either sign."""
    nx, ny = image.shape[-1], image.shape[-2]
    width = max(nx // 16, 5)
    bulk = filtered(image, lambda f: 1 - gauss((nx // 10 if nx < 50 else 5) / nx)(f))
    bulk = by_circle_mean(bulk, pixel, radius=ny // 2 - 4)
    bulk = gaussian(bulk, pixel, inner_radius=nx // 2 - width, outer_radius=width / 1.3)
    bulk = filtered(bulk * bulk, gauss(0.05))
    return by_circle_mean(bulk, pixel, radius=ny // 2 - 6)


def brightest(image: np.ndarray, low: float, high: float) -> float:
    """The level that a tenth of the pixels exceeds, from EMAN2's histogram of 100 bins from `low` to `high`."""
    bins = np.rint((image - low) / (high - low) * 100).ravel()
    above = np.cumsum(np.bincount(bins[(bins >= 0) & (bins < 100)].astype(int), minlength=100)[::-1])
    found = np.flatnonzero(above > image.size / OBJECT_SHARE)
    place = 99 - int(found[0]) if len(found) else 0
    return (place * high + (99 - place) * low) / 99
