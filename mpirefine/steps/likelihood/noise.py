"""Step: noise spectrum of each group of particles from the residuals of their best poses, grey scales from all likely
poses.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.data.keys import SAMPLE as SAMPLED
from mpirefine.data.keys import uniform
from mpirefine.distribution import reduce
from mpirefine.maths.geometry.directions import projection_directions
from mpirefine.maths.image.masks import soft_sphere
from mpirefine.maths.likelihood.central_slices import slices
from mpirefine.maths.likelihood.model import (
    corner_spectrum,
    signal_transfer,
    noise_power,
    premultiplied,
    ring_means,
    transfer,
    transfer_power,
)
from mpirefine.steps.likelihood.classify import hard_poses
from mpirefine.steps.state import Context, Noise, Poses, State, amplitude

SAMPLE = 1024  # particles of the whole set that the estimates are made from ...
GROUP_SAMPLE = 50  # ... or of each group
SMALL_GROUP = (
    25  # groups with fewer sampled particles share the estimate of their optics group; optics groups that of all
)
CHUNK_PIXELS = 1 << 20  # of the particles taken together
LEAST_GREY, MOST_GREY = 0.5, 2.0  # a particle's own grey scale, relative to its group's


def trusted(ctx: Context, trust: np.ndarray | None) -> np.ndarray:
    """(p,) bool, own particles that are neither set aside nor doubtful; `trust` as in State."""
    return ~ctx.particles.set_aside & (True if trust is None else trust == 1)


def sampled_rows(
    ctx: Context, sample: int, least: int, kind: np.ndarray, trust: np.ndarray | None = None
) -> np.ndarray:
    """Collective. Own rows taken for an estimate, at least `least` of each kind of group where there are as many.

    `kind` (g,) says which groups belong together; particles of which `trust` is below 1 are left out. Rows are
    drawn by their images' names: the number of ranks and the order of rows do not matter.
    """
    table = ctx.particles.table
    own = kind[table.group]
    counts = np.bincount(own, minlength=kind.max() + 1).astype(np.float64)
    reduce.sum_in_place(ctx.team, counts)
    wanted = np.maximum(sample * counts / max(counts.sum(), 1), least)
    share = np.minimum(wanted / np.maximum(counts, 1), 1)
    return np.flatnonzero((uniform(table.key, SAMPLED) < share[own]) & trusted(ctx, trust))


def chunk_of(ctx: Context) -> int:
    """Particles taken together."""
    return max(1, CHUNK_PIXELS // ctx.grid.nx**2)


def full_points(ctx: Context) -> np.ndarray:
    """(h, k, 2) x, y in Fourier pixels of an image's half-spectrum."""
    fy, fx = ctx.grid.frequencies()
    x, y = np.broadcast_arrays(fx * ctx.grid.length, fy * ctx.grid.length)
    return np.stack([x, y], -1)


def centred_spectrum(images_pyx: np.ndarray, shift_pxy: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Half-spectra with the origin at the box centre, content moved back by `shift_pxy` pixels."""
    from scipy import fft

    nx = images_pyx.shape[1]
    spectrum = fft.rfft2(images_pyx)
    back = shift_pxy + nx // 2
    phase = (2 * np.pi / nx) * (points[..., 0] * back[:, :1, None] + points[..., 1] * back[:, 1:, None])
    return spectrum * np.exp(1j * phase).astype(np.complex64)


def pooled(sums: np.ndarray, optics: np.ndarray) -> np.ndarray:
    """Sums (g, …, shell) with groups that hold too few particles replaced by their optics group, and that by all (the
    last row counts particles).

    `optics` (g,) is the optics group of each group.
    """
    together = np.zeros((optics.max() + 1, *sums.shape[1:]))
    np.add.at(together, optics, sums)
    for larger in (together[optics], sums.sum(axis=0, keepdims=True)):
        sums = np.where((sums[:, -1, :1] < SMALL_GROUP)[..., None], larger, sums)
    return sums


def first_estimate(ctx: Context, volumes: np.ndarray | None, trust: np.ndarray | None = None) -> Noise:
    """Collective. Before any pose is known: noise from outside the particles, scale from the power that exceeds it.

    `volumes` are the seeds, on rank 0; `trust` as in State.
    """
    shells, table = ctx.grid.nx // 2 + 1, ctx.particles.table
    rows = sampled_rows(ctx, SAMPLE, GROUP_SAMPLE, table.optics_of_group, trust)
    outside = 1 - soft_sphere(ctx.grid.nx, min(ctx.plan.full_radius, 0.45 * ctx.grid.nx), 4.0, 2)
    sums = np.zeros((len(table.group_names), 5, shells))
    rings = np.arange(shells)
    for group in np.unique(table.group[rows]):
        own = rows[table.group[rows] == group]
        for start in range(0, len(own), chunk_of(ctx)):
            part = own[start : start + chunk_of(ctx)]
            images = ctx.particles.images(part)
            ctf = table.ctf.take(part) if table.ctf is not None else None
            sums[group, 0] += len(part) * corner_spectrum(images, outside, ctx.grid)
            sums[group, 1] += len(part) * corner_spectrum(images, np.ones_like(outside), ctx.grid)
            power = transfer_power(ctf, len(part), rings, ctx.grid)
            sums[group, 2] += premultiplied(ctf, power**2, power).sum(axis=0)
            sums[group, 3] += noise_power(ctf, len(part), rings, ctx.grid).sum(axis=0)
            sums[group, 4] += len(part)
    reduce.sum_in_place(ctx.team, sums)
    sums = pooled(sums, table.optics_of_group)
    noise, total, transfer2, own_noise = np.moveaxis(sums[:, :4] / sums[:, 4:], 1, 0)
    power = reduce.bcast_array(ctx.team, map_power(ctx, volumes) if ctx.team.is_root else None)
    weight = rings * (rings <= ctx.target_rings) / noise**2
    excess = (weight * transfer2 * power * np.maximum(total - noise, 0)).sum(axis=1)
    expected = (weight * (transfer2 * power) ** 2).sum(axis=1)
    return Noise(np.maximum(noise, 1e-3 * total) / own_noise, np.sqrt(np.maximum(excess / expected, 1e-12)))


def map_power(ctx: Context, volumes: np.ndarray) -> np.ndarray:
    """Mean ring power of projections of all maps."""
    points = full_points(ctx)
    views = projection_directions("c1", 30.0)
    return np.mean(
        [ring_means(np.mean(np.abs(slices(v, views, points)) ** 2, axis=0), ctx.grid) for v in volumes], axis=0
    )


def scales(ctx: Context, state: State, rows: np.ndarray, match: np.ndarray) -> np.ndarray:
    """Collective. Grey scale of each group from what own `rows` say on average over their poses, `match` (n, 2) as in
    Candidates.

    Best poses alone would say too much: the noise helped to choose them.
    """
    table = ctx.particles.table
    group = table.group[rows]
    sums = np.zeros((len(table.group_names), 3, 1))
    alpha = state.noise.scale[group]
    for row, values in enumerate((match[:, 0] / alpha, match[:, 1] / alpha**2, np.ones(len(rows)))):
        np.add.at(sums[:, row, 0], group, values)
    reduce.sum_in_place(ctx.team, sums)
    cross, power, _ = np.moveaxis(pooled(sums, table.optics_of_group), 1, 0)[..., 0]
    return np.where((cross > 0) & (power > 0), cross / np.maximum(power, 1e-300), state.noise.scale)


def residuals(ctx: Context, state: State, rows: np.ndarray, poses: Poses, scale: np.ndarray) -> Noise:
    """Collective. Noise of each group from what own `rows` at their `poses` (one entry per row) leave of the images,
    with the given grey scales.
    """
    table, shells = ctx.particles.table, ctx.grid.nx // 2 + 1
    sums, every = np.zeros((len(table.group_names), 3, shells)), np.arange(shells)
    points, chunk = full_points(ctx), chunk_of(ctx)
    for m in range(ctx.models):
        volume = reduce.bcast_array(ctx.team, state.volumes[m] if ctx.team.is_root else None)
        mine = np.flatnonzero(poses.model == m)
        for start in range(0, len(mine), chunk):
            part = mine[start : start + chunk]
            own = rows[part]
            ctf = table.ctf.take(own) if table.ctf is not None else None
            grey = scale[table.group[own]] * (1 if state.grey is None else state.grey[own])
            model = (
                grey[:, None, None]
                * slices(volume, poses.rotation[part], points, ctx.options.threads)
                * signal_transfer(transfer(ctf, ctx.grid), ctf)
            )
            data = centred_spectrum(ctx.particles.images(own), poses.shift[part], points)
            np.add.at(sums[:, 0], table.group[own], ring_means(np.abs(data - model) ** 2, ctx.grid))
            np.add.at(sums[:, 1], table.group[own], noise_power(ctf, len(own), every, ctx.grid))
            np.add.at(sums[:, 2], table.group[own], 1)
    reduce.sum_in_place(ctx.team, sums)
    residual, share, count = np.moveaxis(pooled(sums, table.optics_of_group), 1, 0)
    return Noise(
        np.where((count > 0) & (residual > 0), residual / np.where(share > 0, share, 1), state.noise.sigma2), scale
    )


def own_greys(ctx: Context, state: State, noise: Noise) -> np.ndarray:
    """Collective. (p,) grey scale of each own particle relative to the new one of its group.

    What a particle says of it, cross / power, has the variance 1 / power. By how much more the particles differ is how
    much they may differ from
    their group (empirical Bayes, Efron & Morris 1973): without any sign of that all are 1.
    """
    cross, power = state.candidates.match.T
    group = ctx.particles.table.group
    before = amplitude(state, ctx, np.arange(len(group))) / noise.scale[group]
    used = (power > 0) & trusted(ctx, state.trust)
    value = np.where(used, before * cross / np.where(power > 0, power, 1), 1)
    precision = np.where(used, power / before**2, 0)
    sums = np.array([(precision * (value - 1) ** 2).sum(), precision.sum(), used.sum()])
    reduce.sum_in_place(ctx.team, sums)
    variance = (sums[0] - sums[2]) / max(sums[1], 1e-300)
    if variance <= 0:
        return np.ones(len(group))
    grey = (1 / variance + precision * value) / (1 / variance + precision)
    return np.clip(grey, LEAST_GREY, MOST_GREY)


class Reestimate:
    """Noise and scale for the next iteration, against the maps the poses were found with."""

    name = "noise"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        rows = sampled_rows(ctx, SAMPLE, GROUP_SAMPLE, np.arange(len(ctx.particles.table.group_names)), state.trust)
        poses, every = hard_poses(state), np.flatnonzero(trusted(ctx, state.trust))
        scale = scales(ctx, state, every, state.candidates.match[every])
        noise = residuals(ctx, state, rows, Poses(poses.model[rows], poses.rotation[rows], poses.shift[rows]), scale)
        grey = own_greys(ctx, state, noise)
        spread = np.array([(grey - 1).sum(), ((grey - 1) ** 2).sum(), len(grey)])
        reduce.sum_in_place(ctx.team, spread)
        mean, square = spread[:2] / max(spread[2], 1)
        return replace(
            state,
            noise=noise,
            grey=grey,
            summary=dict(state.summary, grey_spread=float(np.sqrt(max(square - mean**2, 0)))),
        )
