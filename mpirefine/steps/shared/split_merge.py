"""Coarse matching of seeds made from one map: when it ends, and trials of merging two maps and splitting another.

Particles that move one by one do not leave a solution in which one state is split over two maps while two states
share one map. So when few particles move any more, the two maps that are most alike become one, and the largest other
map is split in two (merge and split moves, Ueda et al. 2000). After some iterations the trial is kept if the
particles' likelihood is higher than before; otherwise it is undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from mpirefine.steps.shared.likeness import likeness
from mpirefine.steps.state import Context, State
from mpirefine.steps.summary import Coarse, Summary

# particles have settled when fewer than this share change map, or no fewer than this many iterations ago
SETTLED_MOVES, SETTLING = 0.03, 3
MOVES_GAIN = 0.1  # relative decrease of the share of particles that change map, below which it counts as none
COOL = 1.25  # highest temperature at which particles can have settled
TRIAL = 5  # iterations after which a merge and split is judged
FINE_SHARE, FINE_ITERATIONS = 0.25, 6  # share of --iter that is left for finer rings, and iterations that are enough


@dataclass(frozen=True)
class Phase:
    """Where coarse matching stands.

    `since` are the summaries since the last trial was judged, `begun` is the iteration after which the open trial began
    (None: no trial is open), `trials` counts those so far. `restorable` is the iteration whose maps may still have to
    be restored: that of the open trial, or of the one that the last iteration decided to undo.
    """

    since: tuple[Summary, ...]
    begun: int | None
    trials: int
    restorable: int | None

    @classmethod
    def of(cls, history: Sequence[Summary]) -> Phase:
        """After the iterations of `history`."""
        trials = [summary.coarse.trial for summary in history]
        begun = [i for i, trial in enumerate(trials) if trial == "begins"]
        judged = [i for i, trial in enumerate(trials) if trial in ("kept", "undone")]
        still_open = begun[-1] + 1 if len(begun) > len(judged) else None
        restorable = begun[-1] + 1 if begun and trials[-1] == "undone" else still_open
        return cls(tuple(history[judged[-1] + 1 if judged else 0 :]), still_open, len(begun), restorable)


def is_coarse(state: State, ctx: Context) -> bool:
    """Whether this iteration is matched on coarse rings: every iteration before it decided to continue so."""
    return bool(ctx.limits.first) and all(h.coarse.continues for h in state.history)


def is_settled(history: Sequence[Summary]) -> bool:
    """Whether few particles change map, or no fewer than some iterations ago."""
    moves = [summary.motion.moved for summary in history if summary.motion is not None]
    if moves and moves[-1] < SETTLED_MOVES:
        return True
    return len(moves) > SETTLING and min(moves[-SETTLING:]) > min(moves[:-SETTLING]) * (1 - MOVES_GAIN)


def decide_next_phase(history: Sequence[Summary], models: int, temperature: float, iterations: int) -> Coarse:
    """How coarse matching goes on after the iterations of `history`, the present one included.

    `models` maps take part, and the run has at most `iterations`. The maps of a trial are chosen by `choose_maps`.
    """
    phase, number = Phase.of(history), len(history)
    left = min(FINE_ITERATIONS, round(FINE_SHARE * iterations))
    last_chance = number >= iterations - left
    if phase.begun is not None:
        if number < phase.begun + TRIAL and not last_chance:
            return Coarse("coarse")
        kept = history[-1].likelihood > history[phase.begun - 1].likelihood
        return Coarse("coarse" if kept and not last_chance else "last", trial="kept" if kept else "undone")
    if last_chance:
        return Coarse("last")
    if temperature > COOL or not is_settled(phase.since):
        return Coarse("coarse")
    trial = 2 < models and phase.trials < models - 1 and number + TRIAL + left <= iterations
    return Coarse("coarse", trial="begins") if trial else Coarse("last")


def choose_maps(state: State, live: Sequence[int], rings: int) -> tuple[int, int]:
    """On rank 0. The map to give up and the map to split, of those that take part (`live`).

    Given up is the smaller of the two maps most alike; split is the largest of the others. Maps are compared on the
    `rings` that they were matched on: finer ones hold the noise of their particles.
    """
    share = state.summary.soft
    alike = max(combinations(live, 2), key=lambda pair: likeness(state, pair[0], pair[1], rings))
    rest = [m for m in live if m not in alike]
    return min(alike, key=lambda m: share[m]), max(rest, key=lambda m: share[m])
