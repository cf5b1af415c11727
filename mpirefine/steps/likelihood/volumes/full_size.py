"""State and context for maps at the particles' own size: final poses and weights, with the images of the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.maths.fourier.filters import resample
from mpirefine.steps.likelihood.estimates.noise import estimate_first_noise
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.state import Context


def prepare_full_size(
    state: LikelihoodState, ctx: Context, full: Context, model: int
) -> tuple[LikelihoodState, Context]:
    """Collective. One map of the final `state`, which was matched in `ctx`, on the grid and with the images of `full`.

    Noise and grey scale are estimated from the larger images.
    """
    full = for_one_map(ctx, full, model)
    of_map = of_one_map(state, full.grid.nx / ctx.grid.nx, model)
    if full.team.is_root:
        of_map = replace(of_map, volumes=resample(state.root_volumes[model], ctx.grid, full.grid)[None])
    return replace(of_map, noise=estimate_first_noise(full, of_map.volumes, of_map.trust)), full


def for_one_map(ctx: Context, full: Context, model: int) -> Context:
    """The context `full` with one map's symmetry and, on rank 0, its solvent mask."""
    masks = None
    if full.team.is_root:
        masks = np.clip(resample(ctx.mask_of(model), ctx.grid, full.grid), 0, 1)[None]
    return replace(full, symmetries=ctx.symmetries[model : model + 1], masks=masks)


def of_one_map(state: LikelihoodState, magnification: float, model: int) -> LikelihoodState:
    """The state as if a map were the only one; shifts are multiplied by `magnification`, full-size pixels per pixel."""
    part = state.orientations.of_model(model)
    found, assignments = state.candidates, state.assignments
    own = (found.reference >= part.start) & (found.reference < part.stop)
    orientations = replace(
        state.orientations,
        rotation=state.orientations.rotation[part],
        model=np.zeros(part.stop - part.start, np.int32),
    )
    return replace(
        state,
        last_rings=state.last_rings[model : model + 1],
        orientations=orientations,
        candidates=replace(
            found,
            reference=np.where(own, found.reference - part.start, -1).astype(np.int32),
            shift=(found.shift * magnification).astype(np.float32),
        ),
        assignments=replace(assignments, weight=np.where(own, assignments.weight, 0).astype(np.float32)),
        grey=np.ones_like(state.grey),
        curves={},
    )
