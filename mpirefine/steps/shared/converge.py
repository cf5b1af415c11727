"""Step: how much the iteration changed, and whether to go on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.maths.fourier.fsc import fsc
from mpirefine.steps.likelihood.classify import hard_poses
from mpirefine.steps.shared import split_merge
from mpirefine.steps.state import Context, Poses, State

ANGLE_BINS = np.linspace(0, 180, 721)  # medians over all ranks come from histograms, which sum exactly
SHIFT_BINS = np.linspace(0, 50, 1001)
RESOLUTION_GAIN = 0.01  # a gain smaller than this share of the mean resolution is none
MOVES_GAIN = 0.1  # likewise for the share of particles that changed map ...
FEW_MOVES = 0.005  # ... which is no news below this


def median_of_bins(counts: np.ndarray, edges: np.ndarray) -> float:
    """Median of a histogram, at the middle of its bin; 0 for an empty one."""
    if not counts.sum():
        return 0.0
    bin_ = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    return float((edges[bin_] + edges[bin_ + 1]) / 2)


def changes(ctx: Context, now: Poses, before: Poses) -> dict[str, float]:
    """Collective. Share of particles that changed map, and the median change of view (degrees) and shift (Å) of those
    that did not.
    """
    both = (now.model >= 0) & (before.model >= 0)
    stayed = both & (now.model == before.model)
    cosine = np.einsum("px,px->p", now.rotation[stayed, 2], before.rotation[stayed, 2])
    view = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    moved = np.linalg.norm(now.shift[stayed] - before.shift[stayed], axis=1) * ctx.grid.apix
    counts = [
        np.array([both.sum(), stayed.sum()]),
        np.histogram(view, ANGLE_BINS)[0],
        np.histogram(np.minimum(moved, 50), SHIFT_BINS)[0],
    ]
    counts = [np.ascontiguousarray(c, np.int64) for c in counts]
    for c in counts:
        reduce.sum_in_place(ctx.team, c)
    return dict(
        moved=float((counts[0][0] - counts[0][1]) / max(counts[0][0], 1)),
        view_change=median_of_bins(counts[1], ANGLE_BINS),
        shift_change=median_of_bins(counts[2], SHIFT_BINS),
    )


def verdict(history: list[dict[str, Any]], patience: int) -> str:
    """Why to stop, or nothing: neither the mean resolution nor the share of movers has improved for `patience`
    iterations.
    """
    if patience < 1 or len(history) <= patience:
        return ""
    earlier, late = history[:-patience], history[-patience:]
    best_before, best_now = (
        min((float(np.nanmean(h["resolution"])) for h in part if not np.isnan(h["resolution"]).all()), default=np.inf)
        for part in (earlier, late)
    )
    moves_before = min((h["moved"] for h in earlier if "moved" in h), default=1.0)
    moves_now = min(h["moved"] for h in late)
    if best_now < best_before * (1 - RESOLUTION_GAIN) or (
        moves_now > FEW_MOVES and moves_now < moves_before * (1 - MOVES_GAIN)
    ):
        return ""
    return (
        f"no gain in {patience} iterations: mean resolution {best_now:.2f} Å against {best_before:.2f} Å, "
        f"{100 * moves_now:.1f} % of the particles moved against {100 * moves_before:.1f} %"
    )


class Converge:
    """Curves between maps and iterations, moves, and the decision to stop, which rank 0 takes."""

    name = "converge"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        poses, summary, curves = hard_poses(state), dict(state.summary), dict(state.curves)
        if state.last is not None:
            summary.update(changes(ctx, poses, state.last))
        with ctx.team.together("comparing the maps"):
            if ctx.team.is_root:
                maps = state.volumes
                curves["previous_fsc"] = np.array([fsc(a, b) for a, b in zip(maps, state.previous)])
                curves["between_fsc"] = np.array([[fsc(a, b) for b in maps] for a in maps])
        rings = state.rings
        if ctx.first_rings and all(h.get("coarse") for h in state.history):
            live = [m for m in range(ctx.models) if m not in (*state.dropped, *summary.get("dropped", ()))]
            decided = split_merge.decide(
                [*state.history, summary], len(live), ctx.temperature(state.iteration), ctx.options.iter
            )
            summary.update(ctx.team.agree(decided, "how coarse matching goes on"))
            if summary.get("trial"):
                summary["exchange"] = ctx.team.from_root(split_merge.exchange, state, live, ctx.first_rings)
            rings = tuple(min(r, ctx.first_rings) for r in rings) if summary["coarse"] else rings
        free = [h for h in (*state.history, summary) if "coarse" not in h]
        reason = ctx.team.agree(verdict(free, ctx.options.patience), "whether to stop")
        if reason:
            summary["stopped"] = reason
        return replace(
            state,
            rings=rings,
            last=poses,
            curves=curves,
            summary=summary,
            history=(*state.history, summary),
            converged=bool(reason),
        )
