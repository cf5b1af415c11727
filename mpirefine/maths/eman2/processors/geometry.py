"""Processors that move pixels without interpolation or change the sampling: shrinking, Fourier resampling, flips, phase
origin.
"""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.base import PROCESSORS, only, single

AXES = "xyz"


def axis_of(axis: str, image: np.ndarray, name: str) -> int:
    """The array axis of x, y or z. Raises ParameterError when the image has none of that name."""
    place = AXES[: image.ndim].find(axis.lower())
    if place < 0 or len(axis) != 1:
        raise ParameterError(f"{name}: axis={axis} is not one of {', '.join(AXES[: image.ndim])}")
    return image.ndim - 1 - place


def blocks(image: np.ndarray, n: int, name: str) -> np.ndarray:
    """Blocks of n pixels along each axis, (..., n^d); incomplete blocks are dropped. Raises ParameterError unless 2 ≤ n
    ≤ box.
    """
    if n < 2 or n > min(image.shape):
        raise ParameterError(f"{name}: n={n} must be 2 or more, and not above the box of {min(image.shape)}")
    size = [m // n for m in image.shape]
    cut = image[tuple(slice(0, m * n) for m in size)]
    split = cut.reshape([part for m in size for part in (m, n)])
    return np.moveaxis(split, range(1, 2 * image.ndim, 2), range(-image.ndim, 0)).reshape(*size, -1)


@PROCESSORS.register("math.meanshrink")
def mean_shrink(image: np.ndarray, pixel: float, *, n: float) -> tuple[np.ndarray, float]:
    """Smaller by a whole number (or 1.5): the mean of each block of pixels.

    EMAN2's math.meanshrink: the mean of `n` pixels along each axis; incomplete blocks are dropped. `n` = 1.5 is for
    images: pixels count 1 and ½ in turn along each axis, and the new box is even. ParameterError for any other
    fraction.
    """
    if n == 1.5:
        return one_and_a_half(image), pixel * 1.5
    if n != int(n):
        raise ParameterError(f"math.meanshrink: n={n:g} must be a whole number or 1.5")
    return single(blocks(image, int(n), "math.meanshrink").mean(axis=-1, dtype=np.float64)), pixel * n


def one_and_a_half(image: np.ndarray) -> np.ndarray:
    """Three pixels to two along each axis: weights 1 and ½, then ½ and 1, divided by their sum within the box."""
    only(2, image, "math.meanshrink with n=1.5")
    weights = []
    for n in image.shape:
        new = (int(n / 1.5) + 1) // 2 * 2
        part = np.zeros((new, n + 2))
        rows = np.arange(new)
        first = (rows * 1.5).astype(int)
        part[rows, first] = np.where(rows % 2, 0.5, 1.0)
        part[rows, first + 1] = np.where(rows % 2, 1.0, 0.5)
        part = part[:, :n]
        weights.append(part / part.sum(axis=1, keepdims=True))
    return single(weights[0] @ image.astype(np.float64) @ weights[1].T)


@PROCESSORS.register("math.medianshrink")
def median_shrink(image: np.ndarray, pixel: float, *, n: int) -> tuple[np.ndarray, float]:
    """Smaller by a whole number: the median of each block of pixels.

    EMAN2's math.medianshrink: the upper median of `n` pixels along each axis; incomplete blocks are dropped.
    """
    values = blocks(image, n, "math.medianshrink")
    middle = values.shape[-1] // 2
    return single(np.partition(values, middle, axis=-1)[..., middle]), pixel * n


@PROCESSORS.register("math.fft.resample")
def fft_resample(image: np.ndarray, pixel: float, *, n: float) -> tuple[np.ndarray, float]:
    """Another sampling of the same Fourier components.

    EMAN2's math.fft.resample: the transform is cut, or padded with zeros, to boxes of round(nx / `n`) pixels and
    transformed back without scaling, so that values grow by n^dimensions. The pixel size is multiplied by nx / round(nx
    / n). ParameterError unless `n` is above 0.
    """
    from scipy import fft

    if n <= 0:
        raise ParameterError(f"math.fft.resample: n={n:g} must be above 0")
    shape = tuple(max(1, int(np.floor(m / n + 0.5))) for m in image.shape)
    spectrum = fft.rfftn(image.astype(np.float64))
    for axis, (old, new) in enumerate(zip(image.shape, shape)):
        half = axis == image.ndim - 1
        kept = np.arange(min(old, new) // 2 + 1) if half else rows_kept(min(old, new), new > old)
        out = np.zeros((*spectrum.shape[:axis], new // 2 + 1 if half else new, *spectrum.shape[axis + 1 :]), complex)
        factor = np.where((2 * np.abs(kept) == old) & (new > old), np.sqrt(0.5), 1.0)
        whole = (slice(None),) * axis
        out[(*whole, kept % out.shape[axis])] = spectrum[(*whole, kept % spectrum.shape[axis])] * factor.reshape(
            -1, *[1] * (image.ndim - 1 - axis)
        )
        spectrum = out
    return single(fft.irfftn(spectrum, s=shape)), pixel * image.shape[-1] / shape[-1]


def rows_kept(n: int, both: bool) -> np.ndarray:
    """Frequencies of a box of n pixels; the Nyquist frequency of even boxes is +n / 2, or, with `both`, ±n / 2."""
    rows = np.arange(n) - (n - 1) // 2
    return np.append(rows, -n // 2) if both and n % 2 == 0 else rows


def about_centre(image: np.ndarray, along: int) -> np.ndarray:
    """Mirrored along an axis, cyclic: pixel n // 2 + k becomes n // 2 − k."""
    return np.roll(np.flip(image, along), 1 - image.shape[along] % 2, along)


@PROCESSORS.register("xform.flip")
def flip(image: np.ndarray, pixel: float, *, axis: str = "x") -> np.ndarray:
    """Mirrored about the centre.

    EMAN2's xform.flip: pixel n // 2 + k becomes n // 2 − k along `axis` (x, y or z); in even boxes pixel 0 has no
    partner and becomes 0.
    """
    along = axis_of(axis, image, "xform.flip")
    out = about_centre(image, along)
    if image.shape[along] % 2 == 0:
        out[(slice(None),) * along + (0,)] = 0
    return single(out)


@PROCESSORS.register("xform.mirror")
def mirror(image: np.ndarray, pixel: float, *, axis: str = "x") -> np.ndarray:
    """Mirrored about the centre, all pixels kept.

    EMAN2's xform.mirror: pixel n // 2 + k becomes n // 2 − k along `axis` (x, y or z), cyclic; in even boxes pixel 0
    stays.
    """
    return single(about_centre(image, axis_of(axis, image, "xform.mirror")))


@PROCESSORS.register("xform.reverse")
def reverse(image: np.ndarray, pixel: float, *, axis: str = "x") -> np.ndarray:
    """All pixels along an axis in reversed order.

    EMAN2's xform.reverse: pixel k becomes n − 1 − k along `axis` (x, y or z). The centre of even boxes moves; see
    xform.flip.
    """
    return single(np.flip(image, axis_of(axis, image, "xform.reverse")))


@PROCESSORS.register("xform.transpose")
def transpose(image: np.ndarray, pixel: float) -> np.ndarray:
    """Rows become columns.

    EMAN2's xform.transpose: pixel (x, y) becomes (y, x).
    """
    only(2, image, "xform.transpose")
    return single(image.T)


@PROCESSORS.register("xform.phaseorigin.tocorner")
def origin_to_corner(image: np.ndarray, pixel: float) -> np.ndarray:
    """The centre moves to pixel 0.

    EMAN2's xform.phaseorigin.tocorner: cyclic, pixel n // 2 becomes 0.
    """
    return single(np.fft.ifftshift(image))


@PROCESSORS.register("xform.phaseorigin.tocenter")
def origin_to_center(image: np.ndarray, pixel: float) -> np.ndarray:
    """Pixel 0 moves to the centre.

    EMAN2's xform.phaseorigin.tocenter: cyclic, pixel 0 becomes n // 2.
    """
    return single(np.fft.fftshift(image))
