"""Particles at the poses of their file: only the map is chosen."""

from __future__ import annotations

from itertools import product

import numpy as np

from mpirefine.data.poses import Candidates
from mpirefine.distribution import reduce
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.likelihood.central_slices import slices
from mpirefine.maths.likelihood.model import ctf_filter, ring_means, transfer
from mpirefine.maths.likelihood.posterior import log_sum_exp
from mpirefine.steps.likelihood.noise import centred_spectrum, chunk_of, full_points
from mpirefine.steps.state import Context, State, amplitude


def at_given_poses(state: State, ctx: Context, rows: np.ndarray) -> Candidates:
    """Collective. One candidate for every map: the log-likelihood at the given pose, averaged into the projection next
    to it.
    """
    table, maps, temperature = ctx.particles.table, ctx.models, ctx.temperature(state.iteration)
    value, live = np.full((len(rows), maps), -np.inf), [m for m in range(maps) if m not in state.dropped]
    points, match = full_points(ctx), np.zeros((len(rows), maps, 2))
    for m in live:
        volume, pixels = (
            reduce.bcast_array(ctx.team, state.volumes[m] if ctx.team.is_root else None),
            pixels_of_rings(ctx, state.rings[m]),
        )
        for start in range(0, len(rows), chunk_of(ctx)):
            span = slice(start, start + chunk_of(ctx))
            own = rows[span]
            ctf = table.ctf.take(own) if table.ctf is not None else None
            scale = amplitude(state, ctx, own)[:, None, None]
            model, curve = (
                scale * slices(volume, table.rotation[own], points, ctx.options.threads),
                transfer(ctf, ctx.grid),
            )
            data = centred_spectrum(ctx.particles.images(own), table.shift[own], points) * ctf_filter(curve, ctf)
            weight = pixels / state.noise.sigma2[table.group[own]]
            for part, values in enumerate(((data * model.conj()).real, np.abs(model * curve) ** 2)):
                match[span, m, part] = (ring_means(values, ctx.grid) * weight).sum(axis=1)
            value[span, m] = match[span, m, 0] - 0.5 * match[span, m, 1]
    reference, angle, mirror = (
        np.full((len(rows), maps), -1, np.int32),
        np.zeros((len(rows), maps), np.float32),
        np.zeros((len(rows), maps), bool),
    )
    for m in live:
        reference[:, m], angle[:, m], mirror[:, m] = nearest(state, m, ctx.symmetries[m], table.rotation[rows])
    reference[ctx.particles.set_aside[rows]] = -1
    shift = np.repeat(table.shift[rows][:, None], maps, axis=1).astype(np.float32)
    chance = np.exp(value - log_sum_exp(value, 1)[:, None])
    return Candidates(
        reference,
        (-value).astype(np.float32),
        value / temperature,
        angle,
        shift,
        mirror,
        value / temperature,
        np.einsum("pm,pmx->px", chance, match),
    )


def pixels_of_rings(ctx: Context, rings: int) -> np.ndarray:
    """(k,) how many pixels of the whole plane a ring has, halved by what a real image's two halves share; 0 beyond
    `rings` and at the origin.

    −½ Σ |X − P|² / σ² over the whole plane counts every independent coefficient, which has two parts of variance σ²/2,
    once.
    """
    ky, kx = ctx.grid.frequencies()
    radius = np.rint(np.hypot(*np.broadcast_arrays(ky * ctx.grid.length, kx * ctx.grid.length))).astype(int)
    both = np.full(radius.shape, 2.0)
    both[:, [0, -1]] = 1
    count = np.bincount(radius.ravel(), both.ravel(), ctx.grid.nx)[: ctx.grid.nx // 2 + 1]
    count[0], count[rings + 1 :] = 0, 0
    return count


def nearest(state: State, model: int, symmetry: str, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row of the map's projection with the view nearest to each rotation (n, 3, 3) or one of its copies, in-plane angle
    and mirror from there.
    """
    part, copies = state.orientations.of_model(model), operations(symmetry)
    own = state.orientations.rotation[part]
    best, found = np.full(len(rotation), -1.0), [np.zeros(len(rotation), kind) for kind in (np.int32, np.float32, bool)]
    for copy, opposite in product(copies, (False, True)):
        turned = rotation @ copy
        cosine = turned[:, 2] @ own[:, 2].T * (-1 if opposite else 1)
        row = cosine.argmax(axis=1)
        sign = np.array([1.0, -1.0, -1.0] if opposite else [1.0, 1.0, 1.0])[:, None]
        away = np.einsum("nij,nkj->nik", turned, own[row] * sign)
        angle = np.arctan2(away[:, 0, 1] - away[:, 1, 0], away[:, 0, 0] + away[:, 1, 1])
        better = cosine.max(axis=1) > best
        best = np.maximum(best, cosine.max(axis=1))
        for old, new in zip(found, (part.start + row, angle, np.full(len(rotation), opposite))):
            old[better] = new[better]
    return found[0], found[1], found[2]
