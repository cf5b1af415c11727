"""Before the first iteration: noise, grey scales, sign of contrast and half-sets, from a few particles.

First the particles are matched to each map by itself, with both signs of contrast. That shows how strong the map is in
the particles, whatever its own grey scale, and whether maps and particles have the same sign. Then they are matched to
all maps. That gives noise and grey scale of each noise group, and shows whether both half-sets of the particle file
occur in every map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mpirefine.maths.likelihood.contrast import relative_scales
from mpirefine.maths.likelihood.posterior import assign
from mpirefine.steps.likelihood.estimates.contrast import match_each_map, with_equal_power
from mpirefine.steps.likelihood.estimates.noise import estimate_first_noise, estimate_noise, estimate_scales
from mpirefine.steps.likelihood.estimates.polarity import MOST_GROUPS, check_signs
from mpirefine.steps.likelihood.estimates.trust import weights_by_power
from mpirefine.steps.likelihood.search.candidates import find_candidates
from mpirefine.steps.likelihood.search.references import project_maps
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.shared.assignments import hard_poses
from mpirefine.steps.shared.half_sets import replace_incomplete_half_sets
from mpirefine.steps.shared.samples import sampled_rows
from mpirefine.steps.state import Context, Noise
from mpirefine.steps.workspace import Workspace

SAMPLE, GROUP_SAMPLE = 256, 64  # particles matched to all maps: about so many, and at least of each optics group
ALONE, ALONE_PER_MAP = 64, 16  # particles matched to each map by itself: the larger of this, and this per map
BOTH, BOTH_GROUP = 32, 16  # those of them with both signs of contrast: about, and at least of each optics group
ROUNDS = 3  # most rounds of matching with better scales
SETTLED = 1.15  # largest factor by which settled scales still change


def pilot(state: LikelihoodState, ctx: Context, names: Sequence[str] = ()) -> LikelihoodState:
    """Collective. The state with trust, half-sets, noise, and maps on the particles' grey scale.

    `names` of the maps are for error messages. InputError when particles and maps have opposite contrast.
    """
    state = replace(state, trust=weights_by_power(ctx))
    state = bring_to_relative_scales(state, ctx, names)
    optics = ctx.particles.table.optics_of_group
    with Workspace() as work:
        projected = project_maps(state, ctx, work)
        rows = sampled_rows(ctx, SAMPLE, GROUP_SAMPLE, optics, state.trust)
        sample = replace(projected, candidates=find_candidates(projected, ctx, rows))
        assignments = assign(sample.candidates, sample.orientations.model, sep=ctx.settings.sep, soft=False)
        sample = replace(sample, assignments=assignments)
        half = replace_incomplete_half_sets(ctx, rows, assignments.model, state.half)
        scale = estimate_scales(ctx, sample, rows, sample.candidates.match)
        noise = estimate_noise(ctx, sample, rows, hard_poses(sample), scale)
    state = replace(state, half=half, noise=noise, orientations=projected.orientations)
    return bring_to_particle_scale(state, ctx)


def bring_to_relative_scales(state: LikelihoodState, ctx: Context, names: Sequence[str]) -> LikelihoodState:
    """Collective. The state with maps as strong relative to each other as the particles show, and a first noise.

    InputError when particles and maps have opposite contrast.
    """
    optics = ctx.particles.table.optics_of_group
    kind = optics if optics.max() < MOST_GROUPS else np.zeros_like(optics)
    rows = sampled_rows(ctx, max(ALONE, ALONE_PER_MAP * ctx.models), BOTH_GROUP, kind, state.trust)
    sign_rows = sampled_rows(ctx, BOTH, BOTH_GROUP, kind, state.trust)
    with ctx.team.together("bringing the starting maps to equal power"):
        if ctx.team.is_root:
            state = replace(state, volumes=with_equal_power(state.root_volumes, ctx))
    state = replace(state, noise=estimate_first_noise(ctx, state.volumes, state.trust))
    factors = np.ones(ctx.models)
    with Workspace() as work:
        projected = project_maps(state, ctx, work)
        for attempt in range(ROUNDS if ctx.models > 1 else 1):
            matches = match_each_map(projected, ctx, factors, rows, sign_rows if attempt == 0 else sign_rows[:0], kind)
            if attempt == 0:
                ctx.team.from_root(check_signs, matches, state.volumes, int(kind.max()) + 1, names, ctx)
            if ctx.models == 1:
                break
            change = relative_scales(matches.evidence, matches.cross, matches.power)
            factors = factors * change
            settled = bool(np.abs(np.log(change)).max() < np.log(SETTLED))
            if ctx.team.agree(settled, "whether the maps' scales are settled"):
                break
    if not ctx.team.is_root:
        return state
    return replace(state, volumes=(state.root_volumes * factors[:, None, None, None]).astype(np.float32))


def bring_to_particle_scale(state: LikelihoodState, ctx: Context) -> LikelihoodState:
    """The state with the mean scale of the noise groups moved into the maps: these have the particles' grey scale."""
    mean = float(state.noise.scale.mean())
    volumes = (state.root_volumes * mean).astype(np.float32) if ctx.team.is_root else None
    return replace(state, volumes=volumes, noise=Noise(state.noise.sigma2, state.noise.scale / mean))
