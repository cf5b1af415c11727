"""Is the split real? A p-value for every pair of maps, from the particles that were held out of them."""
from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, cast

import numpy as np

from mpirefine.data.particles import ParticleTable
from mpirefine.distribution import reduce
from mpirefine.maths.difference import floored, pair_p_value, ring_sets, strata
from mpirefine.maths.likelihood import on_shells, transfer
from mpirefine.maths.project import in_plane, slices
from mpirefine.maths.symmetry import operations
from mpirefine.steps.base import Context, Poses, State, amplitude
from mpirefine.steps.fixed import at_given_poses
from mpirefine.steps.noise import chunk_of, full_points, trusted
from mpirefine.steps.project import Project
from mpirefine.steps.simmx import match

NO_WEIGHT = 1e30           # noise power of rings that say nothing
JITTER = 0.25              # of the fine step of directions: how far imagined views lie from grid points (standard deviation on each axis)


@dataclass(frozen=True)
class Difference:
    """Maps a and b (from 0), the p-value (None with too few particles), how many held-out particles it rests on, and how many of the smaller map."""

    a: int
    b: int
    p: float | None
    particles: int
    fewer: int


@dataclass(frozen=True)
class Imagined:
    """Particles that were never seen, as the search takes them: the rows of a table, with pixels of some of them."""

    table: ParticleTable
    set_aside: np.ndarray
    place: np.ndarray            # (p,) of each row in `pixels`
    pixels: np.ndarray

    def images(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32."""
        return self.pixels[self.place[rows]]


def compare(state: State, ctx: Context) -> list[Difference]:
    """Collective. Every pair of maps as they are now; nothing with one map or without particles held out. The list is the same on all ranks."""
    live = [m for m in range(ctx.models) if m not in state.dropped]
    if len(live) < 2 or not ctx.held_period:
        return []
    rows = np.flatnonzero(ctx.held_out & trusted(ctx, state.trust))
    enough = ring_sets(np.arange(1, state.finest + 1))[1].any()
    found = []
    with ExitStack() as ctx.resources:
        state, ctx = Project().run(state, ctx), replace(ctx, options=replace(ctx.options, temperature=1.0))
        evidence, poses = by_both_sets(state, ctx, rows)
        best = evidence[0].argmax(axis=1)
        for a, b in combinations(live, 2):
            own = np.flatnonzero((best == a) | (best == b))
            one = imagine(state, ctx, (a, b), rows[own], Poses(*(part[own] for part in (poses.model, poses.rotation, poses.shift))))
            imagined, _ = by_both_sets(state, replace(ctx, particles=cast(Any, one)), rows[own])
            parts = ctx.team.allgather((evidence[:, own][..., [a, b]], imagined[..., [a, b]], poses.rotation[own, 2]))
            observed, null, views = (np.concatenate(values, axis=axis) for values, axis in zip(zip(*parts), (1, 1, 0)))
            copies = max(len(operations(ctx.symmetries[m])) for m in (a, b))
            p = ctx.team.from_root(pair_p_value, observed, null, strata(views, copies)) if enough else np.nan
            sizes = np.bincount(observed[0].argmax(axis=1), minlength=2)
            found.append(Difference(a, b, None if np.isnan(p) else p, len(views), int(sizes.min())))
    return found


def by_both_sets(state: State, ctx: Context, rows: np.ndarray) -> tuple[np.ndarray, Poses]:
    """Collective. Log-evidence (2, n, m) of every map for own `rows` by the first set of rings and by both, and the best poses by both."""
    first, second = ring_sets(np.arange(ctx.grid.nx // 2 + 1))
    search, evidence = at_given_poses if ctx.options.fixed_poses else match, []
    counts = np.log(np.maximum(np.bincount(state.orientations.model, minlength=ctx.models), 1))
    for rings in (first, first | second):
        noise = replace(state.noise, sigma2=np.where(rings, state.noise.sigma2, NO_WEIGHT))
        found = search(replace(state, noise=noise), ctx, rows)
        evidence.append(floored(found.model_evidence - counts))
    at = np.arange(len(rows)), found.evidence.argmax(axis=1)
    model, table = state.orientations.model[found.reference[at]], ctx.particles.table
    if ctx.options.fixed_poses:
        return np.stack(evidence), Poses(model, table.rotation[rows], table.shift[rows])
    rotation = in_plane(state.orientations.rotation[found.reference[at]], found.angle[at], found.mirror[at])
    return np.stack(evidence), Poses(model, rotation, found.shift[at].astype(np.float64))


def imagine(state: State, ctx: Context, pair: tuple[int, int], rows: np.ndarray, poses: Poses) -> Imagined:
    """Collective. Own `rows` as they would look if they showed the mean of two maps near their `poses`, with their own noise."""
    mean = state.volumes[list(pair)].mean(axis=0) if ctx.team.is_root else None
    volume, nx = reduce.bcast_array(ctx.team, mean), ctx.grid.nx
    pixels, where = np.empty((len(rows), nx, nx), np.float32), np.zeros(len(ctx.particles.table), np.int64)
    where[rows] = np.arange(len(rows))
    for start in range(0, len(rows), chunk_of(ctx)):
        span = slice(start, start + chunk_of(ctx))
        draws = [np.random.default_rng([ctx.options.seed, *pair, int(row)]) for row in ctx.particles.table.row[rows[span]]]
        pixels[span] = imagined_images(state, ctx, volume, rows[span], poses.rotation[span], poses.shift[span], draws)
    return Imagined(ctx.particles.table, ctx.particles.set_aside, where, pixels)


def imagined_images(state: State, ctx: Context, volume: np.ndarray, rows: np.ndarray, rotation: np.ndarray, shift: np.ndarray,
                    draws: list[np.random.Generator]) -> np.ndarray:
    """(n, y, x) images of a map near some poses (at them with --fixed-poses), with the contrast transfer and noise of own `rows`."""
    from scipy import fft
    from scipy.spatial.transform import Rotation
    points, table, nx = full_points(ctx), ctx.particles.table, ctx.grid.nx
    white = np.stack([draw.standard_normal((nx, nx), dtype=np.float32) for draw in draws])
    if not ctx.options.fixed_poses:
        turn = np.stack([draw.normal(0, np.radians(JITTER * state.levels.fine_delta), 3) for draw in draws])
        rotation = Rotation.from_rotvec(turn).as_matrix() @ rotation
        shift = shift + np.stack([draw.uniform(-0.5, 0.5, 2) for draw in draws]) * state.levels.refined_step
    place = shift + nx // 2
    phase = (-2 * np.pi / nx) * (points[..., 0] * place[:, :1, None] + points[..., 1] * place[:, 1:, None])
    spectrum = amplitude(state, ctx, rows)[:, None, None] * slices(volume, rotation, points, ctx.options.threads) * np.exp(1j * phase)
    spectrum *= transfer(table.ctf.take(rows) if table.ctf is not None else None, ctx.grid)
    spectrum += fft.rfft2(white) * np.sqrt(on_shells(state.noise.sigma2[table.group[rows]], ctx.grid)) / nx
    return fft.irfft2(spectrum, s=(nx, nx))
