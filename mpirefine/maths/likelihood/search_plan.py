"""How finely to search: angular steps, rings and shifts of the two levels, from the particle's size and the resolution
in use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mpirefine.maths.fourier.polar import PolarGrid, good_length

# A direction that is wrong by Δ moves what lies at the particle's edge by Δ·radius. At half of the step either side,
# these fractions of
# the finest wavelength in use keep the score of the nearest grid point close to its peak. In-plane angles are no
# coarser than directions.
FINE_ARC, COARSE_ARC = 0.5, 0.7
SHIFT_FRACTION = 0.3
# The likelihood of a particle falls by several units within half a fine step: what the best poses are worth is found
# with shorter steps of shift
# and in-plane angle. Directions need none: what they lose is lost for all maps alike.
REFINED = 2


@dataclass(frozen=True)
class Sampling:
    """Sampling of one iteration: coarse and fine steps of directions (degrees), rings, in-plane angles tried, shift
    steps (pixels).

    The grids say where rings are sampled; `fine_angles` and `coarse_angles` are how many in-plane angles are scored,
    which may be fewer. The
    best fine poses are scored again with `refined_angles` and shifts of `refined_step`.
    """

    fine_delta: float
    coarse_delta: float
    fine_grid: PolarGrid
    coarse_grid: PolarGrid
    fine_angles: int
    coarse_angles: int
    refined_angles: int
    fine_step: float
    coarse_step: float
    refined_step: float


@dataclass(frozen=True)
class SearchPlan:
    """What the levels follow from: box and particle radius in pixels, shifts allowed, and what the user fixed."""

    nx: int
    radius: float
    maxshift: float
    delta: float | None = None

    @property
    def full_radius(self) -> float:
        """Radius in pixels of what a shifted particle may cover."""
        return min(self.radius + self.maxshift, self.nx / 2)

    def sampling(self, rings: int) -> Sampling:
        """The two levels when rings 1 .. `rings` are trusted."""
        wave = self.nx / rings
        fine = self.delta or math.degrees(FINE_ARC * wave / self.radius)
        steps = max(1, math.ceil(90 / fine))
        fine, coarse = 90 / steps, 90 / max(1, steps // 2)
        coarse_rings = min(rings, max(4, math.ceil(COARSE_ARC * self.nx / (math.radians(coarse) * self.radius))))
        step = max(1.0, float(round(SHIFT_FRACTION * wave)))
        fine_grid, coarse_grid = self._grid(rings), self._grid(coarse_rings)
        angles = [
            min(grid.n_angles, good_length(math.ceil(360 / delta)))
            for grid, delta in ((fine_grid, fine), (coarse_grid, coarse))
        ]
        refined = good_length(REFINED * angles[0])
        return Sampling(
            fine, coarse, fine_grid, coarse_grid, angles[0], angles[1], refined, step, 2 * step, step / REFINED
        )

    def _grid(self, rings: int) -> PolarGrid:
        return PolarGrid.for_content(self.nx, rings, self.radius, self.full_radius, fast=True)

    def averaging_grid(self) -> PolarGrid:
        """All rings below Nyquist, with the origin, for class sums."""
        return PolarGrid.for_content(self.nx, self.nx // 2 - 1, self.radius, self.full_radius, fast=False, first=0)
