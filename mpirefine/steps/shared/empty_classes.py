"""Step: maps that few particles chose are made anew, kept or left out; maps that are the same within noise are
named.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.maths.fourier.fsc import fsc
from mpirefine.maths.likelihood.initial_maps import noise_seeds
from mpirefine.steps.shared.seeds import NOISE_STRENGTH
from mpirefine.steps.state import Context, State

# two maps are the same when their FSC is this close to that of each one's halves, on average over the rings in use
SAME_MARGIN = 0.02


def excess(between: np.ndarray, half_a: np.ndarray, half_b: np.ndarray, rings: int) -> float:
    """By how much the FSC of two maps exceeds that expected of two maps of one structure, on average over the rings in
    use.

    A map whose halves agree by F correlates with the truth by √(2F / (1 + F)), so two such maps of one structure
    correlate by the product.
    """
    full = [2 * np.clip(half, 0, 1) / (1 + np.clip(half, 0, 1)) for half in (half_a, half_b)]
    span = slice(1, rings + 1)
    return float(np.mean(between[span]) - np.mean(np.sqrt(full[0] * full[1])[span]))


def likeness(state: State, a: int, b: int) -> float:
    """On rank 0. `excess` of two of the state's maps: about 0 for maps of one structure, negative for different ones,
    or where it is not known.
    """
    halves = state.curves["half_fsc"]
    if np.isnan(halves[[a, b]]).any():
        return -np.inf  # one half is empty: nothing is known
    return excess(fsc(state.volumes[a], state.volumes[b]), halves[a], halves[b], min(state.rings[a], state.rings[b]))


class Guard:
    """Collapse and duplicates; decided on rank 0 from what all ranks know."""

    name = "guard"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        floor = ctx.options.min_share / max(ctx.models - len(state.dropped), 1)
        empty = [m for m, share in enumerate(state.summary["soft"]) if share < floor and m not in state.dropped]
        if len(empty) == ctx.models - len(state.dropped):
            empty.remove(max(empty, key=lambda m: state.summary["soft"][m]))  # one map is always left
        action = ctx.options.on_empty if ctx.models > 1 else "freeze"
        if action == "reseed" and state.iteration >= ctx.options.iter:
            action = "freeze"  # what comes last must come from particles
        volumes, same = state.volumes, None
        with ctx.team.together("looking after empty maps"):
            if ctx.team.is_root:
                volumes = volumes.copy()
                for m in (*empty, *state.dropped):
                    volumes[m] = (
                        anew(state, ctx, m) if action == "reseed" and m not in state.dropped else state.previous[m]
                    )
                same = self._same(state, ctx)
        told = dict(empty=[(m, action) for m in empty], same=ctx.team.bcast(same))
        if action == "drop":
            told["dropped"] = empty
        return replace(state, volumes=volumes, summary=dict(state.summary, **told))

    @staticmethod
    def _same(state: State, ctx: Context) -> list[tuple[int, int]]:
        """On rank 0. Pairs of maps that agree within noise, as they came from the particles."""
        live = [m for m in range(ctx.models) if m not in state.dropped and state.volumes[m].any()]
        return [(a, b) for i, a in enumerate(live) for b in live[i + 1 :] if likeness(state, a, b) >= -SAME_MARGIN]


def anew(state: State, ctx: Context, model: int) -> np.ndarray:
    """On rank 0. The largest map with noise, its own in every iteration and for every map."""
    largest = int(np.argmax(state.summary["soft"]))
    rng = np.random.default_rng([ctx.options.seed, state.iteration, model])
    finest = ctx.grid.resolution(ctx.target_rings)
    seed = noise_seeds(state.volumes[largest], ctx.grid, 2, rng=rng, resolution=finest, strength=NOISE_STRENGTH)[0]
    return (seed * ctx.mask_of(model)).astype(np.float32)
