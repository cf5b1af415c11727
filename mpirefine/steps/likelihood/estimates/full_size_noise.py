"""The noise of images as they were recorded, beyond the rings that the particles were matched on."""

from __future__ import annotations

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.keys import SAMPLE as SAMPLED
from mpirefine.data.keys import uniform
from mpirefine.distribution import reduce
from mpirefine.maths.image.masks import soft_sphere
from mpirefine.maths.likelihood.model import corner_spectrum, noise_power
from mpirefine.steps.likelihood.estimates.noise import LARGEST_DISC, SAMPLE
from mpirefine.steps.shared.maps import DISC_DIMENSIONS, DISC_EDGE
from mpirefine.steps.shared.samples import is_trusted
from mpirefine.steps.state import Context, State

JOINED = 5  # outermost working rings on which the noise measured beyond them is brought to that of each group


def noise_on(state: State, ctx: Context, grid: Grid) -> np.ndarray:
    """Collective. σ² (g, k = 0 .. nx // 2) of each noise group in images recorded on `grid`.

    Within the working grid it is that of the last iteration. Beyond, the shape of the spectrum is measured outside the
    particles, on a sample of such images, and its strength follows each group's outermost working rings.
    """
    working = ctx.grid
    rings = np.arange(grid.nx // 2 + 1)
    place = rings * working.length / grid.length  # in working rings
    scale = (working.apix / grid.apix) ** 4 * (grid.length / working.length) ** 2  # sums over pixels; larger fields
    known = np.arange(working.nx // 2 + 1)
    inner = np.stack([np.interp(place, known, spectrum) for spectrum in state.noise.sigma2]) * scale
    last = working.nx // 2 - 1
    beyond = place > last
    if not beyond.any():
        return inner
    measured = measured_noise(state, ctx, grid)
    if not (measured[beyond] > 0).all():  # none of these images could be used
        return np.where(beyond, inner[:, ~beyond][:, -1:], inner)
    joined = ~beyond & (place > last - JOINED)
    ratio = inner[:, joined].mean(axis=1) / max(measured[joined].mean(), np.finfo(float).tiny)
    return np.where(beyond, ratio[:, None] * measured, inner)


def measured_noise(state: State, ctx: Context, grid: Grid) -> np.ndarray:
    """Collective. Noise power (k,) outside the particle of a sample of the images recorded on `grid`."""
    table = ctx.particles.table
    on_grid = np.array([lens.grid == grid for lens in ctx.particles.lenses])[table.lens_of(slice(None))]
    usable = on_grid & is_trusted(ctx, state.trust)
    count = np.array([usable.sum()])
    reduce.sum_in_place(ctx.team, count)
    rows = np.flatnonzero(usable & (uniform(table.key, SAMPLED) * count[0] < SAMPLE))
    rings = np.arange(grid.nx // 2 + 1)
    pixel = ctx.grid.apix / grid.apix
    radius = min(ctx.plan.full_radius * pixel, LARGEST_DISC * grid.nx)
    outside = 1 - soft_sphere(grid.nx, radius, DISC_EDGE * pixel, DISC_DIMENSIONS)
    sums = np.zeros((2, len(rings)))
    with ctx.team.together("reading particles"), ctx.particles.passing():
        for part in ctx.particles.in_order_of_files(rows):
            sums[0] += len(part) * corner_spectrum(ctx.particles.recorded(part), outside, grid)
            sums[1] += noise_power(ctx.particles.ctf(part), len(part), rings, grid).sum(axis=0)
    reduce.sum_in_place(ctx.team, sums)
    return sums[0] / np.where(sums[1] > 0, sums[1], 1)
