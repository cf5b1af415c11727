"""Is the split real? A p-value for every pair of maps, from the particles that were held out of them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, cast

import numpy as np

from mpirefine.data.particles import ParticleTable
from mpirefine.distribution import reduce
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.likelihood.central_slices import in_plane, slices
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
from mpirefine.maths.likelihood.model import on_shells, premultiplied, transfer
from mpirefine.steps.likelihood.fixed_poses import at_given_poses
from mpirefine.steps.likelihood.noise import chunk_of, full_points, trusted
from mpirefine.steps.likelihood.project import Project
from mpirefine.steps.likelihood.simmx import match
from mpirefine.steps.state import Context, Poses, State, amplitude

NO_WEIGHT = 1e30  # noise power of rings that say nothing
# of the fine step of directions: how far imagined views lie from grid points (standard deviation on each axis)
JITTER = 0.25


@dataclass(frozen=True)
class Difference:
    """Maps a and b (from 0), the p-value (None with too few particles), how many held-out particles it rests on, and
    how many of the smaller map.

    `power` is how often the test would find two states as different as the maps show, where it did not; else None.
    """

    a: int
    b: int
    p: float | None
    power: float | None
    particles: int
    fewer: int


@dataclass(frozen=True)
class Imagined:
    """Particles that were never seen, as the search takes them: the rows of a table, with pixels of some of them."""

    table: ParticleTable
    set_aside: np.ndarray
    place: np.ndarray  # (p,) of each row in `pixels`
    pixels: np.ndarray

    def images(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32."""
        return self.pixels[self.place[rows]]


def compare(state: State, ctx: Context) -> list[Difference]:
    """Collective. Every pair of maps as they are now; nothing with one map or without particles held out. The list is
    the same on all ranks.
    """
    live = [m for m in range(ctx.models) if m not in state.dropped]
    if len(live) < 2 or not ctx.held_period:
        return []
    rows = np.flatnonzero(
        ctx.held_out & trusted(ctx, state.trust) & ~ctx.particles.table.repeats
    )  # copies of an image say nothing new
    pairs = list(combinations(live, 2))
    with ExitStack() as ctx.resources:
        state, ctx = Project().run(state, ctx), replace(ctx, options=replace(ctx.options, temperature=1.0))
        evidence, poses = by_both_sets(state, ctx, rows)
        best = evidence[0].argmax(axis=1)
        return [
            compare_pair(state, ctx, pair, rows[own], evidence[:, own], poses.take(own), SIGNIFICANT / len(pairs))
            for pair in pairs
            for own in [np.flatnonzero(np.isin(best, pair))]
        ]


def compare_pair(
    state: State,
    ctx: Context,
    pair: tuple[int, int],
    rows: np.ndarray,
    evidence: np.ndarray,
    poses: Poses,
    significance: float,
) -> Difference:
    """Collective. One pair of maps by own `rows`, which prefer one of the two; the power only where the test does not
    find them different.
    """
    team, own, structures = ctx.team, evidence[..., list(pair)], None
    with team.together("imagining particles"):
        if team.is_root:
            structures = one_and_two(state, ctx, pair)

    def gathered(values: np.ndarray, axis: int) -> np.ndarray:
        return np.concatenate(team.allgather(values), axis=axis)

    def evidence_of(shown: np.ndarray) -> np.ndarray:
        imagined = imagine(state, ctx, pair, structures, shown, rows, poses)
        return gathered(by_both_sets(state, replace(ctx, particles=cast(Any, imagined)), rows)[0][..., list(pair)], 1)

    observed, views, (defocus, optics) = (
        gathered(own, 1),
        gathered(poses.rotation[:, 2], 0),
        gathered(taken(ctx, rows), 1),
    )
    stratum = np.stack(
        [strata(views, max(len(operations(ctx.symmetries[m])) for m in pair)), bins(defocus), optics.astype(int)]
    )
    sizes = np.bincount(observed[0].argmax(axis=1), minlength=2)
    if len(views) < LEAST_PARTICLES or not ring_sets(np.arange(1, state.finest + 1))[1].any():
        return Difference(*pair, None, None, len(views), int(sizes.min()))
    one = evidence_of(np.zeros(len(rows), int))
    p, chance = team.from_root(pair_p_value, observed, one, stratum), None
    if p >= significance and team.from_root(both_halves, state, pair):
        two = evidence_of(1 + own[1].argmax(axis=1))
        chance = team.from_root(
            power_of_test, two, one, stratum, significance, np.random.default_rng([ctx.options.seed, *pair])
        )
    return Difference(*pair, p, chance, len(views), int(sizes.min()))


def both_halves(state: State, pair: tuple[int, int]) -> bool:
    """On rank 0. Whether all half-maps of a pair have particles, so that they can tell what the maps' difference
    holds.
    """
    return bool(state.halves[list(pair)].any(axis=(2, 3, 4)).all())


def taken(ctx: Context, rows: np.ndarray) -> np.ndarray:
    """(2, n) how own rows were taken: their mean defocus, 0 without contrast transfer, and their optics group."""
    table = ctx.particles.table
    ctf = table.ctf.take(rows) if table.ctf is not None else None
    return np.stack(
        [
            (ctf.defocus_u + ctf.defocus_v) / 2 if ctf is not None else np.zeros(len(rows)),
            table.optics_of_group[table.group[rows]],
        ]
    )


def one_and_two(state: State, ctx: Context, pair: tuple[int, int]) -> np.ndarray:
    """On rank 0. Three maps (3, z, y, x): the mean of a pair, and this with half of the difference that their half-maps
    bear out, either way.
    """
    first, second = (state.volumes[m] for m in pair)
    halves = [
        state.halves[pair[0], h] * ctx.mask_of(pair[0]) - state.halves[pair[1], h] * ctx.mask_of(pair[1])
        for h in (0, 1)
    ]
    mean, apart = (first + second) / 2, supported(first - second, (halves[0], halves[1])) / 2
    return np.stack([mean, mean + apart, mean - apart])


def by_both_sets(state: State, ctx: Context, rows: np.ndarray) -> tuple[np.ndarray, Poses]:
    """Collective. Log-evidence (2, n, m) of every map for own `rows` by the first set of rings and by both, and the
    best poses by both.
    """
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


def imagine(
    state: State,
    ctx: Context,
    pair: tuple[int, int],
    structures: np.ndarray | None,
    shown: np.ndarray,
    rows: np.ndarray,
    poses: Poses,
) -> Imagined:
    """Collective. Own `rows` as they would look if they showed structure number `shown` (n,) near their `poses`, with
    their own noise.

    `structures` (s, z, y, x) are on rank 0.
    """
    nx, count = ctx.grid.nx, ctx.team.bcast(len(structures) if structures is not None else None)
    pixels, where = np.empty((len(rows), nx, nx), np.float32), np.zeros(len(ctx.particles.table), np.int64)
    where[rows] = np.arange(len(rows))
    for number in range(count):
        volume = reduce.bcast_array(ctx.team, structures[number] if structures is not None else None)
        all_own = np.flatnonzero(shown == number)
        for start in range(0, len(all_own), chunk_of(ctx)):
            own = all_own[start : start + chunk_of(ctx)]
            draws = [
                np.random.default_rng([ctx.options.seed, *pair, min(number, 1), int(key)])
                for key in ctx.particles.table.key[rows[own]]
            ]
            pixels[own] = imagined_images(state, ctx, volume, rows[own], poses.rotation[own], poses.shift[own], draws)
    return Imagined(ctx.particles.table, ctx.particles.set_aside, where, pixels)


def imagined_images(
    state: State,
    ctx: Context,
    volume: np.ndarray,
    rows: np.ndarray,
    rotation: np.ndarray,
    shift: np.ndarray,
    draws: list[np.random.Generator],
) -> np.ndarray:
    """(n, y, x) images of a map near some poses (at them with --fixed-poses), with the contrast transfer and noise of
    own `rows`.
    """
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
    spectrum = (
        amplitude(state, ctx, rows)[:, None, None]
        * slices(volume, rotation, points, ctx.options.threads)
        * np.exp(1j * phase)
    )
    ctf = table.ctf.take(rows) if table.ctf is not None else None
    curve = transfer(ctf, ctx.grid)
    spectrum *= curve
    spectrum += fft.rfft2(white) * np.sqrt(on_shells(state.noise.sigma2[table.group[rows]], ctx.grid)) / nx
    spectrum *= premultiplied(ctf, curve, 1.0)
    return fft.irfft2(spectrum, s=(nx, nx))
