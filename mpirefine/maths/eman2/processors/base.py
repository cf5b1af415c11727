"""The registry of processors, and what they share.

A processor is f(image, pixel, *, parameters): an image (y, x) or a map (z, y, x), float32, in boxes of any shape, and
its pixel size in Å. It returns a float32 array, or that and a new pixel size. Names and parameters are EMAN2's; an
array parameter is annotated np.ndarray.
"""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.registry import Registry

Processed = np.ndarray | tuple[np.ndarray, float]


def image_of(result: Processed) -> np.ndarray:
    """The image alone of what a processor returns."""
    return result[0] if isinstance(result, tuple) else result


PROCESSORS = Registry("processor")


def single(image: np.ndarray) -> np.ndarray:
    """The array as float32, contiguous."""
    return np.ascontiguousarray(image, np.float32)


def labelled(image: np.ndarray, apix: float | None) -> Processed:
    """The result of a processor with a parameter `apix`, which, if given, becomes the pixel size."""
    return single(image) if apix is None else (single(image), apix)


def only(ndim: int, image: np.ndarray, name: str) -> None:
    """Raises ParameterError unless the image has `ndim` dimensions; `name` is the processor's."""
    if image.ndim != ndim:
        raise ParameterError(
            f"{name} is for {'images' if ndim == 2 else 'maps'}, not for an array of {image.ndim} dimensions"
        )


def mean_and_sigma(image: np.ndarray) -> tuple[float, float]:
    """Mean, and standard deviation with n − 1, as in EMAN2."""
    wide = image.astype(np.float64)
    return float(wide.mean()), float(wide.std(ddof=1))


def offsets(shape: tuple[int, ...], shift: tuple[float, ...] = ()) -> list[np.ndarray]:
    """Coordinates in pixels from pixel n // 2 plus `shift` (x, y, z, as many as there are axes): one sparse float64
    array for each axis.
    """
    moved = (*shift, 0.0, 0.0, 0.0)[: len(shape)][::-1]
    return list(np.meshgrid(*[np.arange(n) - n // 2 - s for n, s in zip(shape, moved)], indexing="ij", sparse=True))


def square_distance(shape: tuple[int, ...], shift: tuple[float, ...] = ()) -> np.ndarray:
    """Squared distance in pixels from pixel n // 2 plus `shift`."""
    return np.asarray(sum(a * a for a in offsets(shape, shift)))
