"""A map and what belongs to it."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.data.grid import Grid


@dataclass(frozen=True)
class Volume:
    """One model's density: `array` (z, y, x) float32 on `grid`, its symmetry, and its number from 0."""

    array: np.ndarray
    grid: Grid
    symmetry: str = "c1"
    model: int = 0
