"""Processors that look at one pixel at a time: EMAN2's threshold.*."""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.base import PROCESSORS, mean_and_sigma, single


@PROCESSORS.register("threshold.belowtozero")
def below_to_zero(image: np.ndarray, pixel: float, *, minval: float = 0.0) -> np.ndarray:
    """Zero below a value.

    EMAN2's threshold.belowtozero: x where x ≥ `minval`, else 0.
    """
    return single(np.where(image < np.float32(minval), 0, image))


@PROCESSORS.register("threshold.abovetozero")
def above_to_zero(image: np.ndarray, pixel: float, *, maxval: float = 0.0) -> np.ndarray:
    """Zero above a value.

    EMAN2's threshold.abovetozero: x where x ≤ `maxval`, else 0.
    """
    return single(np.where(image > np.float32(maxval), 0, image))


@PROCESSORS.register("threshold.belowtominval")
def below_to_minval(image: np.ndarray, pixel: float, *, minval: float = 0.0, newval: float | None = None) -> np.ndarray:
    """A least value.

    EMAN2's threshold.belowtominval: x where x ≥ `minval`, else `newval` (default: `minval`).
    """
    return single(np.where(image < np.float32(minval), minval if newval is None else newval, image))


@PROCESSORS.register("threshold.belowtozero_cut")
def cut_to_zero(image: np.ndarray, pixel: float, *, minval: float = 0.0) -> np.ndarray:
    """The height above a value.

    EMAN2's threshold.belowtozero_cut: x − `minval` where x ≥ `minval`, else 0.
    """
    return single(np.maximum(image - np.float32(minval), 0))


@PROCESSORS.register("threshold.binary")
def binary(image: np.ndarray, pixel: float, *, value: float = 0.0) -> np.ndarray:
    """One at or above a value, zero below.

    EMAN2's threshold.binary: 1 where x ≥ `value`, else 0.
    """
    return single(image >= np.float32(value))


@PROCESSORS.register("threshold.binaryrange")
def binary_range(image: np.ndarray, pixel: float, *, low: float, high: float) -> np.ndarray:
    """One within a range, zero outside.

    EMAN2's threshold.binaryrange: 1 where `low` ≤ x ≤ `high`, else 0.
    """
    return single((image >= np.float32(low)) & (image <= np.float32(high)))


@PROCESSORS.register("threshold.notzero")
def not_zero(image: np.ndarray, pixel: float) -> np.ndarray:
    """One where an image is not zero.

    EMAN2's threshold.notzero: 0 where x = 0, else 1.
    """
    return single(image != 0)


@PROCESSORS.register("threshold.compress")
def compress(image: np.ndarray, pixel: float, *, range: float, value: float = 0.0) -> np.ndarray:
    """Values near one value become it, all others move towards it.

    EMAN2's threshold.compress: `value` where |x − value| ≤ `range`; x − range above, x + range below.
    """
    low, high = np.float32(value - range), np.float32(value + range)
    return single(np.select([image > high, image < low], [image - np.float32(range), image + np.float32(range)], value))


@PROCESSORS.register("threshold.clampminmax")
def clamp(
    image: np.ndarray,
    pixel: float,
    *,
    minval: float = 0.0,
    maxval: float = 1.0,
    tomean: bool = False,
    tozero: bool = False,
) -> np.ndarray:
    """No value outside a range.

    EMAN2's threshold.clampminmax: values below `minval` become minval, those above `maxval` maxval; or both the mean of
    the image (`tomean`), or zero (`tozero`). ParameterError when minval is above maxval.
    """
    if maxval < minval:
        raise ParameterError(f"threshold.clampminmax: minval={minval:g} is above maxval={maxval:g}")
    low, high = (0.0, 0.0) if tozero else (mean_and_sigma(image)[0],) * 2 if tomean else (minval, maxval)
    return single(np.select([image < np.float32(minval), image > np.float32(maxval)], [low, high], image))


@PROCESSORS.register("threshold.clampminmax.nsigma")
def clamp_nsigma(
    image: np.ndarray, pixel: float, *, nsigma: float = 2.0, tomean: bool = False, tozero: bool = False
) -> np.ndarray:
    """No value far from the mean.

    EMAN2's threshold.clampminmax.nsigma: threshold.clampminmax at mean ± `nsigma` standard deviations; values outside
    become these limits, or the mean (`tomean`), or zero (`tozero`).
    """
    mean, sigma = mean_and_sigma(image)
    return clamp(image, pixel, minval=mean - nsigma * sigma, maxval=mean + nsigma * sigma, tomean=tomean, tozero=tozero)
