"""Step: candidates to assignments, and what they say of each map: shares, certainty."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.maths.assign import assign
from mpirefine.maths.project import in_plane
from mpirefine.steps.base import Context, Poses, State

CERTAINTY_BINS = np.linspace(0, 1, 21)       # of the probability of a particle's own map


def hard_poses(state: State) -> Poses:
    """Map, rotation and shift of the best candidate of each own particle."""
    found, best = state.candidates, state.assignments.best
    row = np.arange(len(found))
    turned = in_plane(state.orientations.rotation[found.reference[row, best]], found.angle[row, best], found.mirror[row, best])
    return Poses(state.assignments.model, turned, found.shift[row, best].astype(np.float64))


class Classify:
    """Best projections and posterior of every particle; counts are summed over ranks."""

    name = "classify"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        assignments = assign(state.candidates, state.orientations.model, sep=ctx.options.sep, soft=ctx.options.assign == "soft")
        models = ctx.models
        used = assignments.model >= 0
        posterior = assignments.posterior[used].astype(np.float64)
        entropy = -(posterior * np.log(np.maximum(posterior, 1e-300))).sum()
        counts = np.concatenate([np.bincount(assignments.model[used], minlength=models).astype(np.float64), posterior.sum(axis=0),
                                 [entropy, used.sum(), (assignments.weight > 0).sum()]])
        certainty = np.stack([np.histogram(posterior[assignments.model[used] == m, m], CERTAINTY_BINS)[0] for m in range(models)]).astype(np.int64)
        reduce.sum_in_place(ctx.team, counts)
        reduce.sum_in_place(ctx.team, certainty)
        total = max(counts[2 * models + 1], 1)
        summary = dict(state.summary, hard=(counts[:models] / total).tolist(), soft=(counts[models:2 * models] / total).tolist(),
                       certainty=certainty.tolist(),
                       classes_per_particle=float(np.exp(counts[2 * models] / total)), particles=int(total),
                       projections_per_particle=float(counts[2 * models + 2] / total))
        return replace(state, assignments=assignments, summary=summary)
