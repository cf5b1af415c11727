"""Asymmetric units of symmetry groups: views none of which is a symmetry copy of another, or the mirror view of
a copy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mpirefine.data.rotations import about, eman_from_rotation
from mpirefine.errors import ParameterError
from mpirefine.maths.geometry.symmetry import (
    HELICAL,
    ICOSAHEDRAL,
    ICOSAHEDRAL_222,
    OCTAHEDRAL,
    PLATONIC,
    TETRAHEDRAL,
    helix,
    icos2_to_icos,
    operations,
    parse,
)

EDGE = 1e-4  # degrees; views so close to the border of the unit belong to it
FIRST_AZIMUTH = 234.0  # degrees from the icosahedral unit's first edge to az 0
FULL_AZIMUTH = {TETRAHEDRAL: 120.0, OCTAHEDRAL: 90.0, ICOSAHEDRAL: 72.0, ICOSAHEDRAL_222: 72.0}


def unit_limits(symmetry: str, mirror: bool = False) -> tuple[float, float]:
    """Largest altitude and azimuth (degrees) of the asymmetric unit; with `mirror` it holds the mirror views of its
    views too.
    """
    family, n = parse(symmetry)
    if family == HELICAL:
        return 90.0 + (helix(symmetry).tilt if mirror else 0.0), 360.0
    if family == "c":
        return 180.0 if mirror else 90.0, 360.0 / n
    if family == "d":
        return 90.0, (360.0 if mirror else 180.0) / n
    full = FULL_AZIMUTH[family]
    return float(np.degrees(_corner(full))), full if mirror or family == TETRAHEDRAL else full / 2


def _corner(full: float) -> float:
    """Angle in radians between the axis along z and the nearest 3-fold axis; `full` is the azimuth (degrees) between
    two.
    """
    return float(np.arccos(1 / (np.sqrt(3) * np.tan(np.radians(full) / 2))))


def in_asym_unit(symmetry: str, alt: ArrayLike, az: ArrayLike, mirror: bool) -> np.ndarray:
    """Whether views lie in the asymmetric unit (border included), with mirror views or without. EMAN2's
    is_in_asym_unit.

    Angles are degrees; az is counted modulo 360 from the unit's first edge, as by `unit_angles`: for icos and icos2
    that is not az itself.
    """
    family, _ = parse(symmetry)
    alt, az = np.broadcast_arrays(np.asarray(alt, np.float64), np.asarray(az, np.float64))
    az = (az + EDGE) % 360 - EDGE
    highest, widest = unit_limits(symmetry, mirror)
    lowest = 90.0 - helix(symmetry).tilt if family == HELICAL else 0.0
    inside = (alt >= lowest - EDGE) & (alt <= highest + EDGE) & (az <= widest + EDGE)
    if family not in PLATONIC:
        return inside
    full = np.radians(FULL_AZIMUTH[family])
    theta, alpha = 0.5 * np.arccos(np.cos(full) / (1 - np.cos(full))), _corner(FULL_AZIMUTH[family])
    near = np.clip(np.minimum(np.radians(az), full - np.radians(az)), 0, full / 2)
    for corner in (alpha, alpha / 2) if family == TETRAHEDRAL and not mirror else (alpha,):
        bound = np.arctan(np.sin(full / 2) / (np.sin(full / 2 - near) / np.tan(theta) + np.sin(near) / np.tan(corner)))
        inside &= np.radians(alt) <= bound + np.radians(EDGE)
    return inside


def to_unit(symmetry: str) -> np.ndarray:
    """Rotation (3, 3) from the map's axes to those in which the angles of the unit are counted."""
    family, _ = parse(symmetry)
    if family not in (ICOSAHEDRAL, ICOSAHEDRAL_222):
        return np.eye(3)
    return about(2, FIRST_AZIMUTH) @ (icos2_to_icos() if family == ICOSAHEDRAL_222 else np.eye(3))


def unit_angles(symmetry: str, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """alt and az in degrees of the views of rotations (..., 3, 3), az counted from the unit's first edge."""
    az, alt, _ = eman_from_rotation(rotation @ to_unit(symmetry).T)
    return alt, az % 360


def reduce(symmetry: str, rotation: np.ndarray) -> np.ndarray:
    """The symmetry copies (..., 3, 3) of rotations (..., 3, 3) whose views lie in the asymmetric unit with mirror
    views. EMAN2's Symmetry3D.reduce(.., 0).

    Raises ParameterError for a helix, which has no unit.
    """
    if parse(symmetry)[0] == HELICAL:
        raise ParameterError(f"symmetry '{symmetry}': a helix has no asymmetric unit to bring views into")
    copies = np.asarray(rotation, np.float64)[..., None, :, :] @ operations(symmetry)
    inside = in_asym_unit(symmetry, *unit_angles(symmetry, copies), True)
    return np.take_along_axis(copies, inside.argmax(axis=-1)[..., None, None, None], axis=-3)[..., 0, :, :]
