"""Views spread evenly over a group's asymmetric unit: rings of equal altitude, about one step apart.

Angles are EMAN2's az, alt, phi in degrees. Limits are met within 1e-4 degrees; EMAN2 sums its steps in single precision
and so misses the equator for some steps that divide 90 (90 / 13).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mpirefine.data.rotations import eman_from_rotation, rotation_from_eman
from mpirefine.maths.geometry.asymmetric_unit import EDGE, FIRST_AZIMUTH, in_asym_unit, to_unit, unit_limits
from mpirefine.maths.geometry.symmetry import (
    HELICAL,
    ICOSAHEDRAL,
    ICOSAHEDRAL_222,
    PLATONIC,
    TETRAHEDRAL,
    helix,
    parse,
)

FEWEST = 2.8  # steps of azimuth on a ring; a ring with fewer gets SPREAD steps instead
SPREAD = 2.1


def even_views(symmetry: str, delta: float, *, mirror: bool = False) -> np.ndarray:
    """Views (n, 3), az, alt, phi = 0 in degrees, about `delta` degrees apart over the asymmetric unit.

    `mirror`: the unit holds the opposite views too.
    """
    views = [
        np.stack([azimuth, np.full(len(azimuth), altitude)], axis=1)
        for altitude, _, azimuth in altitude_rings(symmetry, delta, mirror)
    ]
    return on_map(symmetry, np.concatenate(views))


def lowest_altitude(symmetry: str) -> float:
    """Smallest altitude (degrees) in the asymmetric unit: 0, but for a helix."""
    return 90.0 - helix(symmetry).tilt if parse(symmetry)[0] == HELICAL else 0.0


def altitudes(symmetry: str, delta: float, mirror: bool, alt_max: float = 180.0) -> np.ndarray:
    """Altitudes of the rings in degrees, `delta` apart.

    Those of a helix start at its largest tilt, and with `mirror` they lie on both sides of the equator.
    """
    helical = parse(symmetry)[0] == HELICAL
    found = np.arange(
        lowest_altitude(symmetry), min(unit_limits(symmetry, mirror and not helical)[0], alt_max) + EDGE, delta
    )
    below = found[::-1][found[::-1] < 90.0 - EDGE]
    return np.concatenate([found, 180.0 - below]) if helical and mirror else found


def altitude_rings(
    symmetry: str, delta: float, mirror: bool, alt_min: float = 0.0, alt_max: float = 180.0
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Altitude, step in azimuth and azimuths (k,) of each ring, all in degrees; see EMAN2's orientation generator eman.

    Azimuths are counted from the unit's first edge, as in `unit_angles`.
    """
    _, widest = unit_limits(symmetry, mirror)
    for alt in altitudes(symmetry, delta, mirror, alt_max):
        if alt < alt_min - EDGE:
            continue
        if alt < EDGE:
            yield float(alt), widest, np.zeros(1)
            continue
        h = delta / max(np.sin(np.radians(alt)), EDGE)
        h = widest / SPREAD if widest / h < FEWEST else h
        az = _azimuths(symmetry, h, widest, mirror, abs(alt - 90) < EDGE)
        yield float(alt), h, views_on_ring(symmetry, alt, az, mirror)[:, 0]


def _azimuths(symmetry: str, h: float, widest: float, mirror: bool, equator: bool) -> np.ndarray:
    """Azimuths of one ring. The unit's last edge is left out where it is a symmetry copy of the first, and so is the
    part of the equator that is a copy of the rest.
    """
    family, n = parse(symmetry)
    if equator and family == "d" and n % 2 and mirror:
        first = np.arange(0, widest / 4 + EDGE, h)
        return np.concatenate([first, np.arange(first[-1] + h + widest / 2, widest + EDGE, h)])
    if equator and (family == "d" and (n % 2 or mirror) or family == "c" and n % 2 and not mirror):
        return np.arange(0, widest / 2 + EDGE, h)
    closed = family in ("c", TETRAHEDRAL, HELICAL) or mirror
    return np.arange(0, (widest - h / 4 if closed else widest) + EDGE, h)


def views_on_ring(symmetry: str, alt: float, az: np.ndarray, mirror: bool) -> np.ndarray:
    """The views (k, 2), az and alt in degrees, of a ring that lie in the asymmetric unit."""
    views = np.stack([az, np.full(len(az), alt)], axis=1)
    return views[in_asym_unit(symmetry, alt, az, mirror)] if parse(symmetry)[0] in PLATONIC else views


def on_map(symmetry: str, views: np.ndarray) -> np.ndarray:
    """Views (k, 2), az and alt counted in the asymmetric unit, as az, alt, phi (k, 3) of the map; degrees."""
    full = np.concatenate([views, np.zeros((len(views), 1))], axis=1)
    if parse(symmetry)[0] == ICOSAHEDRAL_222:
        return np.stack(eman_from_rotation(rotation_from_eman(*full.T) @ to_unit(symmetry)), axis=1)
    return full + [FIRST_AZIMUTH if parse(symmetry)[0] == ICOSAHEDRAL else 0.0, 0.0, 0.0]
