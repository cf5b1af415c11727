"""Checks that particles and maps have the same sign of contrast, with messages for the user."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from mpirefine.errors import InputError
from mpirefine.maths.likelihood.contrast import FEW, Signs, own_sign, signs
from mpirefine.steps.likelihood.estimates.contrast import SingleMapMatches
from mpirefine.steps.state import Context

log = logging.getLogger(__name__)
MOST_GROUPS = 64  # optics groups that are judged one by one; more of them are judged together
CLEAR_GAIN = 10.0  # log-likelihood ratio from which the sign of a single particle is clear
MIXED = 0.1  # share of particles with a clear opposite sign, above which the user is warned


def check_signs(
    matches: SingleMapMatches, volumes: np.ndarray, groups: int, names: Sequence[str], ctx: Context
) -> None:
    """On rank 0. Check the sign of contrast of particles and maps, and warn of what is doubtful.

    `volumes` are the maps (m, z, y, x), `names` their files, `groups` the number of groups in `matches`.
    InputError when particles and maps have opposite contrast.
    """
    own = np.array([own_sign(v) for v in volumes])
    judged = signs(matches.gain, matches.group, groups, own)
    if not judged.agree:
        raise InputError(*_complaints(judged, names, ctx))
    if (own < 0).all():
        log.warning(
            "warning: particles and maps agree, but the maps look dark (protein has low values): radius, masks and "
            "--mass want bright ones: turn both, --invert particles,maps"
        )
    if not judged.score.any():
        log.warning(
            "warning: the sign of contrast is not clear from %d particles: look at the maps of the first iterations",
            len(matches.group),
        )
    _warn_of_mixture(matches)
    if ctx.particles.table.optics_of_group.max() >= MOST_GROUPS:
        log.info("the sign of contrast was judged for all optics groups together, which are more than %d", MOST_GROUPS)


def _warn_of_mixture(matches: SingleMapMatches) -> None:
    """Warn when many single particles clearly have the opposite sign."""
    best = matches.gain[np.arange(len(matches.gain)), np.abs(matches.gain).argmax(axis=1)]
    against, clear = int((best < -CLEAR_GAIN).sum()), int((np.abs(best) > CLEAR_GAIN).sum())
    if clear >= FEW and against > MIXED * clear:
        log.warning(
            "warning: of %d particles with a clear sign of contrast %d fit the maps better with their contrast "
            "turned: are some of the stacks dark?",
            clear,
            against,
        )


def _complaints(found: Signs, names: Sequence[str], ctx: Context) -> list[str]:
    """A line for each optics group, and each map, whose contrast must be inverted."""
    every, table = bool((found.group < 0).all()), ctx.particles.table
    judged = len(found.group) > 1 or table.optics_of_group.max() < 1
    groups = table.group_names if judged else ("all",)
    lines = []
    for g in map(int, np.flatnonzero(found.group < 0)):
        m = int(np.abs(found.score[g]).argmax())
        flag = "--invert" if every else f"--invert {g + 1}"
        lines.append(
            f"--input: particles of optics group '{groups[g]}' fit the maps with their contrast turned, by a "
            f"log-likelihood of {abs(found.gain[g, m]):.1f} each ({found.count[g]} tried, "
            f"{abs(found.score[g, m]):.0f} standard errors): protein must be bright: turn them with {flag}"
        )
    turned = np.flatnonzero(found.map < 0)
    from_one = len(names) == 1  # all maps are seeds of one
    for m in map(int, turned[:1] if from_one else turned):
        g = int(np.abs(found.score[:, m]).argmax())
        name = names[0 if from_one else m] if names else f"map {m + 1}"
        lines.append(
            f"--models: {name} fits the particles with its contrast turned, by a log-likelihood of "
            f"{abs(found.gain[g, m]):.1f} each ({found.count[g]} tried): protein must be bright: turn it with --invert "
            f"{'maps' if from_one else f'map{m + 1}'}"
        )
    return lines
