"""Step: maps that few particles chose are replaced, kept or dropped; maps that agree within noise are reported."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from mpirefine.maths.fourier.map_spectrum import fsc_matrix
from mpirefine.maths.image.initial_maps import noise_seeds
from mpirefine.steps.settings import OnEmpty
from mpirefine.steps.shared.likeness import likeness
from mpirefine.steps.shared.seeds import NOISE_STRENGTH
from mpirefine.steps.state import AnyState, Context, State

# two maps are the same when their FSC, averaged over the rings in use, lacks less than this of that of one structure
SAME_MARGIN = 0.02


class EmptyClasses:
    """Replaces, keeps or drops empty maps, and finds maps that agree within noise."""

    name = "guard"

    def run(self, state: AnyState, ctx: Context) -> AnyState:
        """Collective."""
        empty, action = empty_maps(state, ctx), what_to_do(state, ctx)
        same: list[tuple[int, int]] = []
        with ctx.team.together("looking after empty maps"):
            if ctx.team.is_root:
                state = replace(state, curves={**state.curves, "between_fsc": fsc_matrix(state.root_volumes)})
                same = maps_that_agree(state)
                state = with_empty_maps_replaced(state, ctx, empty, action)
        summary = replace(
            state.summary,
            empty=tuple((m, action) for m in empty),
            same=tuple(ctx.team.bcast(same)),
            dropped=tuple(empty) if action == "drop" else (),
        )
        return replace(state, summary=summary)


def empty_maps(state: State, ctx: Context) -> list[int]:
    """Maps with fewer particles than --min-share allows; never all that take part."""
    live, share = state.live, state.summary.soft
    empty = [m for m in live if share[m] < ctx.settings.min_share / max(len(live), 1)]
    if len(empty) == len(live):
        empty.remove(max(empty, key=lambda m: share[m]))
    return empty


def what_to_do(state: State, ctx: Context) -> OnEmpty:
    """What happens to empty maps in this iteration.

    Not "reseed" in the last one, whose maps must come from particles, nor with a single map.
    """
    action: OnEmpty = ctx.settings.on_empty if ctx.models > 1 else "freeze"
    return "freeze" if action == "reseed" and state.iteration >= ctx.settings.iterations else action


def with_empty_maps_replaced(state: AnyState, ctx: Context, empty: list[int], action: OnEmpty) -> AnyState:
    """On rank 0. The state with empty maps as seeds of the largest map, or as they were before the iteration.

    Maps that were dropped earlier stay as they were.
    """
    if not empty and not state.dropped:
        return state
    volumes = state.root_volumes.copy()
    assert state.previous is not None
    for m in (*empty, *state.dropped):
        reseed = action == "reseed" and m not in state.dropped
        volumes[m] = seed_of_largest(state, ctx, m) if reseed else state.previous[m]
    if action == "reseed" and empty and not state.summary.posteriors:
        for m, seed in equal_seeds_of_largest(state, ctx, empty).items():
            volumes[m] = seed
    return replace(state, volumes=volumes, curves={**state.curves, "between_fsc": fsc_matrix(volumes)})


def maps_that_agree(state: State) -> list[tuple[int, int]]:
    """On rank 0. Pairs of maps that agree within noise, before empty ones are replaced."""
    filled = [m for m in state.live if state.root_volumes[m].any()]
    return [(a, b) for a, b in combinations(filled, 2) if likeness(state, a, b, state.finest) >= -SAME_MARGIN]


def equal_seeds_of_largest(state: State, ctx: Context, empty: list[int]) -> dict[int, np.ndarray]:
    """On rank 0. Seeds (z, y, x) for empty maps and for the map with most particles, all of them made from that map by
    noise of the same strength.

    Where a particle goes to the map with the best score, a noisier copy of another map would stay empty.
    """
    largest = int(np.argmax(state.summary.soft))
    rng = np.random.default_rng([ctx.settings.seed, state.iteration, largest])
    finest, maps = ctx.grid.resolution(ctx.limits.target), (largest, *empty)
    seeds = noise_seeds(
        state.root_volumes[largest], ctx.grid, len(maps), rng=rng, resolution=finest, strength=NOISE_STRENGTH
    )
    return {m: (seed * ctx.mask_of(m)).astype(np.float32) for m, seed in zip(maps, seeds)}


def seed_of_largest(state: State, ctx: Context, model: int) -> np.ndarray:
    """On rank 0. The map (z, y, x) with most particles plus noise, masked; noise differs by iteration and `model`."""
    largest = int(np.argmax(state.summary.soft))
    rng = np.random.default_rng([ctx.settings.seed, state.iteration, model])
    finest = ctx.grid.resolution(ctx.limits.target)
    seed = noise_seeds(state.root_volumes[largest], ctx.grid, 2, rng=rng, resolution=finest, strength=NOISE_STRENGTH)[0]
    return (seed * ctx.mask_of(model)).astype(np.float32)
