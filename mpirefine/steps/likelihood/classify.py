"""Step: candidates to assignments, and what they say of each map: shares, certainty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.data.keys import HANDED_OUT, uniform
from mpirefine.data.poses import Assignments, Candidates
from mpirefine.distribution import reduce
from mpirefine.maths.geometry.coverage import fourier_coverage
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.likelihood.central_slices import in_plane
from mpirefine.maths.likelihood.posterior import assign, log_sum_exp
from mpirefine.steps.state import Context, Poses, State

LIKELIHOOD_UNIT = 1 / 4096
CERTAINTY_BINS = np.linspace(0, 1, 21)  # of the probability of a particle's own map


def hard_poses(state: State) -> Poses:
    """Map, rotation and shift of the best candidate of each own particle."""
    found, best = state.candidates, state.assignments.best
    row = np.arange(len(found))
    turned = in_plane(
        state.orientations.rotation[found.reference[row, best]], found.angle[row, best], found.mirror[row, best]
    )
    shift = found.shift[row, best].astype(np.float64)
    if state.origins is not None:
        shift -= np.einsum("pxy,py->px", turned, state.origins[np.maximum(state.assignments.model, 0)])[:, :2]
    return Poses(state.assignments.model, turned, shift)


def hands_out(state: State, ctx: Context) -> bool:
    """Whether particles are dealt over maps at random: in the first iteration of seeds that are alike."""
    return bool(ctx.options.seeds_from == "random-subsets" and ctx.options.nmodels and state.iteration == 1)


def handed_out(state: State, ctx: Context) -> Candidates:
    """Candidates with every particle's map replaced by one drawn for it: the maps are alike, so its views hold for all
    of them.
    """
    found, start = state.candidates, np.array([state.orientations.of_model(m).start for m in range(ctx.models)])
    drawn = (uniform(ctx.particles.table.key, HANDED_OUT) * ctx.models).astype(int)
    used = found.reference >= 0
    own = state.orientations.model[found.reference]
    evidence = np.full_like(found.model_evidence, -np.inf)
    evidence[np.arange(len(found)), drawn] = log_sum_exp(found.model_evidence, 1)
    moved = np.where(used, found.reference - start[own] + start[drawn][:, None], -1)
    return replace(found, reference=moved.astype(np.int32), model_evidence=evidence)


def coverage(per_class: np.ndarray, state: State, ctx: Context) -> list[float]:
    """Share of Fourier directions of each map that its particles' views sample; from the particles of every class, on
    all ranks.
    """
    found = []
    for m, symmetry in enumerate(ctx.symmetries):
        part = state.orientations.of_model(m)
        found.append(fourier_coverage(state.orientations.rotation[part, 2], per_class[part], operations(symmetry)))
    return found


class Classify:
    """Best projections and posterior of every particle; counts are summed over ranks."""

    name = "classify"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        if hands_out(state, ctx):
            state = replace(state, candidates=handed_out(state, ctx))
        assignments = assign(
            state.candidates, state.orientations.model, sep=ctx.options.sep, soft=ctx.options.assign == "soft"
        )
        return counted(state, assignments, ctx)


def counted(state: State, assignments: Assignments, ctx: Context) -> State:
    """Collective. The state with its assignments, the weights less what is not trusted or held out, and what they say
    of each map.
    """
    trust = np.ones(len(ctx.particles), np.float32) if state.trust is None else state.trust
    weight = assignments.weight * np.where(ctx.held_out, 0, trust)[:, None]
    assignments, models = replace(assignments, weight=weight.astype(np.float32)), ctx.models
    used, averaged = (assignments.model >= 0) & (trust > 0), (assignments.weight > 0).any(axis=1)
    posterior = assignments.posterior[used].astype(np.float64)
    entropy = -(posterior * np.log(np.maximum(posterior, 1e-300))).sum()
    counts = np.concatenate(
        [
            np.bincount(assignments.model[used], minlength=models).astype(np.float64),
            posterior.sum(axis=0),
            [entropy, used.sum(), (assignments.weight > 0).sum(), averaged.sum()],
        ]
    )
    certainty = np.stack(
        [np.histogram(posterior[assignments.model[used] == m, m], CERTAINTY_BINS)[0] for m in range(models)]
    ).astype(np.int64)
    # as an integer, whose sum does not depend on the ranks: decisions rest on it
    best = np.take_along_axis(state.candidates.score, assignments.best[:, None], 1)[used, 0]
    likelihood = np.array([np.rint(-best.astype(np.float64) / LIKELIHOOD_UNIT).sum()], np.int64)
    per_class = np.zeros(len(state.orientations))
    contributes = assignments.weight > 0
    np.add.at(per_class, state.candidates.reference[contributes], assignments.weight[contributes])
    for array in (counts, certainty, likelihood, per_class):
        reduce.sum_in_place(ctx.team, array)
    total = max(counts[2 * models + 1], 1)
    summary = dict(
        state.summary,
        hard=(counts[:models] / total).tolist(),
        soft=(counts[models : 2 * models] / total).tolist(),
        certainty=certainty.tolist(),
        coverage=coverage(per_class, state, ctx),
        classes_per_particle=float(np.exp(counts[2 * models] / total)),
        particles=int(total),
        likelihood=float(likelihood[0] * LIKELIHOOD_UNIT / total),
        projections_per_particle=float(counts[2 * models + 2] / max(counts[2 * models + 3], 1)),
    )
    return replace(state, assignments=assignments, summary=summary)
