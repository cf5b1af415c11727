"""Whether the particles themselves distinguish two maps: a test on particles that no map was made from.

The Fourier rings fall into two sets with a gap between them, so that their noise is independent. The evidence from the
first set (over all poses) divides the particles between the maps; the second set gives an independent evidence for each
map, over the poses that were likely by the first set. If the maps show two states, both sets prefer the same map for
most particles. If the maps differ by noise, they agree hardly more than by chance. "Hardly", since both sets see a pose
between grid points, or a view that one of the maps shows better, and also what depends on defocus or optics group where
particles were divided by it. Therefore particles are compared with those of similar views, of similar defocus and of
their optics group, and with simulated particles of one structure, the mean of both maps, at the same poses with the
same CTF and noise.

That the sets do not agree is meaningful only if they would agree for two states. So particles are simulated once more,
each from the map that it prefers; the power of the test is how often such particles would pass it. The difference of
the maps counts only as far as their half-maps support it: the rest is noise, which a test of real states would not see.
"""

from __future__ import annotations

import numpy as np

from mpirefine.maths.fourier.filters import apply_radial
from mpirefine.maths.fourier.fsc import fsc
from mpirefine.maths.geometry.coverage import half_sphere

RING_BAND = 3  # consecutive rings of one set; one ring is left out between the sets
EVIDENCE_FLOOR = 20.0  # log-evidence below that of the best map at which the search stops
LEAST_PARTICLES = 16
STRATUM = 12  # particles of similar views in a group
BIN, MOST_BINS = 8, 64  # particles of similar defocus in a group, and the largest number of groups
SWEEPS = 3  # over all kinds of strata, to subtract their means
SIGNIFICANT = 0.01  # for all pairs of maps together: 1 % of homogeneous data sets may be called two states
RESAMPLED = 400  # trials for the power of the test


def ring_sets(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rings (Fourier pixels) belong to the first and to the second set, two bool arrays; rings of different sets
    are never adjacent.
    """
    place = (np.asarray(rings) - 1) % (2 * RING_BAND + 2)
    known = np.asarray(rings) > 0
    return known & (place < RING_BAND), known & (place > RING_BAND) & (place <= 2 * RING_BAND)


def floored(evidence: np.ndarray) -> np.ndarray:
    """Log-evidence of maps (p, m), not more than EVIDENCE_FLOOR below the best: maps without surviving projections have
    none.
    """
    return np.maximum(evidence, evidence.max(axis=1, keepdims=True) - EVIDENCE_FLOOR)


def strata(views: np.ndarray, copies: int = 1) -> np.ndarray:
    """For each view (p, 3) the number (p,) of its group of similar views; opposite views count as the same.

    `copies` is the order of the symmetry group: views lie in one asymmetric unit, 1 / copies of all views.
    """
    return np.abs(views @ half_sphere(max(1, copies * len(views) // STRATUM)).T).argmax(axis=1)


def bins(values: np.ndarray) -> np.ndarray:
    """For each value (p,) the number of its group of similar values; groups have the same size."""
    count = int(np.clip(len(values) // BIN, 1, MOST_BINS))
    rank = np.searchsorted(np.sort(values), values)  # equal values go together, whatever their order
    return np.unique(rank * count // max(len(values), 1), return_inverse=True)[1]


def agreement(evidence: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """How far both sets of rings prefer the same of two maps (p,), above the mean of the particle's strata.

    `evidence` (2, p, 2) is the finite log-evidence of the two maps by the first set of rings and by both sets. The
    agreement is the product of both preferences, which are probabilities scaled to −1 .. 1, so that no single particle
    dominates. `stratum` is (p,), or (k, p) for k kinds of strata, whose effects are additive.
    """
    first, both = evidence
    preferences = []
    for values in (first, both - first):
        preference = np.tanh((values[:, 0] - values[:, 1]) / 2)
        for kind in [*np.atleast_2d(stratum)] * SWEEPS:
            preference = preference - (np.bincount(kind, preference) / np.maximum(np.bincount(kind), 1))[kind]
        preferences.append(preference)
    return preferences[0] * preferences[1]


def welch(values: np.ndarray, null: np.ndarray) -> np.ndarray:
    """p-values (...) of Welch's one-sided test that values (..., n) are larger than null (..., k); 1 where neither
    varies.
    """
    from scipy import stats

    spread = [v.var(axis=-1, ddof=1) / v.shape[-1] for v in (values, null)]
    total = spread[0] + spread[1]
    varies = total > 0
    safe = np.where(varies, total, 1)
    freedom = safe**2 / np.where(varies, sum(s**2 / (v.shape[-1] - 1) for s, v in zip(spread, (values, null))), 1)
    return np.where(varies, stats.t.sf((values.mean(axis=-1) - null.mean(axis=-1)) / np.sqrt(safe), freedom), 1.0)


def pair_p_value(observed: np.ndarray, imagined: np.ndarray, stratum: np.ndarray) -> float:
    """The probability that the sets of rings agree so well for particles of one structure; nan with too few particles.

    `observed` and `imagined` (2, p, 2) are as in `agreement`, of the particles and of simulated particles of one
    structure. Welch's test, one-sided: small for two states, uniform for one.
    """
    if observed.shape[1] < LEAST_PARTICLES:
        return float("nan")
    return float(welch(agreement(observed, stratum), agreement(imagined, stratum)))


def power_of_test(
    of_two: np.ndarray, of_one: np.ndarray, stratum: np.ndarray, significance: float, rng: np.random.Generator
) -> float:
    """How often as many particles of two structures would pass the test: share of trials with resampled simulated
    particles.

    `of_two` and `of_one` (2, p, 2) are as in `agreement`, of simulated particles of two structures and of one.
    """
    values = [agreement(evidence, stratum) for evidence in (of_two, of_one)]
    drawn = [v[rng.integers(len(v), size=(RESAMPLED, len(v)))] for v in values]
    return float((welch(*drawn) < significance).mean())


def supported(difference: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A map (z, y, x) without what its two half-maps do not support: each shell times the Wiener weight 2 F / (1 + F)
    of their correlation F.
    """
    curve = np.clip(fsc(*halves), 0, 1)
    weight = 2 * curve / (1 + curve)
    return apply_radial(difference, lambda radius: np.interp(radius, np.arange(len(weight)), weight))
