"""All aligners: importing this module registers them."""

from __future__ import annotations

from mpirefine.maths.eman2.aligners import one_step, refine, rotate_translate, rotate_translate_flip, scaled
from mpirefine.maths.eman2.aligners.base import ALIGNERS

MODULES = (one_step, refine, rotate_translate, rotate_translate_flip, scaled)

__all__ = ["ALIGNERS", "MODULES"]
