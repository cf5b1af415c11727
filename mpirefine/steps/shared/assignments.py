"""Best poses of particles, and what their assignments say of each map: shares, certainty, coverage of views."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.data.poses import Assignments, HardPoses
from mpirefine.distribution import reduce
from mpirefine.maths.geometry.coverage import fourier_coverage
from mpirefine.maths.geometry.symmetry import elements
from mpirefine.maths.likelihood.central_slices import in_plane
from mpirefine.steps.state import AnyState, Context, State

LIKELIHOOD_UNIT = 1 / 4096  # to which log-likelihoods are rounded before they are summed
CERTAINTY_BINS = np.linspace(0, 1, 21)  # of the probability of a particle's own map


def hard_poses(state: State) -> HardPoses:
    """Map, rotation and shift of the best candidate of each own particle."""
    candidates, model = state.candidates, state.assignments.model
    at = np.arange(len(candidates)), state.assignments.best
    views = state.orientations.rotation[candidates.reference[at]]
    rotation = in_plane(views, candidates.angle[at], candidates.mirror[at])
    shift = candidates.shift[at].astype(np.float64)
    if state.origins is not None:  # maps moved after matching: the particles' shifts follow
        shift -= np.einsum("pxy,py->px", rotation, state.origins[np.maximum(model, 0)])[:, :2]
    return HardPoses(model, rotation, shift)


def coverage_of_maps(per_class: np.ndarray, state: State, ctx: Context) -> tuple[float, ...]:
    """(m,) share of the directions of Fourier space that the views sample.

    `per_class` (r,) is the summed weight of the particles of each projection.
    """
    shares = []
    for m, symmetry in enumerate(ctx.symmetries):
        part = state.orientations.of_model(m)
        shares.append(fourier_coverage(state.orientations.rotation[part, 2], per_class[part], elements(symmetry)[0]))
    return tuple(shares)


def with_assignments(state: AnyState, assignments: Assignments, ctx: Context) -> AnyState:
    """Collective. The state with `assignments`, and with what they say of each map in its summary.

    Weights are multiplied by the particles' trust; particles that are held out get weight 0.
    """
    trust, models = state.trust, ctx.models
    weight = assignments.weight * np.where(ctx.held_out, 0, trust)[:, None]
    assignments = replace(assignments, weight=weight.astype(np.float32))
    used, averaged = (assignments.model >= 0) & (trust > 0), (assignments.weight > 0).any(axis=1)
    posterior = assignments.posterior[used].astype(np.float64)
    entropy = -(posterior * np.log(np.maximum(posterior, 1e-300))).sum()
    contributes = assignments.weight > 0
    counts = np.concatenate(
        [
            np.bincount(assignments.model[used], minlength=models).astype(np.float64),
            posterior.sum(axis=0),
            [entropy, used.sum(), contributes.sum(), averaged.sum()],
        ]
    )
    certainty = _certainty(posterior, assignments.model[used], models)
    # summed as integers: decisions rest on it, and it must not depend on the number of ranks
    best = np.take_along_axis(state.candidates.score, assignments.best[:, None], 1)[used, 0]
    likelihood = np.array([np.rint(-best.astype(np.float64) / LIKELIHOOD_UNIT).sum()], np.int64)
    per_class = np.zeros(len(state.orientations))
    np.add.at(per_class, state.candidates.reference[contributes], assignments.weight[contributes])
    for array in (counts, certainty, likelihood, per_class):
        reduce.sum_in_place(ctx.team, array)
    total = max(counts[2 * models + 1], 1)
    summary = replace(
        state.summary,
        particles=int(total),
        hard=tuple((counts[:models] / total).tolist()),
        soft=tuple((counts[models : 2 * models] / total).tolist()),
        certainty=tuple(map(tuple, certainty.tolist())),
        coverage=coverage_of_maps(per_class, state, ctx),
        maps_per_particle=float(np.exp(counts[2 * models] / total)),
        projections_per_particle=float(counts[2 * models + 2] / max(counts[2 * models + 3], 1)),
        likelihood=float(likelihood[0] * LIKELIHOOD_UNIT / total),
    )
    return replace(state, assignments=assignments, summary=summary)


def _certainty(posterior: np.ndarray, model: np.ndarray, models: int) -> np.ndarray:
    """(m, bin) int64 own particles of each map by its probability, from posteriors (n, m) and maps (n,)."""
    rows = [np.histogram(posterior[model == m, m], CERTAINTY_BINS)[0] for m in range(models)]
    return np.stack(rows).astype(np.int64)
