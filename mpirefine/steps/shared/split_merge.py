"""Coarse matching of seeds made from one map: when it has told all it can, and the way out when two states share a map.

Particles that move one by one do not leave a solution in which one state is split over two maps and two states are in
one map. So when they have settled, the two maps that are most alike become one and the largest other map becomes two
(merge and split moves, Ueda et al. 2000): after some iterations the trial is kept if the particles are more likely than
before, or else undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mpirefine.maths.likelihood.initial_maps import noise_seeds
from mpirefine.steps.shared.empty_classes import likeness
from mpirefine.steps.shared.seeds import NOISE_STRENGTH
from mpirefine.steps.state import Context, State

SETTLED_MOVES, SETTLING = 0.03, 3  # few move: below this share, or without gain for this many iterations
MOVES_GAIN = 0.1
COOL = 1.25  # temperature below which particles can be said to have settled
TRIAL = 5  # iterations after which a merge and split is judged
FINE_SHARE, FINE_ITERATIONS = 0.25, 6  # of --iter that is left for finer rings, and how many are enough


@dataclass(frozen=True)
class Phase:
    """Where coarse matching stands: history since the last trial was judged, the open trial (iteration), and how many
    there were.
    """

    since: list[dict[str, Any]]
    open: int | None
    trials: int

    @classmethod
    def of(cls, history: Sequence[dict[str, Any]]) -> Phase:
        tried = [i for i, h in enumerate(history) if h.get("trial")]
        judged = [i for i, h in enumerate(history) if "kept" in h]
        opened = tried[-1] + 1 if len(tried) > len(judged) else None
        return cls(list(history[judged[-1] + 1 if judged else 0 :]), opened, len(tried))


def settled(history: Sequence[dict[str, Any]]) -> bool:
    """Whether few particles move, or as many as some iterations ago."""
    moves = [h["moved"] for h in history if "moved" in h]
    if moves and moves[-1] < SETTLED_MOVES:
        return True
    return len(moves) > SETTLING and min(moves[-SETTLING:]) > min(moves[:-SETTLING]) * (1 - MOVES_GAIN)


def decide(history: Sequence[dict[str, Any]], models: int, temperature: float, iterations: int) -> dict[str, Any]:
    """What to do after the last iteration of `history`, its own included: `coarse` (go on with it?), `trial` (begin
    one), `kept` (was it better?).
    """
    phase, number = Phase.of(history), len(history)
    left = min(FINE_ITERATIONS, round(FINE_SHARE * iterations))
    last_chance = number >= iterations - left
    if phase.open is not None:
        if number < phase.open + TRIAL and not last_chance:
            return dict(coarse=True)
        kept = history[-1]["likelihood"] > history[phase.open - 1]["likelihood"]
        return dict(coarse=kept and not last_chance, kept=kept, back=phase.open)
    if last_chance:
        return dict(coarse=False)
    if temperature > COOL or not settled(phase.since):
        return dict(coarse=True)
    trial = 2 < models and phase.trials < models - 1 and number + TRIAL + left <= iterations
    return dict(coarse=trial, trial=trial)


class Exchange:
    """Begins an iteration with what the one before decided: a merge and split, or the maps from before a trial. What is
    stored stays the result.
    """

    name = "exchange"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        volumes = state.volumes
        with ctx.team.together("exchanging maps"):
            if ctx.team.is_root and state.history:
                volumes = carry_out(state.history[-1], state, ctx)
        return replace(state, volumes=volumes)


def carry_out(decided: dict[str, Any], state: State, ctx: Context) -> np.ndarray:
    """On rank 0. Maps to go on with: those of the state, one freed and another made two of, or those from before a
    trial.
    """
    if decided.get("kept") is False:
        return ctx.run.read_array(decided["back"], "volumes/map")
    if not decided.get("trial"):
        return state.volumes
    freed, split = decided["exchange"]
    resolution = ctx.grid.resolution(ctx.first_rings)
    rng = np.random.default_rng([ctx.options.seed, state.iteration, freed])
    volumes = state.volumes.copy()
    made = noise_seeds(volumes[split], ctx.grid, 2, rng=rng, resolution=resolution, strength=NOISE_STRENGTH)
    for m, one in zip((split, freed), made):
        volumes[m] = one * ctx.mask_of(m)
    return volumes


def exchange(state: State, live: Sequence[int], rings: int) -> tuple[int, int]:
    """On rank 0. Which of the `live` maps is given up, the smaller of the two most alike, and which is made two of, the
    largest of the others.

    How alike maps are is told by the `rings` they were matched on: finer ones hold what their particles' noise put
    there.
    """
    share = state.summary["soft"]
    state = replace(state, rings=tuple(min(own, rings) for own in state.rings))
    pairs = [(a, b) for i, a in enumerate(live) for b in live[i + 1 :]]
    alike = max(pairs, key=lambda pair: likeness(state, *pair))
    others = [m for m in live if m not in alike]
    return min(alike, key=lambda m: share[m]), max(others, key=lambda m: share[m])
