"""Whether the particles themselves tell two maps apart: a test on particles that no map was made from.

The Fourier rings fall into two sets with a gap between them, so that their noise is independent. The evidence of the
first set (over all poses) parts the particles between the maps; the second set has its own say: its evidence for each
map, given the poses that the first one found likely. If the maps show two states, both say the same of most particles.
If they differ by noise they hardly do. Hardly, since a pose between grid points or a view that one of the maps shows
better is seen by both sets, and so is what goes with the defocus or the optics group where particles were parted by
that: so particles are compared with those of similar views, of similar defocus and of their optics group, and with
imagined ones of one structure, the mean of both maps, at the same poses with the same contrast transfer and noise.

That the sets do not agree means something only if they would have agreed had there been two states. So the particles
are imagined once more, each of the map it prefers, and the power of the test is how often such particles would have
passed it. The maps' difference counts as far as their half-maps bear it out: the rest is noise, of which a test of real
states would see nothing.
"""

from __future__ import annotations

import numpy as np

from mpirefine.maths.fourier.filters import apply_radial
from mpirefine.maths.fourier.fsc import fsc
from mpirefine.maths.geometry.coverage import half_sphere

RING_BAND = 3  # rings of a set in one run; one ring is left out between runs
EVIDENCE_FLOOR = 20.0  # below the best map's evidence: the search does not look further
LEAST_PARTICLES = 16
STRATUM = 12  # particles of similar views
BIN, MOST_BINS = 8, 64  # particles of similar defocus, and how many groups of them
SWEEPS = 3  # over kinds of strata, until their means are gone
SIGNIFICANT = 0.01  # of all pairs together: one homogeneous set in a hundred may be called two states
RESAMPLED = 400  # trials that the power is counted in


def ring_sets(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rings (Fourier pixels) belong to the first and to the second set, two bool arrays; neighbours are never of
    different sets.
    """
    place = (np.asarray(rings) - 1) % (2 * RING_BAND + 2)
    known = np.asarray(rings) > 0
    return known & (place < RING_BAND), known & (place > RING_BAND) & (place <= 2 * RING_BAND)


def floored(evidence: np.ndarray) -> np.ndarray:
    """Log-evidence of maps (p, m) with no value far below the best: maps that no surviving projection belongs to have
    none.
    """
    return np.maximum(evidence, evidence.max(axis=1, keepdims=True) - EVIDENCE_FLOOR)


def strata(views: np.ndarray, copies: int = 1) -> np.ndarray:
    """(p,) number of the group of similar views (p, 3) that each belongs to, opposite views counted as the same.

    `copies` is the order of the symmetry group: views lie in one asymmetric unit, that part of all views.
    """
    return np.abs(views @ half_sphere(max(1, copies * len(views) // STRATUM)).T).argmax(axis=1)


def bins(values: np.ndarray) -> np.ndarray:
    """(p,) number of the group of similar values that each belongs to, groups of the same size: particles of similar
    defocus.
    """
    count = int(np.clip(len(values) // BIN, 1, MOST_BINS))
    rank = np.searchsorted(np.sort(values), values)  # equal values go together, whatever their order
    return np.unique(rank * count // max(len(values), 1), return_inverse=True)[1]


def agreement(evidence: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """(p,) how far both sets of rings prefer the same of two maps, above what is usual in the particle's strata.

    `evidence` (2, p, 2): finite log-evidence of the two maps by the first set of rings and by both. The product of both
    preferences, which are probabilities brought to −1 .. 1, so that no single particle decides. `stratum` (p,), or (k,
    p) of several kinds, whose effects add up.
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
    """How likely the sets of rings would agree so well for particles of one structure; nan with too few particles.

    Both (2, p, 2) as in `agreement`, of the particles and of imagined ones of one structure. Welch's test, one-sided:
    small for two states, uniform for one.
    """
    if observed.shape[1] < LEAST_PARTICLES:
        return float("nan")
    return float(welch(agreement(observed, stratum), agreement(imagined, stratum)))


def power_of_test(
    two: np.ndarray, one: np.ndarray, stratum: np.ndarray, significance: float, rng: np.random.Generator
) -> float:
    """How often as many particles of two structures would pass the test: share of trials, in which imagined particles
    are drawn anew.

    `two` and `one` (2, p, 2) as in `agreement`, of imagined particles of two structures and of one.
    """
    values = [agreement(evidence, stratum) for evidence in (two, one)]
    drawn = [v[rng.integers(len(v), size=(RESAMPLED, len(v)))] for v in values]
    return float((welch(*drawn) < significance).mean())


def supported(difference: np.ndarray, halves: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A map (z, y, x) without what its two half-maps do not bear out: each shell by the Wiener weight 2 F / (1 + F) of
    their correlation F.
    """
    curve = np.clip(fsc(*halves), 0, 1)
    weight = 2 * curve / (1 + curve)
    return apply_radial(difference, lambda radius: np.interp(radius, np.arange(len(weight)), weight))
