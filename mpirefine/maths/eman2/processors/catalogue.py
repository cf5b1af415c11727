"""All processors: importing this module registers them."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.eman2.processors import (
    automask,
    center,
    edge_filters,
    fitted_filters,
    fourier,
    geometry,
    masks,
    normalize,
    spectrum,
    threshold,
    transform,
)
from mpirefine.maths.eman2.processors.base import PROCESSORS
from mpirefine.registry import Component

MODULES = (
    automask,
    center,
    edge_filters,
    fitted_filters,
    fourier,
    geometry,
    masks,
    normalize,
    spectrum,
    threshold,
    transform,
)

__all__ = ["MODULES", "PROCESSORS", "apply"]


def apply(component: Component, image: np.ndarray, apix: float) -> tuple[np.ndarray, float]:
    """The result, float32, of a processor on an image or map of `apix` Å per pixel, and its pixel size."""
    result = component(np.ascontiguousarray(image, np.float32), apix)
    return result if isinstance(result, tuple) else (result, apix)
