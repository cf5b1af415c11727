"""Trust in each particle: its weight is less, or 0, where its likelihood is far below that of its noise group.

A hot pixel, an edge of carbon or an ice crystal makes an image that no map explains. That shows in the whole
log-likelihood, image power included: ½ Σ |X|²/σ² has a known standard deviation where the noise model holds. Where
the noise group's own spread is wider, that is used.
"""

from __future__ import annotations

import numpy as np

from mpirefine.data.keys import SAMPLE, uniform
from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.maths.likelihood.model import noise_power
from mpirefine.steps.likelihood.search.spectra import pixels_of_rings
from mpirefine.steps.state import Context

# standard deviations below the median of its noise group at which a particle begins to count less, and counts no more
DOUBTFUL, HOPELESS = 4.0, 8.0
MEDIAN_SAMPLE = 20_000  # particles that the median power is taken from, about
SMALL_GROUP = 25  # particles; smaller groups are compared with all particles
MAD_TO_SIGMA = 1.4826  # standard deviation of a normal distribution / median absolute deviation


def image_power(ctx: Context) -> tuple[np.ndarray, np.ndarray]:
    """Power (p, k) per Fourier pixel of own images on rings 0 .. nx // 2, and the number of pixels (k,) of each ring.

    For images that were multiplied by their CTF the power is divided by the mean of CTF², as if they were not. The
    number of pixels is as in `pixels_of_rings`.
    """
    table = ctx.particles.table
    share = noise_power(table.ctf, len(table), np.arange(ctx.grid.nx // 2 + 1), ctx.grid)
    return ctx.particles.power / share, pixels_of_rings(ctx, ctx.grid.nx // 2 - 1)


def deviations_from_group(ctx: Context, likelihood: np.ndarray, pixels: float) -> np.ndarray:
    """Collective. By how many standard deviations (p,) own log-likelihoods exceed the median of their noise group.

    The standard deviation is a robust one. `pixels` is the number of Fourier pixels that the log-likelihoods (p,) sum
    over. Particles that are set aside have 0.
    """
    group, known = ctx.particles.table.group, ~ctx.particles.set_aside
    every, groups, used = (
        reduce.gather_rows(ctx.team, np.ascontiguousarray(values), ctx.partition)
        for values in (likelihood, group, known)
    )
    centres = None
    if every is not None and groups is not None and used is not None:
        centres = group_centres(every, groups, used, len(ctx.particles.table.group_names), float(np.sqrt(pixels / 2)))
    median, spread = reduce.bcast_array(ctx.team, centres)
    return np.where(known, (likelihood - median[group]) / spread[group], 0)


def group_centres(
    likelihood: np.ndarray, group: np.ndarray, known: np.ndarray, groups: int, least: float
) -> np.ndarray:
    """Median and robust standard deviation (2, g) of each group, the latter at least `least`; small groups: of all.

    `likelihood`, `group` and `known` (p,) are those of the particles of all ranks; those not `known` are left out.
    """

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
    """Trust (p,) float32: 1, falling to 0 between DOUBTFUL and HOPELESS standard deviations below the median."""
    return np.clip((HOPELESS + deviation) / (HOPELESS - DOUBTFUL), 0, 1).astype(np.float32)


def weights_by_power(ctx: Context) -> np.ndarray:
    """Collective. Trust (p,) before any noise is known: the median power of images takes the place of the noise."""
    power, pixels = image_power(ctx)
    usual = np.maximum(_median_power(ctx, power.astype(np.float32)), 1e-300)
    return trust_weight(deviations_from_group(ctx, -0.5 * power @ (pixels / usual), pixels.sum()))


def _median_power(ctx: Context, power: np.ndarray) -> np.ndarray:
    """Collective. Median (k,) over particles of their `power` (p, k), from a sample where there are many particles.

    The sample is drawn by the images' names.
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
