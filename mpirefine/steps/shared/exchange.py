"""Step: begin a merge and split of maps, or undo it, as the iteration before decided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.maths.image.initial_maps import noise_seeds
from mpirefine.steps.shared.seeds import NOISE_STRENGTH
from mpirefine.steps.state import AnyState, Context, State
from mpirefine.steps.summary import Coarse


class Exchange:
    """Begins or undoes a merge and split of maps.

    This happens at the start of the next iteration, so that the stored maps of an iteration are its own result.
    """

    name = "exchange"

    def run(self, state: AnyState, ctx: Context) -> AnyState:
        """Collective."""
        coarse = state.history[-1].coarse if state.history else Coarse()
        with ctx.team.together("exchanging maps"):
            if ctx.team.is_root and coarse.trial == "begins":
                state = replace(state, volumes=split_map(state, ctx, coarse), before_trial=state.volumes)
            elif coarse.trial == "undone" and state.before_trial is not None:
                state = replace(state, volumes=state.before_trial, before_trial=None)
            elif coarse.trial == "kept":
                state = replace(state, before_trial=None)
        return state


def split_map(state: State, ctx: Context, coarse: Coarse) -> np.ndarray:
    """On rank 0. Maps (m, z, y, x) of which one is given up and another one split in two, by seeds with noise."""
    resolution = ctx.grid.resolution(ctx.limits.first)
    rng = np.random.default_rng([ctx.settings.seed, state.iteration, coarse.freed])
    volumes = state.root_volumes.copy()
    seeds = noise_seeds(volumes[coarse.split], ctx.grid, 2, rng=rng, resolution=resolution, strength=NOISE_STRENGTH)
    for m, seed in zip((coarse.split, coarse.freed), seeds):
        volumes[m] = seed * ctx.mask_of(m)
    return volumes
