"""All processors: importing this module registers them."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.eman2.processors import center, fourier, geometry, masks, normalize, spectrum, threshold, transform
from mpirefine.maths.eman2.processors.registry import PROCESSORS
from mpirefine.registry import Component

MODULES = (center, fourier, geometry, masks, normalize, spectrum, threshold, transform)

__all__ = ["MODULES", "PROCESSORS", "apply"]


def apply(component: Component, image: np.ndarray, apix: float) -> tuple[np.ndarray, float]:
    """What a processor makes of an image or a map of `apix` Å a pixel: the result, float32, and its pixel size."""
    made = component(np.ascontiguousarray(image, np.float32), apix)
    return made if isinstance(made, tuple) else (made, apix)
