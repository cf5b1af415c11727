"""Processors that set the grey scale: EMAN2's normalize.*, and filter.ramp."""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.base import PROCESSORS, mean_and_sigma, offsets, only, single, square_distance
from mpirefine.maths.image.grey_scale import mass_level


def scaled(image: np.ndarray, mean: float, sigma: float) -> np.ndarray:
    """(x − mean) / sigma, or the image itself where sigma is 0."""
    return single((image.astype(np.float64) - mean) / sigma) if sigma else single(image)


def edge_mean(image: np.ndarray) -> float:
    """EMAN2's mean of the border: of an image its four border lines, so that corners count twice; of a map its
    outermost voxels, each once.
    """
    if image.ndim == 2:
        return float(np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).mean(dtype=np.float64))
    border = np.ones(image.shape, bool)
    border[tuple(slice(1, -1) for _ in image.shape)] = False
    return float(image[border].mean(dtype=np.float64))


@PROCESSORS.register("normalize")
def standard(image: np.ndarray, pixel: float) -> np.ndarray:
    """Mean 0, standard deviation 1.

    EMAN2's normalize: (x − mean) / sigma, sigma with n − 1.
    """
    return scaled(image, *mean_and_sigma(image))


@PROCESSORS.register("normalize.edgemean")
def by_edge_mean(image: np.ndarray, pixel: float) -> np.ndarray:
    """Mean of the border 0, standard deviation 1.

    EMAN2's normalize.edgemean: (x − border mean) / sigma; corner pixels of an image count twice.
    """
    return scaled(image, edge_mean(image), mean_and_sigma(image)[1])


@PROCESSORS.register("normalize.circlemean")
def by_circle_mean(image: np.ndarray, pixel: float, *, radius: float | None = None, width: float = 2.0) -> np.ndarray:
    """Mean of a ring 0, standard deviation 1.

    EMAN2's normalize.circlemean: (x − mean over `radius` ≤ r < radius + `width`) / sigma, in pixels from pixel n // 2;
    the default radius is ny / 2 − 2, a negative one counts from ny / 2. ParameterError when there is no such pixel.
    """
    half = image.shape[-2] // 2
    inner = image.shape[-2] / 2 - 2 if radius is None else half + radius if radius < 0 else radius
    r2 = square_distance(image.shape)
    ring = image[(r2 >= inner**2) & (r2 < (inner + width) ** 2)]
    if not ring.size:
        raise ParameterError(f"normalize.circlemean: no pixel at radius {inner:g} to {inner + width:g}")
    return scaled(image, float(ring.mean(dtype=np.float64)), mean_and_sigma(image)[1])


@PROCESSORS.register("normalize.lredge")
def by_left_right_edges(image: np.ndarray, pixel: float) -> np.ndarray:
    """Mean of the two leftmost and rightmost columns 0, standard deviation 1.

    EMAN2's normalize.lredge: (x − mean of columns 0, 1, nx − 2, nx − 1) / sigma.
    """
    return scaled(image, float(image[..., [0, 1, -2, -1]].mean(dtype=np.float64)), mean_and_sigma(image)[1])


@PROCESSORS.register("normalize.mask")
def by_mask(image: np.ndarray, pixel: float, *, mask: np.ndarray, no_sigma: bool = False) -> np.ndarray:
    """Mean under a mask 0.

    EMAN2's normalize.mask: x − mean of the pixels where `mask` (an image or map) is above 0.5. Against its name
    `no_sigma` divides by their standard deviation as well. ParameterError for a mask of another shape, or an empty one.
    """
    if mask.shape != image.shape or not (mask > 0.5).any():
        raise ParameterError(
            f"normalize.mask: the mask has shape {mask.shape}, the image {image.shape}, or it is empty"
        )
    mean, sigma = mean_and_sigma(image[mask > 0.5])
    return scaled(image, mean, sigma if no_sigma else 1.0)


@PROCESSORS.register("normalize.unitlen")
def unit_length(image: np.ndarray, pixel: float) -> np.ndarray:
    """Sum of squares 1.

    EMAN2's normalize.unitlen: x / √Σx².
    """
    return scaled(image, 0.0, float(np.sqrt(np.square(image, dtype=np.float64).sum())))


@PROCESSORS.register("normalize.unitsum")
def unit_sum(image: np.ndarray, pixel: float) -> np.ndarray:
    """Sum 1.

    EMAN2's normalize.unitsum: x / Σx.
    """
    return scaled(image, 0.0, float(image.sum(dtype=np.float64)))


@PROCESSORS.register("normalize.maxmin")
def max_min(image: np.ndarray, pixel: float) -> np.ndarray:
    """The highest value 1.

    EMAN2's normalize.maxmin: (x − (max − min) / 2) / ((max + min) / 2). EMAN2 exchanges difference and sum: the least
    value is −1 only where it was 0.
    """
    low, high = float(image.min()), float(image.max())
    return scaled(image, (high - low) / 2, (high + low) / 2)


@PROCESSORS.register("normalize.rows")
def rows(image: np.ndarray, pixel: float) -> np.ndarray:
    """The mean of each row 1.

    EMAN2's normalize.rows: x / mean of its row, where that is above 0; of images only.
    """
    only(2, image, "normalize.rows")
    wide = image.astype(np.float64)
    mean = wide.mean(axis=1, keepdims=True)
    return single(wide / np.where(mean > 0, mean, 1))


@PROCESSORS.register("filter.ramp")
def remove_ramp(image: np.ndarray, pixel: float) -> np.ndarray:
    """Without its slope.

    EMAN2's filter.ramp: the plane a + bx + cy that fits an image best (least squares) is subtracted.
    """
    only(2, image, "filter.ramp")
    ny, nx = image.shape
    wide, (y, x) = image.astype(np.float64), (a - a.mean() for a in offsets(image.shape))
    plane = wide.mean() + x * (wide * x).sum() / (ny * (x * x).sum()) + y * (wide * y).sum() / (nx * (y * y).sum())
    return single(wide - plane)


@PROCESSORS.register("normalize.ramp.normvar")
def ramp_normvar(image: np.ndarray, pixel: float) -> np.ndarray:
    """Without its slope, mean 0 and standard deviation 1 outside a disc.

    EMAN2's normalize.ramp.normvar: filter.ramp, then (x − mean) / sigma of the pixels outside a circle of radius nx //
    2 − 2.
    """
    only(2, image, "normalize.ramp.normvar")
    flat = remove_ramp(image, pixel)
    outside = square_distance(image.shape) > (image.shape[-1] // 2 - 2) ** 2
    return scaled(flat, *mean_and_sigma(flat[outside]))


@PROCESSORS.register("normalize.toimage")
def to_image(
    image: np.ndarray,
    pixel: float,
    *,
    to: np.ndarray,
    ignore_zero: bool = True,
    ignore_lowsig: float = -1.0,
    fourieramp: bool = False,
    low_threshold: float | None = None,
    high_threshold: float | None = None,
) -> np.ndarray:
    """On the grey scale of another image.

    EMAN2's normalize.toimage: a·x + b of the least-squares fit of `to`, pixel by pixel; with `fourieramp` a·x of the
    fit of its Fourier amplitudes. Left out are values that are 0 in either (`ignore_zero`), where `to` is outside
    `low_threshold` .. `high_threshold`, and within `ignore_lowsig` standard deviations of the mean of either.
    ParameterError when shapes differ or too little is left.
    """
    if to.shape != image.shape:
        raise ParameterError(f"normalize.toimage: shapes {image.shape} and {to.shape} differ")
    x, y = (np.abs(np.fft.rfftn(a)) if fourieramp else a.astype(np.float64) for a in (image, to))
    used = (y >= (-np.inf if low_threshold is None else low_threshold)) & (
        y <= (np.inf if high_threshold is None else high_threshold)
    )
    for values in (x, y):
        mean, sigma = mean_and_sigma(values)
        used &= np.abs(values - mean) >= max(ignore_lowsig, 0) * sigma
        used &= (values != 0) | (not ignore_zero)
    if used.sum() < 2 or not np.ptp(x[used]):
        raise ParameterError("normalize.toimage: nothing to fit")
    slope, offset = np.polyfit(x[used], y[used], 1)
    return single(slope * image.astype(np.float64) + (0 if fourieramp else offset))


@PROCESSORS.register("normalize.bymass")
def by_mass(
    image: np.ndarray,
    pixel: float,
    *,
    mass: float,
    thr: float | None = None,
    apix: float | None = None,
    verbose: int = 0,
) -> np.ndarray:
    """A map whose voxels above a level have a given mass.

    EMAN2's normalize.bymass: x · `thr` / t, where the voxels at or above t have `mass` kDa at 0.81 Da/Å³ (1.35 g/ml).
    `thr` is the level after scaling, by default mean + sigma; `apix` (Å) replaces the pixel size. Unchanged where t is
    not positive. `verbose` changes nothing. ParameterError unless mass and pixel size are above 0.
    """
    size = apix or pixel
    if mass <= 0 or size <= 0:
        raise ParameterError(f"normalize.bymass: mass={mass:g} and apix={size:g} must be above 0")
    level = mass_level(image, size, mass)
    return (
        single(image * ((sum(mean_and_sigma(image)) if thr is None else thr) / level)) if level > 0 else single(image)
    )
