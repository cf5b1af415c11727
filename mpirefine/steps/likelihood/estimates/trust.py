"""How far each particle is believed: less, or not at all, where its likelihood is far below that of its noise group.

A hot pixel, an edge of carbon or a crystal of ice makes an image that no map explains. Its whole log-likelihood, image
power included, shows that: ½ Σ |X|²/σ² has a known spread where the noise model holds, and the group's own spread is
taken where that is wider.
"""

from __future__ import annotations

import numpy as np

from mpirefine.data.keys import SAMPLE, uniform
from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.maths.likelihood.model import noise_power
from mpirefine.steps.likelihood.search.spectra import pixels_of_rings
from mpirefine.steps.state import Context

# deviations below the median of its noise group at which a particle begins to count less, and counts no more
DOUBTFUL, HOPELESS = 4.0, 8.0
MEDIAN_SAMPLE = 20_000  # particles whose median power stands for all
SMALL_GROUP = 25  # particles; smaller groups are compared with all particles
MAD_TO_SIGMA = 1.4826


def image_power(ctx: Context) -> tuple[np.ndarray, np.ndarray]:
    """(p, k) power per Fourier pixel of own images on rings 0 .. nx // 2, and the number of pixels (k,) of each ring.

    The noise of images that were multiplied by their CTF is divided by its mean square, as if they were not.
    """
    table = ctx.particles.table
    share = noise_power(table.ctf, len(table), np.arange(ctx.grid.nx // 2 + 1), ctx.grid)
    return ctx.particles.power / share, pixels_of_rings(ctx, ctx.grid.nx // 2 - 1)


def deviations_from_group(ctx: Context, likelihood: np.ndarray, pixels: float) -> np.ndarray:
    """Collective. (p,) robust standard deviations by which each own log-likelihood exceeds the median of its noise
    group.

    `pixels` is the number of Fourier pixels that the likelihoods (p,) sum over; particles set aside have 0.
    """
    group, known = ctx.particles.table.group, ~ctx.particles.set_aside
    every, groups, used = (
        reduce.gather_rows(ctx.team, np.ascontiguousarray(values), ctx.partition)
        for values in (likelihood, group, known)
    )
    centre = None
    if every is not None and groups is not None and used is not None:
        centre = group_centres(every, groups, used, len(ctx.particles.table.group_names), float(np.sqrt(pixels / 2)))
    median, spread = reduce.bcast_array(ctx.team, centre)
    return np.where(known, (likelihood - median[group]) / spread[group], 0)


def group_centres(
    likelihood: np.ndarray, group: np.ndarray, known: np.ndarray, groups: int, least: float
) -> np.ndarray:
    """(2, g) median and robust standard deviation (at least `least`) of each group; a small group has those of all."""

    def centre(values: np.ndarray) -> tuple[float, float]:
        median = float(np.median(values)) if len(values) else 0.0
        return median, max(MAD_TO_SIGMA * float(np.median(np.abs(values - median))), least) if len(values) else least

    likelihood, group = likelihood[known], group[known]
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(groups + 1))
    every = centre(likelihood)
    parts = [likelihood[order[lo:hi]] for lo, hi in zip(bounds[:-1], bounds[1:])]
    return np.array([centre(part) if len(part) >= SMALL_GROUP else every for part in parts]).T.copy()


def trust_weight(deviation: np.ndarray) -> np.ndarray:
    """(p,) float32: 1 for particles like the others, falling to 0 between DOUBTFUL and HOPELESS deviations below
    them.
    """
    return np.clip((HOPELESS + deviation) / (HOPELESS - DOUBTFUL), 0, 1).astype(np.float32)


def weights_by_power(ctx: Context) -> np.ndarray:
    """Collective. (p,) weights before any noise is known: the power of the median image is taken for the noise."""
    power, pixels = image_power(ctx)
    usual = np.maximum(_median_power(ctx, power.astype(np.float32)), 1e-300)
    return trust_weight(deviations_from_group(ctx, -0.5 * power @ (pixels / usual), pixels.sum()))


def _median_power(ctx: Context, power: np.ndarray) -> np.ndarray:
    """Collective. (k,) median over particles of each ring; of a sample drawn by the images' names where they are
    many.
    """
    rows = np.flatnonzero(uniform(ctx.particles.table.key, SAMPLE) < MEDIAN_SAMPLE / max(ctx.partition.n, 1))
    counts = np.cumsum([0, *ctx.team.allgather(len(rows))])
    part = Partition(int(counts[-1]), tuple(int(count) for count in counts))
    sample = reduce.gather_rows(ctx.team, np.ascontiguousarray(power[rows]), part)
    usual = None
    if sample is not None:
        known = sample[:, 1:].sum(axis=1) > 0
        usual = np.median(sample[known], axis=0).astype(np.float64) if known.any() else np.ones(sample.shape[1])
    return reduce.bcast_array(ctx.team, usual)
