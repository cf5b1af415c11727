"""--invert: the particles and maps whose contrast is inverted."""

from __future__ import annotations

import re

import numpy as np

from mpirefine.data.particles import ParticleTable
from mpirefine.errors import InputError

PARTICLES, MAPS = "particles", "maps"


def find_inverted(text: str | None, table: ParticleTable, maps: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks (p,) and (m,) bool of the particles and maps that --invert names; InputError for an unknown name."""
    optics, map_inverted = table.optics_of_group, np.zeros(maps, bool)
    names = list(table.group_names[: int(optics.max()) + 1])
    group_inverted = np.zeros(len(names), bool)
    for word in [word.strip() for word in (text or "").split(",") if word.strip()]:
        number = re.fullmatch(r"map(\d+)", word)
        if word == PARTICLES:
            group_inverted[:] = True
        elif word == MAPS:
            map_inverted[:] = True
        elif word in names:
            group_inverted[names.index(word)] = True
        elif word.isdecimal() and 1 <= int(word) <= len(names):
            group_inverted[int(word) - 1] = True
        elif number and 1 <= int(number[1]) <= maps:
            map_inverted[int(number[1]) - 1] = True
        else:
            raise InputError(
                f"--invert {word}: unknown: give an optics group "
                f"({', '.join(names[:8])}{', ...' if len(names) > 8 else ''}), its number, particles, maps, or "
                f"map1 to map{maps}"
            )
    return group_inverted[optics[table.group]], map_inverted
