"""How far each particle is believed: those whose likelihood is far below that of their group count less, or not at all.

A hot pixel, an edge of carbon or a crystal of ice makes an image that no map explains. Its whole log-likelihood, image
power included, tells: ½ Σ |X|²/σ² has a known spread where the noise model holds, and the group's own spread is taken
where that is wider.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.maths.likelihood.model import noise_power
from mpirefine.steps.likelihood.fixed_poses import pixels_of_rings
from mpirefine.steps.state import Context, State

DOUBTFUL, HOPELESS = (
    4.0,
    8.0,
)  # deviations below the median of the group at which a particle begins to count less, and counts no more
SMALL_GROUP = 25  # particles; smaller groups are compared with all particles
MAD_TO_SIGMA = 1.4826


def image_power(ctx: Context) -> tuple[np.ndarray, np.ndarray]:
    """(p, k) power per Fourier pixel of own images on rings 0 .. nx // 2, and how many pixels of the plane count on
    each ring.

    What a multiplication by the CTF took of the noise is given back.
    """
    table = ctx.particles.table
    share = noise_power(table.ctf, len(table), np.arange(ctx.grid.nx // 2 + 1), ctx.grid)
    return ctx.particles.power / share, pixels_of_rings(ctx, ctx.grid.nx // 2 - 1)


def deviations(ctx: Context, likelihood: np.ndarray, pixels: float) -> np.ndarray:
    """Collective. (p,) how many deviations each own log-likelihood lies above (or below) the median of its group; 0 for
    particles set aside.
    """
    group, known = ctx.particles.table.group, ~ctx.particles.set_aside
    every, groups, used = (
        reduce.gather_rows(ctx.team, np.ascontiguousarray(values), ctx.partition)
        for values in (likelihood, group, known)
    )
    centre = None
    if ctx.team.is_root:
        centre = group_centres(every, groups, used, len(ctx.particles.table.group_names), float(np.sqrt(pixels / 2)))
    median, spread = reduce.bcast_array(ctx.team, centre)
    return np.where(known, (likelihood - median[group]) / spread[group], 0)


def group_centres(
    likelihood: np.ndarray, group: np.ndarray, known: np.ndarray, groups: int, least: float
) -> np.ndarray:
    """(2, groups) median and robust deviation, `least` at least; a small group has those of all."""

    def centre(values: np.ndarray) -> tuple[float, float]:
        median = float(np.median(values)) if len(values) else 0.0
        return median, max(MAD_TO_SIGMA * float(np.median(np.abs(values - median))), least) if len(values) else least

    likelihood, group = likelihood[known], group[known]
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(groups + 1))
    every = centre(likelihood)
    parts = [likelihood[order[lo:hi]] for lo, hi in zip(bounds[:-1], bounds[1:])]
    return np.array([centre(part) if len(part) >= SMALL_GROUP else every for part in parts]).T.copy()


def weight_of(deviation: np.ndarray) -> np.ndarray:
    """(p,) float32: 1 for particles like the others, falling to 0 between DOUBTFUL and HOPELESS deviations below
    them.
    """
    return np.clip((HOPELESS + deviation) / (HOPELESS - DOUBTFUL), 0, 1).astype(np.float32)


def by_power(ctx: Context) -> np.ndarray:
    """Collective. (p,) weights before any noise is known: from the power of the images, with that of the median image
    as noise.
    """
    power, pixels = image_power(ctx)
    whole = reduce.gather_rows(ctx.team, power.astype(np.float32), ctx.partition)
    usual = None
    if ctx.team.is_root:
        known = whole[:, 1:].sum(axis=1) > 0
        usual = np.median(whole[known], axis=0).astype(np.float64) if known.any() else np.ones(whole.shape[1])
    usual = np.maximum(reduce.bcast_array(ctx.team, usual), 1e-300)
    return weight_of(deviations(ctx, -0.5 * power @ (pixels / usual), pixels.sum()))


class Trust:
    """After the search: the likelihood of the best pose of each particle against those of its group."""

    name = "trust"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        power, pixels = image_power(ctx)
        precision = pixels / state.noise.sigma2[ctx.particles.table.group]
        found = state.candidates
        best = np.where(found.reference >= 0, -found.score.astype(np.float64), -np.inf).max(axis=1)
        best = np.where(np.isfinite(best), best, 0)
        deviation = deviations(ctx, best - 0.5 * (power * precision).sum(axis=1), pixels.sum())
        trust = weight_of(deviation)
        count = np.array([(trust == 0).sum(), ((trust > 0) & (trust < 1)).sum()])
        reduce.sum_in_place(ctx.team, count)
        return replace(state, trust=trust, summary=dict(state.summary, outliers=int(count[0]), doubtful=int(count[1])))
