"""--invert: which particles and maps have their contrast turned."""

from __future__ import annotations

import re

import numpy as np

from mpirefine.data.particles import ParticleTable
from mpirefine.errors import InputError

PARTICLES, MAPS = "particles", "maps"


def turned(text: str | None, table: ParticleTable, maps: int) -> tuple[np.ndarray, np.ndarray]:
    """(p,) bool particles and (m,) bool maps that --invert names. InputError for a name that is none of them."""
    optics, map_turned = table.optics_of_group, np.zeros(maps, bool)
    names = list(table.group_names[: int(optics.max()) + 1])
    group_turned = np.zeros(len(names), bool)
    for word in [word.strip() for word in (text or "").split(",") if word.strip()]:
        number = re.fullmatch(r"map(\d+)", word)
        if word == PARTICLES:
            group_turned[:] = True
        elif word == MAPS:
            map_turned[:] = True
        elif word in names:
            group_turned[names.index(word)] = True
        elif word.isdecimal() and 1 <= int(word) <= len(names):
            group_turned[int(word) - 1] = True
        elif number and 1 <= int(number[1]) <= maps:
            map_turned[int(number[1]) - 1] = True
        else:
            raise InputError(
                f"--invert {word}: is no optics group (there are "
                f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}), "
                f"nor one of particles, maps, map1 to map{maps}"
            )
    return group_turned[optics[table.group]], map_turned
