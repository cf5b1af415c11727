"""What a few particles say about the maps before any is assigned: how strong each map is in them, and whether particles
and maps have the same contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.maths.likelihood.posterior import log_sum_exp

EM_ROUNDS = 60
SETTLING = 5  # rounds in which signs of maps and groups are made to agree
LEAST_SCALE = 0.02  # of the scale of the strongest map: the least scale of a map
CLEAR = 5.0  # standard errors from which on a sign is certain ...
FEW = 8  # ... with at least so many particles
LOPSIDED = 1.5  # ratio of the extremes above and below the median, from which on a map is bright, or dark


def relative_scales(evidence_pm: np.ndarray, cross_pm: np.ndarray, power_pm: np.ndarray) -> np.ndarray:
    """Factors (m,) float64 by which the maps must be multiplied to have the strength of the particles that show them.

    `evidence_pm` is the log-evidence of the maps as they are, `cross_pm` = Σ Re(X P*)/σ² and `power_pm` = Σ |P|²/σ²,
    averaged over likely poses, so that r times a map has the log-evidence evidence + (r − 1) cross − (r² − 1) power /
    2. The scales have maximum likelihood, by expectation maximisation: particles count for a map by its share of their
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
    """Which groups of particles and which maps have the right contrast.

    `score` (g, m) is the mean gain in log-evidence of the particles of a group by their own sign over the opposite one,
    in standard errors; 0 where that is not certain. `gain` (g, m) is the mean gain, `count` (g,) the particles. `group`
    (g,) and `map` (m,) are 1, or -1 for what must be inverted so that all agree.
    """

    score: np.ndarray
    gain: np.ndarray
    count: np.ndarray
    group: np.ndarray
    map: np.ndarray

    @property
    def agree(self) -> bool:
        """Whether nothing must be inverted."""
        return bool((self.group > 0).all() and (self.map > 0).all())


def signs(gain_pm: np.ndarray, group: np.ndarray, groups: int, own_m: np.ndarray) -> Signs:
    """Which groups of particles, and which maps, have inverted contrast.

    `gain_pm` is the log-evidence of each particle and map minus that of the inverted particle; `group` (p,) the group
    of each particle; `own_m` 1 for a map that looks bright, -1 for a dark one, 0 where that is uncertain. It decides
    when all particles disagree with all maps.
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
    """Signs of the maps (m,) that may explain the scores best: those from each group, made to agree with all groups,
    and their opposites.
    """
    found = [np.ones(score.shape[1], int)]
    for said in (np.ones(score.shape[1]), *score):
        turn = np.where(said < 0, -1, 1)
        for _ in range(SETTLING):
            turn = np.where(of_groups(score, turn) @ score < 0, -1, 1)
        found += [turn, -turn]
    return found


def of_groups(score: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The sign (g,) of each group that agrees best with the signs `turn` (m,) of the maps; 1 where nothing is
    certain.
    """
    return np.where(score @ turn < 0, -1, 1)


def ranking(score: np.ndarray, turn: np.ndarray, own_m: np.ndarray, count: np.ndarray) -> tuple:
    """A sort key for signs of the maps: how well they explain the scores; then how well they agree with the look of the
    maps; then how few are inverted.
    """
    group = of_groups(score, turn)
    return float(np.round(np.abs(score @ turn).sum(), 6)), int(turn @ own_m), int(group @ count), int(turn.sum())


def own_sign(map_zyx: np.ndarray) -> int:
    """1 for a map whose density is bright, -1 for a dark one, 0 where high and low values are alike."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(map_zyx.astype(np.float32), 1.0)
    middle = float(np.median(smooth))
    high, low = float(np.percentile(smooth, 99.8)) - middle, middle - float(np.percentile(smooth, 0.2))
    return 1 if high > LOPSIDED * low else -1 if low > LOPSIDED * high else 0
