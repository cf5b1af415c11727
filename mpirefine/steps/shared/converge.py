"""Step: how much maps and particles changed in the iteration, and whether to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mpirefine.data.poses import HardPoses
from mpirefine.distribution import reduce
from mpirefine.maths.fourier.map_spectrum import MapSpectrum
from mpirefine.maths.geometry.helix import parse_helix
from mpirefine.maths.geometry.symmetry import elements
from mpirefine.steps.shared.assignments import hard_poses
from mpirefine.steps.shared.split_merge import MOVES_GAIN, choose_maps, decide_next_phase, is_coarse
from mpirefine.steps.state import AnyState, Context, State
from mpirefine.steps.summary import Coarse, Motion, Summary

ANGLE_BINS = np.linspace(0, 180, 721)  # degrees; medians over all ranks come from histograms, which sum exactly
SHIFT_BINS = np.linspace(0, 50, 1001)  # Å
RESOLUTION_GAIN = 0.01  # share of the mean resolution by which it must improve to count
FEW_MOVES = 0.005  # share of particles that changed map below which a smaller one is no gain


class Converge:
    """FSC to the iteration before, motion of the particles, and the decision to stop, which rank 0 takes."""

    name = "converge"

    def run(self, state: AnyState, ctx: Context) -> AnyState:
        """Collective."""
        poses, summary = hard_poses(state), state.summary
        if state.last is not None:
            summary = replace(summary, motion=measure_motion(ctx, poses, state.last))
        curves = dict(state.curves)
        with ctx.team.together("comparing the maps"):
            if ctx.team.is_root:
                assert state.previous is not None
                maps = zip(state.root_volumes, state.previous)
                curves["previous_fsc"] = np.array([MapSpectrum.of(a).fsc(MapSpectrum.of(b)) for a, b in maps])
        state = replace(state, curves=curves, summary=summary)
        if is_coarse(state, ctx):
            summary = replace(summary, coarse=coarse_matching(state, ctx))
        rings = state.last_rings
        if summary.coarse.continues:
            rings = tuple(min(r, ctx.limits.first) for r in rings)
        finely_matched = [h for h in (*state.history, summary) if h.coarse.stage == "fine"]
        reason = ctx.team.agree(why_to_stop(finely_matched, ctx.settings.patience), "whether to stop")
        summary = replace(summary, stopped=reason)
        history = (*state.history, summary)
        return replace(state, last_rings=rings, last=poses, summary=summary, history=history, converged=bool(reason))


def coarse_matching(state: State, ctx: Context) -> Coarse:
    """Collective. Whether the next iteration is coarse too, and which maps a merge and split takes.

    Rank 0 chooses the maps.
    """
    live = [m for m in state.live if m not in state.summary.dropped]
    history, temperature = [*state.history, state.summary], ctx.temperature(state.iteration)
    decided = decide_next_phase(history, len(live), temperature, ctx.settings.iterations)
    decided = ctx.team.agree(decided, "how coarse matching goes on")
    if decided.trial == "begins":
        freed, split = ctx.team.from_root(choose_maps, state, live, ctx.limits.first)
        decided = replace(decided, freed=freed, split=split)
    return decided


def measure_motion(ctx: Context, now: HardPoses, before: HardPoses) -> Motion:
    """Collective. How the particles of all ranks moved that have a pose both times; `now`, `before`: own rows."""
    posed = (now.model >= 0) & (before.model >= 0)
    stayed = posed & (now.model == before.model)
    cosine = view_cosines(ctx, now.take(stayed), before.take(stayed))
    view = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    shift = np.linalg.norm(now.shift[stayed] - before.shift[stayed], axis=1) * ctx.grid.apix
    counts = [
        np.array([posed.sum(), stayed.sum()]),
        np.histogram(view, ANGLE_BINS)[0],
        np.histogram(np.minimum(shift, SHIFT_BINS[-1]), SHIFT_BINS)[0],
    ]
    counts = [np.ascontiguousarray(c, np.int64) for c in counts]
    for c in counts:
        reduce.sum_in_place(ctx.team, c)
    (particles, same), views, shifts = counts
    return Motion(
        moved=float((particles - same) / max(particles, 1)),
        view_change=median_of_bins(views, ANGLE_BINS),
        shift_change=median_of_bins(shifts, SHIFT_BINS),
    )


def view_cosines(ctx: Context, now: HardPoses, before: HardPoses) -> np.ndarray:
    """Cosines (p,) of the angles between views of particles that kept their map; a step along a helix is no change."""
    cosine = np.einsum("px,px->p", now.rotation[:, 2], before.rotation[:, 2])
    for m, symmetry in enumerate(ctx.symmetries):
        if parse_helix(symmetry) is not None:
            own = now.model == m
            for turn in elements(symmetry)[0]:
                turned = np.einsum("px,px->p", now.rotation[own, 2], before.rotation[own, 2] @ turn)
                cosine[own] = np.maximum(cosine[own], turned)
    return cosine


def median_of_bins(counts: np.ndarray, edges: np.ndarray) -> float:
    """Median of a histogram (bins,) with `edges` (bins + 1,), at the middle of its bin; 0 for an empty one."""
    if not counts.sum():
        return 0.0
    bin_ = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    return float((edges[bin_] + edges[bin_ + 1]) / 2)


def why_to_stop(history: Sequence[Summary], patience: int) -> str:
    """Why to stop, in words; "" to go on.

    The reason is that for `patience` iterations neither the mean resolution nor the share of particles that change map
    has improved.
    """
    if patience < 1 or len(history) <= patience:
        return ""
    earlier, recent = history[:-patience], history[-patience:]
    best_before, best_now = (_best_resolution(part) for part in (earlier, recent))
    moves_before, moves_now = (_fewest_moves(part) for part in (earlier, recent))
    if best_now < best_before * (1 - RESOLUTION_GAIN):
        return ""
    if moves_now > FEW_MOVES and moves_now < moves_before * (1 - MOVES_GAIN):
        return ""
    return (
        f"no gain in {patience} iterations: mean resolution {best_now:.2f} Å against {best_before:.2f} Å, "
        f"{100 * moves_now:.1f} % of the particles moved against {100 * moves_before:.1f} %"
    )


def _best_resolution(history: Sequence[Summary]) -> float:
    known = [h.resolution for h in history if not np.isnan(h.resolution).all()]
    return min((float(np.nanmean(resolution)) for resolution in known), default=np.inf)


def _fewest_moves(history: Sequence[Summary]) -> float:
    return min((h.motion.moved for h in history if h.motion is not None), default=1.0)
