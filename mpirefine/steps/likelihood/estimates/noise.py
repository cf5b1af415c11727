"""Noise spectra and grey scales of the noise groups, and each particle's own grey scale."""

from __future__ import annotations

import numpy as np

from mpirefine.data.poses import HardPoses
from mpirefine.distribution import reduce
from mpirefine.maths.likelihood.central_slices import slices
from mpirefine.maths.likelihood.model import (
    corner_spectrum,
    noise_power,
    premultiplied,
    ring_means,
    signal_transfer,
    transfer,
    transfer_power,
)
from mpirefine.steps.likelihood.estimates.map_power import ring_powers
from mpirefine.steps.likelihood.search.spectra import centred_spectrum, chunk_of, full_points
from mpirefine.steps.shared.maps import broadcast_map, particle_disc
from mpirefine.steps.shared.samples import is_trusted, sampled_rows
from mpirefine.steps.state import Context, Noise, State, amplitude

SAMPLE = 1024  # particles that noise is estimated from, about ...
GROUP_SAMPLE = 50  # ... and at least of each noise group
# groups with fewer sampled particles get the estimate of their optics group, and small optics groups that of all
SMALL_GROUP = 25
LARGEST_DISC = 0.45  # share of the box that the particle's radius takes at most: some background is left
LEAST_GREY, MOST_GREY = 0.5, 2.0  # limits of a particle's own grey scale, relative to its group's


def pool_small_groups(sums: np.ndarray, optics: np.ndarray) -> np.ndarray:
    """Sums (g, quantity, k) in which groups of few particles have the sums of larger groups.

    The last quantity is the number of particles. A group with fewer than SMALL_GROUP gets the sums of its optics group,
    `optics` (g,); if that is small too, the sums over all groups.
    """
    together = np.zeros((optics.max() + 1, *sums.shape[1:]))
    np.add.at(together, optics, sums)
    for larger in (together[optics], sums.sum(axis=0, keepdims=True)):
        sums = np.where((sums[:, -1, :1] < SMALL_GROUP)[..., None], larger, sums)
    return sums


def estimate_first_noise(ctx: Context, volumes: np.ndarray | None, trust: np.ndarray) -> Noise:
    """Collective. Noise and scale before any pose is known.

    Noise is the power outside the particles, and the scale follows from the power of whole images in excess of it.
    `volumes` (m, z, y, x) are the starting maps, on rank 0; `trust` (p,) is as in State.
    """
    shells, table = ctx.grid.nx // 2 + 1, ctx.particles.table
    rows = sampled_rows(ctx, SAMPLE, GROUP_SAMPLE, table.optics_of_group, trust)
    outside = 1 - particle_disc(ctx, min(ctx.plan.full_radius, LARGEST_DISC * ctx.grid.nx))
    sums = np.zeros((len(table.group_names), 5, shells))
    rings = np.arange(shells)
    for group in np.unique(table.group[rows]):
        own = rows[table.group[rows] == group]
        for start in range(0, len(own), chunk_of(ctx)):
            part = own[start : start + chunk_of(ctx)]
            images = ctx.particles.images(part)
            ctf = ctx.particles.ctf(part)
            sums[group, 0] += len(part) * corner_spectrum(images, outside, ctx.grid)
            sums[group, 1] += len(part) * corner_spectrum(images, np.ones_like(outside), ctx.grid)
            power = transfer_power(ctf, len(part), rings, ctx.grid)
            sums[group, 2] += premultiplied(ctf, power**2, power).sum(axis=0)
            sums[group, 3] += noise_power(ctf, len(part), rings, ctx.grid).sum(axis=0)
            sums[group, 4] += len(part)
    reduce.sum_in_place(ctx.team, sums)
    sums = pool_small_groups(sums, table.optics_of_group)
    noise, total, transfer2, own_noise = np.moveaxis(sums[:, :4] / sums[:, 4:], 1, 0)
    power = reduce.bcast_array(ctx.team, ring_powers(volumes, ctx).mean(axis=0) if volumes is not None else None)
    weight = rings * (rings <= ctx.limits.target) / noise**2
    excess = (weight * transfer2 * power * np.maximum(total - noise, 0)).sum(axis=1)
    expected = (weight * (transfer2 * power) ** 2).sum(axis=1)
    return Noise(np.maximum(noise, 1e-3 * total) / own_noise, np.sqrt(np.maximum(excess / expected, 1e-12)))


def estimate_scales(ctx: Context, state: State, rows: np.ndarray, match: np.ndarray) -> np.ndarray:
    """Collective. Grey scale (g,) of each noise group, from own `rows` (n,); `match` (n, 2) is as in Candidates.

    `match` averages over each particle's likely poses. Best poses alone would give too large scales, since noise helps
    to choose them.
    """
    table = ctx.particles.table
    group = table.group[rows]
    sums = np.zeros((len(table.group_names), 3, 1))
    alpha = state.noise.scale[group]
    for row, values in enumerate((match[:, 0] / alpha, match[:, 1] / alpha**2, np.ones(len(rows)))):
        np.add.at(sums[:, row, 0], group, values)
    reduce.sum_in_place(ctx.team, sums)
    cross, power, _ = np.moveaxis(pool_small_groups(sums, table.optics_of_group), 1, 0)[..., 0]
    return np.where((cross > 0) & (power > 0), cross / np.maximum(power, 1e-300), state.noise.scale)


def estimate_noise(ctx: Context, state: State, rows: np.ndarray, poses: HardPoses, scale: np.ndarray) -> Noise:
    """Collective. Noise of each group: power of the residuals of own `rows` (n,), images minus maps at `poses` (n).

    `scale` (g,) are the grey scales of the groups, which the result holds too.
    """
    table, shells = ctx.particles.table, ctx.grid.nx // 2 + 1
    sums, rings = np.zeros((len(table.group_names), 3, shells)), np.arange(shells)
    points, chunk = full_points(ctx), chunk_of(ctx)
    for m in range(ctx.models):
        volume = broadcast_map(state, ctx, m)
        mine = np.flatnonzero(poses.model == m)
        for start in range(0, len(mine), chunk):
            part = mine[start : start + chunk]
            own = rows[part]
            ctf = ctx.particles.ctf(own)
            grey = scale[table.group[own]] * state.grey[own]
            model = (
                grey[:, None, None]
                * slices(volume, poses.rotation[part], points, ctx.settings.threads)
                * signal_transfer(transfer(ctf, ctx.grid), ctf)
            )
            data = centred_spectrum(ctx.particles.images(own), poses.shift[part], points)
            np.add.at(sums[:, 0], table.group[own], ring_means(np.abs(data - model) ** 2, ctx.grid))
            np.add.at(sums[:, 1], table.group[own], noise_power(ctf, len(own), rings, ctx.grid))
            np.add.at(sums[:, 2], table.group[own], 1)
    reduce.sum_in_place(ctx.team, sums)
    residual, share, count = np.moveaxis(pool_small_groups(sums, table.optics_of_group), 1, 0)
    return Noise(
        np.where((count > 0) & (residual > 0), residual / np.where(share > 0, share, 1), state.noise.sigma2), scale
    )


def estimate_own_scales(ctx: Context, state: State, noise: Noise) -> np.ndarray:
    """Collective. Grey scale (p,) of each own particle, relative to the new one of its group in `noise`.

    The estimate from one particle, cross / power, has the variance 1 / power. The variance of the estimates beyond that
    is the variance of the true grey scales; with it estimates are shrunk towards 1 (empirical Bayes, Efron & Morris
    1973). All are 1 where particles differ by no more than their errors.
    """
    cross, power = state.candidates.match.T
    group = ctx.particles.table.group
    before = amplitude(state, ctx, np.arange(len(group))) / noise.scale[group]
    used = (power > 0) & is_trusted(ctx, state.trust)
    value = np.where(used, before * cross / np.where(power > 0, power, 1), 1)
    precision = np.where(used, power / before**2, 0)
    sums = np.array([(precision * (value - 1) ** 2).sum(), precision.sum(), used.sum()])
    reduce.sum_in_place(ctx.team, sums)
    variance = (sums[0] - sums[2]) / max(sums[1], 1e-300)
    if variance <= 0:
        return np.ones(len(group))
    grey = (1 / variance + precision * value) / (1 / variance + precision)
    return np.clip(grey, LEAST_GREY, MOST_GREY)
