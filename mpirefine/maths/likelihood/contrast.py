"""What a few particles say of maps before any is assigned: how strong each map is in them, and whether its contrast has
their sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.maths.likelihood.posterior import log_sum_exp

EM_ROUNDS = 60
SETTLING = 5  # rounds in which signs of maps and groups are brought to agree
LEAST_SCALE = 0.02  # of the strongest map: a map that no particle shows stays what it is, weak
CLEAR = 5.0  # standard errors from which on a sign is clear ...
FEW = 8  # ... of at least so many particles
LOPSIDED = 1.5  # a map is bright, or dark, when its extremes on that side are so many times those on the other


def relative_scales(evidence_pm: np.ndarray, cross_pm: np.ndarray, power_pm: np.ndarray) -> np.ndarray:
    """(m,) float64: by how much each map must be multiplied to be as strong as the particles that show it have it.

    `evidence_pm` is the log-evidence of the maps as they are, `cross_pm` = Σ Re(X P*)/σ² and `power_pm` = Σ |P|²/σ² on
    average over likely poses, so that r times a map has the log-evidence evidence + (r − 1) cross − (r² − 1) power / 2.
    Maximum likelihood over the scales, by expectation maximisation: particles count for a map by its share of their
    posterior. Ones without particles.
    """
    scale = np.ones(evidence_pm.shape[1])
    if not len(evidence_pm):
        return scale
    for _ in range(EM_ROUNDS):
        value = evidence_pm + (scale - 1) * cross_pm - 0.5 * (scale**2 - 1) * power_pm
        share = np.exp(value - log_sum_exp(value, 1)[:, None])
        cross, power = (share * cross_pm).sum(axis=0), (share * power_pm).sum(axis=0)
        found = np.where(power > 0, cross / np.where(power > 0, power, 1), 0)
        scale = np.maximum(found, LEAST_SCALE * max(float(found.max()), LEAST_SCALE))
    return scale


@dataclass(frozen=True)
class Signs:
    """`score` (g, m): mean gain in log-evidence of the particles of a group with their own sign over the other one, in
    standard errors; 0 where that is not clear. `gain` (g, m): the mean gain itself; `count` (g,) particles. `group`,
    `map` (g,), (m,): 1, or -1 for what must be turned so that all agree.
    """

    score: np.ndarray
    gain: np.ndarray
    count: np.ndarray
    group: np.ndarray
    map: np.ndarray

    @property
    def agree(self) -> bool:
        """Whether nothing must be turned."""
        return bool((self.group > 0).all() and (self.map > 0).all())


def signs(gain_pm: np.ndarray, group: np.ndarray, groups: int, own_m: np.ndarray) -> Signs:
    """Which groups of particles, and which maps, have their contrast turned against the others.

    `gain_pm`: log-evidence of each particle and map with the particle as it is, less that with its sign turned;
    `own_m`: 1 for a map that is bright by itself, -1 for a dark one, 0 where that cannot be told. It decides when all
    particles disagree with all maps.
    """
    maps = gain_pm.shape[1]
    score, mean, count = np.zeros((groups, maps)), np.zeros((groups, maps)), np.bincount(group, minlength=groups)
    for g in range(groups):
        part = gain_pm[group == g]
        if len(part):
            mean[g] = part.mean(axis=0)
        if len(part) >= FEW:
            error = part.std(axis=0, ddof=1) / np.sqrt(len(part))
            t = mean[g] / np.maximum(error, 1e-12 + 1e-3 * np.abs(mean[g]))
            score[g] = np.where(np.abs(t) > CLEAR, t, 0)
    best = max(candidate_turns(score), key=lambda turn: ranking(score, turn, own_m, count))
    return Signs(score, mean, count, of_groups(score, best), best)


def candidate_turns(score: np.ndarray) -> list[np.ndarray]:
    """Signs of the maps (m,) that may explain the scores best: what each group says, made to agree with all groups, and
    the opposite.
    """
    found = [np.ones(score.shape[1], int)]
    for said in (np.ones(score.shape[1]), *score):
        turn = np.where(said < 0, -1, 1)
        for _ in range(SETTLING):
            turn = np.where(of_groups(score, turn) @ score < 0, -1, 1)
        found += [turn, -turn]
    return found


def of_groups(score: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """(g,) the sign of each group that goes best with the maps' signs `turn` (m,); 1 where nothing is clear."""
    return np.where(score @ turn < 0, -1, 1)


def ranking(score: np.ndarray, turn: np.ndarray, own_m: np.ndarray, count: np.ndarray) -> tuple:
    """How well signs of the maps explain the scores; then how well they go with the maps' own look; then how few are
    turned.
    """
    group = of_groups(score, turn)
    return float(np.round(np.abs(score @ turn).sum(), 6)), int(turn @ own_m), int(group @ count), int(turn.sum())


def own_sign(map_zyx: np.ndarray) -> int:
    """1 for a map with high values where there is density, -1 for one with low values, 0 where both are alike."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(map_zyx.astype(np.float32), 1.0)
    middle = float(np.median(smooth))
    high, low = float(np.percentile(smooth, 99.8)) - middle, middle - float(np.percentile(smooth, 0.2))
    return 1 if high > LOPSIDED * low else -1 if low > LOPSIDED * high else 0
