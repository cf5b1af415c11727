"""--fixed-poses: particles are scored at the poses of their file, and only the map is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np

from mpirefine.data.poses import Candidates
from mpirefine.maths.fourier.ring_averages import ring_means
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.likelihood.central_slices import slices
from mpirefine.maths.likelihood.model import ctf_filter, transfer
from mpirefine.maths.likelihood.posterior import log_sum_exp
from mpirefine.steps.likelihood.search.spectra import centred_spectrum, chunk_of, full_points, pixels_of_rings
from mpirefine.steps.shared.maps import broadcast_map
from mpirefine.steps.state import Context, State, amplitude

Images = Callable[[np.ndarray], np.ndarray]  # own rows (n,) to pixels (n, y, x)


def at_given_poses(state: State, ctx: Context, rows: np.ndarray, images: Images) -> Candidates:
    """Collective. A candidate for each map, with its log-likelihood at the pose of the particle file.

    The particle is averaged into the map's projection nearest to that pose. `images` gives the pixels of own `rows`.
    """
    poses, maps = ctx.particles.given_poses.take(rows), ctx.models
    temperature = ctx.temperature(state.iteration)
    live = state.live
    match = np.stack(
        [
            _likelihood_terms(state, ctx, rows, m, images) if m in live else np.zeros((len(rows), 2))
            for m in range(maps)
        ],
        1,
    )
    value = np.where(np.isin(np.arange(maps), live), match[..., 0] - 0.5 * match[..., 1], -np.inf)
    candidates = Candidates.empty(len(rows), maps, maps)
    for m in live:
        candidates.reference[:, m], candidates.angle[:, m], candidates.mirror[:, m] = nearest_projections(
            state, m, ctx.symmetries[m], poses.rotation
        )
    candidates.reference[ctx.particles.set_aside[rows]] = -1
    chance = np.exp(value - log_sum_exp(value, 1)[:, None])
    return replace(
        candidates,
        score=(-value).astype(np.float32),
        evidence=value / temperature,
        shift=np.repeat(poses.shift[:, None], maps, axis=1).astype(np.float32),
        model_evidence=value / temperature,
        match=np.einsum("pm,pmx->px", chance, match),
    )


def _likelihood_terms(state: State, ctx: Context, rows: np.ndarray, model: int, images: Images) -> np.ndarray:
    """Collective. Σ Re(X (αcP)*)/σ² and Σ |αcP|²/σ² (n, 2) of own `rows` and one map at the poses of the file."""
    table, poses = ctx.particles.table, ctx.particles.given_poses
    points, out = full_points(ctx), np.zeros((len(rows), 2))
    volume = broadcast_map(state, ctx, model)
    pixels = pixels_of_rings(ctx, state.last_rings[model])
    for start in range(0, len(rows), chunk_of(ctx)):
        span = slice(start, start + chunk_of(ctx))
        own = rows[span]
        ctf = ctx.particles.ctf(own)
        scale = amplitude(state, ctx, own)[:, None, None]
        projection = scale * slices(volume, poses.rotation[own], points, ctx.settings.threads)
        curve = transfer(ctf, ctx.grid)
        data = centred_spectrum(images(own), poses.shift[own], points) * ctf_filter(curve, ctf)
        weight = pixels / state.noise.sigma2[table.group[own]]
        for part, values in enumerate(((data * projection.conj()).real, np.abs(projection * curve) ** 2)):
            out[span, part] = (ring_means(values, ctx.grid) * weight).sum(axis=1)
    return out


def nearest_projections(
    state: State, model: int, symmetry: str, rotation: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each rotation (n, 3, 3), the map's projection nearest in view to it or to one of its symmetry copies.

    Returns rows of the list of projections (n,), in-plane angles (n,) in radians from the projection, and mirrors (n,).
    """
    part, copies = state.orientations.of_model(model), operations(symmetry)
    own = state.orientations.rotation[part]
    best, chosen = (
        np.full(len(rotation), -1.0),
        [np.zeros(len(rotation), kind) for kind in (np.int32, np.float32, bool)],
    )
    for copy, opposite in product(copies, (False, True)):
        turned = rotation @ copy
        cosine = turned[:, 2] @ own[:, 2].T * (-1 if opposite else 1)
        row = cosine.argmax(axis=1)
        sign = np.array([1.0, -1.0, -1.0] if opposite else [1.0, 1.0, 1.0])[:, None]
        away = np.einsum("nij,nkj->nik", turned, own[row] * sign)
        angle = np.arctan2(away[:, 0, 1] - away[:, 1, 0], away[:, 0, 0] + away[:, 1, 1])
        better = cosine.max(axis=1) > best
        best = np.maximum(best, cosine.max(axis=1))
        for old, new in zip(chosen, (part.start + row, angle, np.full(len(rotation), opposite))):
            old[better] = new[better]
    return chosen[0], chosen[1], chosen[2]
