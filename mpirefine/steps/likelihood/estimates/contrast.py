"""Particles matched to each map by itself: how strong it is in them, and which sign of contrast fits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.maths.likelihood.references import of_map
from mpirefine.steps.likelihood.estimates.map_power import ring_powers
from mpirefine.steps.likelihood.search.candidates import find_candidates
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.state import Context


@dataclass(frozen=True)
class SingleMapMatches:
    """Sampled particles (n) of all ranks matched to each map by itself; some (n') also with inverted contrast."""

    evidence: np.ndarray  # (n, m) log-evidence, as in maths.likelihood.contrast.relative_scales
    cross: np.ndarray  # (n, m) likewise
    power: np.ndarray  # (n, m) likewise
    gain: np.ndarray  # (n', m) log-evidence minus that of the inverted particle
    group: np.ndarray  # (n',) kind of each particle's noise group


def with_equal_power(volumes: np.ndarray, ctx: Context) -> np.ndarray:
    """On rank 0. Maps (m, z, y, x) scaled to equal power on the rings in use."""
    rings = np.arange(ctx.limits.target + 1)
    power = ring_powers(volumes, ctx)[:, : len(rings)] @ rings
    return (volumes / np.sqrt(np.where(power > 0, power, 1))[:, None, None, None]).astype(np.float32)


def match_one_map(
    state: LikelihoodState, ctx: Context, model: int, factor: float, rows: np.ndarray, sign_rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Match own `rows` (n,) to one projected map alone, made `factor` times as strong.

    Returns log-evidence, cross and power (n, 3), and for some of the rows, `sign_rows` (n',), the log-evidence minus
    that of the inverted particle.
    """
    alone = replace(ctx, symmetries=ctx.symmetries[model : model + 1], settings=replace(ctx.settings, temperature=1.0))
    references = of_map(state.projected, model)
    own = replace(
        state,
        volumes=state.root_volumes[model : model + 1] if ctx.team.is_root else None,
        last_rings=state.last_rings[model : model + 1],
        references=references,
        orientations=references.fine.orientations,
        noise=replace(state.noise, scale=factor * state.noise.scale),
    )
    views = np.log(len(own.orientations))  # the prior of each view
    upright = find_candidates(own, alone, rows)
    inverted = find_candidates(own, alone, sign_rows, images=lambda part: -ctx.particles.images(part))
    evidence = upright.model_evidence[:, 0]
    gain = evidence[np.isin(rows, sign_rows)] - inverted.model_evidence[:, 0]
    return np.column_stack([evidence - views, upright.match]), gain


def match_each_map(
    state: LikelihoodState, ctx: Context, factors: np.ndarray, rows: np.ndarray, sign_rows: np.ndarray, kind: np.ndarray
) -> SingleMapMatches:
    """Collective. Match own `rows` to each map by itself, times `factors` (m,); `sign_rows` of them with both signs.

    `kind` (g,) numbers the kinds that noise groups belong to. Returns the matches of all ranks, in order of rank.
    """
    parts = [match_one_map(state, ctx, m, float(factors[m]), rows, sign_rows) for m in range(ctx.models)]
    matches, gain, group = (
        np.concatenate(ctx.team.allgather(part))
        for part in (
            np.stack([part[0] for part in parts], 1),
            np.stack([part[1] for part in parts], 1),
            kind[ctx.particles.table.group[sign_rows]],
        )
    )
    known = np.isfinite(gain).all(axis=1)
    evidence, cross, power = np.moveaxis(matches[np.isfinite(matches).all(axis=(1, 2))], 2, 0)
    return SingleMapMatches(evidence, cross, power, gain[known], group[known])
