"""Projections of maps prepared for matching, on two levels of directions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.poses import Orientations
from mpirefine.maths.fourier.polar import PolarGrid


@dataclass(frozen=True)
class PreparedLevel:
    """References of one level, in windows of the node, float32: `matrices` (r, T, k) for T in-plane angles, ring powers
    (r, k).

    `along` (r,) is how far, in pixels, a particle may be shifted along the axis of a helix: at most half a rise;
    infinite for other maps. `uneven` (r, o, k) holds what their norm terms need where the CTF is astigmatic; its o is 0
    on the coarse grid and without CTF.
    """

    orientations: Orientations
    grid: PolarGrid
    angles: int
    matrices: np.ndarray
    power: np.ndarray
    uneven: np.ndarray
    along: np.ndarray


@dataclass(frozen=True)
class References:
    """Both levels, and for each coarse projection the fine ones in its cell (`children[i]` are rows of the fine
    list).
    """

    coarse: PreparedLevel
    fine: PreparedLevel
    children: tuple[np.ndarray, ...]


def of_map(references: References, model: int) -> References:
    """What belongs to one map, as views: the references of a refinement of this map alone."""
    coarse, fine = references.coarse, references.fine
    rows, near = coarse.orientations.of_model(model), fine.orientations.of_model(model)
    return References(
        part_of(coarse, rows), part_of(fine, near), tuple(own - near.start for own in references.children[rows])
    )


def part_of(level: PreparedLevel, rows: slice) -> PreparedLevel:
    """Some rows of a level, as the only map's."""
    own = Orientations(level.orientations.rotation[rows], np.zeros(rows.stop - rows.start, np.int32))
    arrays = {name: getattr(level, name)[rows] for name in ("matrices", "power", "uneven", "along")}
    return replace(level, orientations=own, **arrays)
