"""Before the first assignment: how strong each map is in the particles, and whether both have one sign of contrast."""

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
    """What sampled particles of all ranks say of each map by itself: log-evidence, cross and power (n, m).

    They are as in `maths.likelihood.contrast.relative_scales`. Some particles were also matched with their contrast
    turned: `gain` (n', m) is the log-likelihood that this loses, and `group` (n',) the kind of their noise group.
    """

    evidence: np.ndarray
    cross: np.ndarray
    power: np.ndarray
    gain: np.ndarray
    group: np.ndarray


def with_equal_power(volumes: np.ndarray, ctx: Context) -> np.ndarray:
    """On rank 0. Maps (m, z, y, x) scaled to equal power on the rings in use, whatever grey scale they came with."""
    rings = np.arange(ctx.limits.target + 1)
    power = ring_powers(volumes, ctx)[:, : len(rings)] @ rings
    return (volumes / np.sqrt(np.where(power > 0, power, 1))[:, None, None, None]).astype(np.float32)


def match_one_map(
    state: LikelihoodState, ctx: Context, model: int, factor: float, rows: np.ndarray, both: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Own `rows` in one projected map alone, made `factor` times as strong.

    Returns log-evidence, cross and power (n, 3), and the log-likelihood (n',) that some of the rows, `both`, lose when
    their contrast is turned.
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
    views = np.log(len(own.orientations))
    found = find_candidates(own, alone, rows)
    turned = find_candidates(own, alone, both, images=lambda part: -ctx.particles.images(part))
    straight = found.model_evidence[:, 0]
    return np.column_stack([straight - views, found.match]), straight[np.isin(rows, both)] - turned.model_evidence[:, 0]


def match_each_map(
    state: LikelihoodState, ctx: Context, factors: np.ndarray, rows: np.ndarray, both: np.ndarray, kind: np.ndarray
) -> SingleMapMatches:
    """Collective. Match own `rows` to every map by itself, times `factors` (m,); some of them, `both`, with either
    sign.

    `kind` (g,) is what each noise group counts as. The matches of all ranks, in order of rank.
    """
    parts = [match_one_map(state, ctx, m, float(factors[m]), rows, both) for m in range(ctx.models)]
    matches, gain, group = (
        np.concatenate(ctx.team.allgather(part))
        for part in (
            np.stack([part[0] for part in parts], 1),
            np.stack([part[1] for part in parts], 1),
            kind[ctx.particles.table.group[both]],
        )
    )
    known = np.isfinite(gain).all(axis=1)
    evidence, cross, power = np.moveaxis(matches[np.isfinite(matches).all(axis=(1, 2))], 2, 0)
    return SingleMapMatches(evidence, cross, power, gain[known], group[known])
