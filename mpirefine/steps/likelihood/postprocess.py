"""Step: what the next iteration projects: the solvent masked away, the rest untouched on the particles' absolute grey
scale.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.fourier.fsc import resolution_at
from mpirefine.maths.image.grey_scale import by_mass
from mpirefine.maths.image.masks import auto3d
from mpirefine.steps.state import Context, State

HALF_MAP_FSC = 0.143  # half-map FSC at which a map is said to be resolved (Rosenthal & Henderson 2003)
RING_MARGIN = 1.1  # rings of a map used next: this much beyond its resolution, never beyond --targetres


def automask_values(setting: str) -> tuple[float, int, int, int, int]:
    """EMAN2's five numbers of --automask3d: threshold, radius, nshells, nshellsgauss, nmaxseed. ParameterError when
    they are not.
    """
    try:
        threshold, radius, nshells, nshellsgauss, nmaxseed = setting.split(",")
        return float(threshold), int(radius), int(nshells), int(nshellsgauss), int(nmaxseed)
    except ValueError:
        raise ParameterError(
            f"--automask3d takes five numbers threshold,radius,nshells,nshellsgauss,nmaxseed, not '{setting}'"
        ) from None


def solvent(volume: np.ndarray, model: int, ctx: Context) -> np.ndarray:
    """On rank 0. The mask (z, y, x) of a map: made from its own density with --automask3d (at level 1 of its mass, when
    that is known).
    """
    if not ctx.options.automask3d or not volume.any():
        return ctx.mask_of(model)
    if ctx.mass:
        volume = by_mass(volume, ctx.grid, ctx.mass[model])
    return auto3d(volume, *automask_values(ctx.options.automask3d))


class Postprocess:
    """Masks and resolutions, on rank 0; the numbers all ranks need are broadcast."""

    name = "postprocess"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        volumes, resolution = state.volumes, None
        with ctx.team.together("masking the maps"):
            if ctx.team.is_root:
                resolution = [resolution_at(curve, HALF_MAP_FSC, ctx.grid) for curve in state.curves["half_fsc"]]
                volumes = np.stack([v * solvent(v, m, ctx) for m, v in enumerate(volumes)]).astype(np.float32)
        resolution = ctx.team.bcast(resolution)
        rings = tuple(
            own
            if np.isnan(r)
            else int(np.clip(round(RING_MARGIN * ctx.grid.ring(r)), ctx.least_rings, ctx.target_rings))
            for own, r in zip(state.rings, resolution)
        )
        used = [ctx.grid.resolution(r) for r in state.rings]
        return replace(
            state, volumes=volumes, rings=rings, summary=dict(state.summary, resolution=resolution, matched_to=used)
        )
