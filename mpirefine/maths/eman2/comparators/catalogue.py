"""All comparators: importing this module registers them."""

from __future__ import annotations

from mpirefine.maths.eman2.comparators import fourier, likelihood, pixels
from mpirefine.maths.eman2.comparators.base import CMPS

MODULES = (fourier, likelihood, pixels)

__all__ = ["CMPS", "MODULES"]
