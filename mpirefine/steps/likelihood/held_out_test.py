"""Are two maps two states? A p-value for each pair of maps, from the particles that were held out of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from mpirefine.data.poses import HardPoses
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.likelihood.central_slices import in_plane
from mpirefine.maths.likelihood.held_out_test import (
    LEAST_PARTICLES,
    SIGNIFICANT,
    bins,
    floored,
    pair_p_value,
    power_of_test,
    ring_sets,
    strata,
    supported,
)
from mpirefine.steps.likelihood.search.candidates import match_views
from mpirefine.steps.likelihood.search.fixed_poses import Images, at_given_poses
from mpirefine.steps.likelihood.search.references import project_maps
from mpirefine.steps.likelihood.simulation import simulate_own_particles
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.shared.samples import is_trusted
from mpirefine.steps.state import Context, Difference
from mpirefine.steps.workspace import Workspace

NO_WEIGHT = 1e30  # noise power given to rings that are left out, so that they have no weight


def compare_maps(state: LikelihoodState, ctx: Context) -> tuple[Difference, ...]:
    """Collective. Test each pair of maps that take part; no result with one map or without held-out particles.

    The result is the same on all ranks.
    """
    if len(state.live) < 2 or not ctx.held_period:
        return ()
    # copies of an image are no further evidence
    rows = np.flatnonzero(ctx.held_out & is_trusted(ctx, state.trust) & ~ctx.particles.table.repeats)
    pairs = list(combinations(state.live, 2))
    ctx = replace(ctx, settings=replace(ctx.settings, temperature=1.0))
    with Workspace() as work:
        state = project_maps(state, ctx, work)
        evidence, poses = evidence_by_ring_sets(state, ctx, rows, ctx.particles.images)
        best = evidence[0].argmax(axis=1)
        own = [np.flatnonzero(np.isin(best, pair)) for pair in pairs]
        return tuple(
            compare_pair(state, ctx, pair, rows[part], evidence[:, part], poses.take(part), SIGNIFICANT / len(pairs))
            for pair, part in zip(pairs, own)
        )


def compare_pair(
    state: LikelihoodState,
    ctx: Context,
    pair: tuple[int, int],
    rows: np.ndarray,
    evidence: np.ndarray,
    poses: HardPoses,
    significance: float,
) -> Difference:
    """Collective. Test one pair of maps by own `rows` (n,), which prefer these two maps to all others.

    `evidence` (2, n, m) and `poses` (n) are those of `evidence_by_ring_sets`. The power of the test is found only where
    it does not find the maps different at `significance`.
    """
    team, of_pair, structures = ctx.team, evidence[..., list(pair)], None
    with team.together("simulating particles"):
        if team.is_root:
            structures = structures_of_pair(state, ctx, pair)

    def gathered(values: np.ndarray, axis: int) -> np.ndarray:
        return np.concatenate(team.allgather(values), axis=axis)

    def evidence_of(shown: np.ndarray) -> np.ndarray:
        simulated = simulate_own_particles(state, ctx, pair, structures, shown, rows, poses)
        return gathered(evidence_by_ring_sets(state, ctx, rows, simulated.images)[0][..., list(pair)], 1)

    observed, views, (defocus, optics) = (
        gathered(of_pair, 1),
        gathered(poses.rotation[:, 2], 0),
        gathered(imaging_conditions(ctx, rows), 1),
    )
    symmetric = max(len(operations(ctx.symmetries[m])) for m in pair)
    stratum = np.stack([strata(views, symmetric), bins(defocus), optics.astype(int)])
    sizes = np.bincount(observed[0].argmax(axis=1), minlength=2)
    if len(views) < LEAST_PARTICLES or not ring_sets(np.arange(1, state.finest + 1))[1].any():
        return Difference(*pair, None, None, len(views), int(sizes.min()))
    single = evidence_of(np.zeros(len(rows), int))
    p, power = team.from_root(pair_p_value, observed, single, stratum), None
    if p >= significance and team.from_root(have_both_halves, state, pair):
        double = evidence_of(1 + of_pair[1].argmax(axis=1))
        rng = np.random.default_rng([ctx.settings.seed, *pair])
        power = team.from_root(power_of_test, double, single, stratum, significance, rng)
    return Difference(*pair, p, power, len(views), int(sizes.min()))


def have_both_halves(state: LikelihoodState, pair: tuple[int, int]) -> bool:
    """On rank 0. Whether all half-maps of a pair have particles, which tell the noise of the maps' difference."""
    return state.halves is not None and bool(state.halves[list(pair)].any(axis=(2, 3, 4)).all())


def imaging_conditions(ctx: Context, rows: np.ndarray) -> np.ndarray:
    """(2, n) mean defocus in Å (0 without CTF) and optics group of own `rows`."""
    table = ctx.particles.table
    ctf = ctx.particles.ctf(rows)
    defocus = (ctf.defocus_u + ctf.defocus_v) / 2 if ctf is not None else np.zeros(len(rows))
    return np.stack([defocus, table.optics_of_group[table.group[rows]]])


def structures_of_pair(state: LikelihoodState, ctx: Context, pair: tuple[int, int]) -> np.ndarray:
    """On rank 0. Maps (3, z, y, x) to simulate from: the mean of two maps, and the mean ± half of their difference.

    The difference is limited to what the half-maps support.
    """
    assert state.halves is not None
    first, second = (state.root_volumes[m] for m in pair)
    halves = [
        state.halves[pair[0], h] * ctx.mask_of(pair[0]) - state.halves[pair[1], h] * ctx.mask_of(pair[1])
        for h in (0, 1)
    ]
    mean, half = (first + second) / 2, supported(first - second, (halves[0], halves[1])) / 2
    return np.stack([mean, mean + half, mean - half])


def evidence_by_ring_sets(
    state: LikelihoodState, ctx: Context, rows: np.ndarray, images: Images
) -> tuple[np.ndarray, HardPoses]:
    """Collective. Log-evidence (2, n, m) of each map for own `rows` (n,), and the best poses (n).

    The first evidence is by the first set of rings alone; the second, and the poses, are by both sets. `images` gives
    the pixels.
    """
    first, second = ring_sets(np.arange(ctx.grid.nx // 2 + 1))
    search, evidence = at_given_poses if ctx.settings.fixed_poses else match_views, []
    counts = np.log(np.maximum(np.bincount(state.orientations.model, minlength=ctx.models), 1))
    for rings in (first, first | second):
        noise = replace(state.noise, sigma2=np.where(rings, state.noise.sigma2, NO_WEIGHT))
        candidates = search(replace(state, noise=noise), ctx, rows, images)
        evidence.append(floored(candidates.model_evidence - counts))
    at = np.arange(len(rows)), candidates.evidence.argmax(axis=1)
    model = state.orientations.model[candidates.reference[at]]
    if ctx.settings.fixed_poses:
        return np.stack(evidence), replace(ctx.particles.given_poses.take(rows), model=model)
    rotation = in_plane(
        state.orientations.rotation[candidates.reference[at]], candidates.angle[at], candidates.mirror[at]
    )
    return np.stack(evidence), HardPoses(model, rotation, candidates.shift[at].astype(np.float64))
