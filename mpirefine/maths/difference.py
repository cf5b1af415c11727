"""Whether the particles themselves tell two maps apart: a test on particles that no map was made from.

The Fourier rings fall into two sets with a gap between them, so that their noise is independent. The evidence of the first set (over all poses)
parts the particles between the maps; the second set has its own say: its evidence for each map, given the poses that the first one found likely. If
the maps show two states, both say the same of most particles. If they differ by noise they hardly do. Hardly, since a pose between grid points or a
view that one of the maps shows better is seen by both sets: so particles are compared with those of similar views, and with imagined ones of one
structure, the mean of both maps, at the same poses with the same contrast transfer and noise.
"""
from __future__ import annotations

import numpy as np

from mpirefine.maths.coverage import half_sphere

RING_BAND = 3              # rings of a set in one run; one ring is left out between runs
EVIDENCE_FLOOR = 20.0      # below the best map's evidence: the search does not look further
LEAST_PARTICLES = 16
STRATUM = 12               # particles of similar views


def ring_sets(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rings (Fourier pixels) belong to the first and to the second set, two bool arrays; neighbours are never of different sets."""
    place = (np.asarray(rings) - 1) % (2 * RING_BAND + 2)
    known = np.asarray(rings) > 0
    return known & (place < RING_BAND), known & (place > RING_BAND) & (place <= 2 * RING_BAND)


def floored(evidence: np.ndarray) -> np.ndarray:
    """Log-evidence of maps (p, m) with no value far below the best: maps that no surviving projection belongs to have none."""
    return np.maximum(evidence, evidence.max(axis=1, keepdims=True) - EVIDENCE_FLOOR)


def strata(views: np.ndarray, copies: int = 1) -> np.ndarray:
    """(p,) number of the group of similar views (p, 3) that each belongs to, opposite views counted as the same.

    `copies` is the order of the symmetry group: views lie in one asymmetric unit, that part of all views.
    """
    return np.abs(views @ half_sphere(max(1, copies * len(views) // STRATUM)).T).argmax(axis=1)


def agreement(evidence: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """(p,) how far both sets of rings prefer the same of two maps, above what is usual in the particle's stratum.

    `evidence` (2, p, 2): finite log-evidence of the two maps by the first set of rings and by both. The product of both preferences, which are
    probabilities brought to −1 .. 1, so that no single particle decides.
    """
    first, both = evidence
    count = np.maximum(np.bincount(stratum), 1)
    preferences = []
    for values in (first, both - first):
        preference = np.tanh((values[:, 0] - values[:, 1]) / 2)
        preferences.append(preference - (np.bincount(stratum, preference) / count)[stratum])
    return preferences[0] * preferences[1]


def pair_p_value(observed: np.ndarray, imagined: np.ndarray, stratum: np.ndarray) -> float:
    """How likely the sets of rings would agree so well for particles of one structure; nan with too few particles.

    Both (2, p, 2) as in `agreement`, of the particles and of imagined ones of one structure. Welch's test, one-sided: small for two states, uniform
    for one.
    """
    from scipy import stats
    if len(stratum) < LEAST_PARTICLES:
        return float("nan")
    real, null = agreement(observed, stratum), agreement(imagined, stratum)
    if not real.std() + null.std():
        return 1.0
    return float(stats.ttest_ind(real, null, equal_var=False, alternative="greater").pvalue)
