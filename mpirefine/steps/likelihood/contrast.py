"""Before the first assignment: how strong each map is in the particles, and whether both have the same sign of
contrast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from mpirefine.maths.geometry.directions import projection_directions
from mpirefine.maths.likelihood.central_slices import slices
from mpirefine.maths.likelihood.contrast import Signs, own_sign, relative_scales, signs
from mpirefine.maths.likelihood.model import ring_means
from mpirefine.steps.likelihood.noise import full_points
from mpirefine.steps.likelihood.project import of_map
from mpirefine.steps.likelihood.simmx import find
from mpirefine.steps.shared.particles import Turned
from mpirefine.steps.state import Context, State

POWER_STEP = 30.0  # degrees between the views a map's power is averaged over


@dataclass(frozen=True)
class Said:
    """What sampled particles of all ranks say of each map by itself, (n, m): log-evidence, cross and power as in
    `maths.contrast.relative_scales`.

    Some of them also say how much less they fit with their contrast turned: `gain` (n', m), and their group (n',).
    """

    evidence: np.ndarray
    cross: np.ndarray
    power: np.ndarray
    gain: np.ndarray
    group: np.ndarray


def ring_powers(volumes: np.ndarray, ctx: Context) -> np.ndarray:
    """(m, k) mean ring power of projections of each map."""
    points, views = full_points(ctx), projection_directions("c1", POWER_STEP)
    return np.stack([ring_means(np.mean(np.abs(slices(v, views, points)) ** 2, axis=0), ctx.grid) for v in volumes])


def levelled(volumes: np.ndarray, ctx: Context) -> np.ndarray:
    """On rank 0. Maps (m, z, y, x) of equal power on the rings in use, whatever grey scale they came with."""
    rings = np.arange(ctx.target_rings + 1)
    power = ring_powers(volumes, ctx)[:, : len(rings)] @ rings
    return (volumes / np.sqrt(np.where(power > 0, power, 1))[:, None, None, None]).astype(np.float32)


def one_map(
    state: State, ctx: Context, model: int, factor: float, rows: np.ndarray, both: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Own `rows` in one map alone, `factor` times as strong as it is: log-evidence, cross and power (n, 3);
    and what `both`, some of
    them, lose when turned (n',). Maps were projected before.
    """
    alone = replace(
        ctx,
        symmetries=ctx.symmetries[model : model + 1],
        options=replace(ctx.options, temperature=1.0),
        references=of_map(ctx.references, model),
    )
    own = replace(
        state,
        volumes=state.volumes[model : model + 1] if ctx.team.is_root else None,
        rings=state.rings[model : model + 1],
        orientations=alone.references.fine.orientations,
        noise=replace(state.noise, scale=factor * state.noise.scale),
    )
    views = np.log(len(own.orientations))
    found = find(own, alone, rows)
    turned = find(own, replace(alone, particles=cast(Any, Turned(ctx.particles))), both)
    straight = found.model_evidence[:, 0]
    return np.column_stack([straight - views, found.match]), straight[np.isin(rows, both)] - turned.model_evidence[:, 0]


def ask(state: State, ctx: Context, factors: np.ndarray, rows: np.ndarray, both: np.ndarray, kind: np.ndarray) -> Said:
    """Collective. Own `rows` against every map by itself, times `factors` (m,), some of them (`both`) with either sign;
    what all ranks found, in
    order of rank. `kind` (g,) is what each noise group counts as.
    """
    parts = [one_map(state, ctx, m, float(factors[m]), rows, both) for m in range(ctx.models)]
    table = ctx.particles.table
    said, gain, group = (
        np.concatenate(ctx.team.allgather(part))
        for part in (
            np.stack([part[0] for part in parts], 1),
            np.stack([part[1] for part in parts], 1),
            kind[table.group[both]],
        )
    )
    known = np.isfinite(gain).all(axis=1)
    evidence, cross, power = np.moveaxis(said[np.isfinite(said).all(axis=(1, 2))], 2, 0)
    return Said(evidence, cross, power, gain[known], group[known])


def scales(said: Said) -> np.ndarray:
    """(m,) see `maths.contrast.relative_scales`."""
    return relative_scales(said.evidence, said.cross, said.power)


def polarity(said: Said, volumes: np.ndarray, groups: int) -> tuple[Signs, np.ndarray]:
    """On rank 0. Signs of groups and maps, and the sign each map has by its own look."""
    own = np.array([own_sign(v) for v in volumes])
    return signs(said.gain, said.group, groups, own), own
