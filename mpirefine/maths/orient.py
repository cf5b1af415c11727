"""Directions of projection over a group's asymmetric unit, and which of two grids' directions belong together."""
from __future__ import annotations

import numpy as np

from mpirefine.maths.symmetry import ICOSAHEDRAL, OCTAHEDRAL, TETRAHEDRAL, operations, parse, rotation_from_eman

EDGE = 1e-4                # degrees; points on the unit's border belong to it
CENTRE_STEP = 6.0          # degrees
RIM = 0.7                  # in steps: what a view may be nearer to a copy of the domain's centre and still be kept
FIRST_AZIMUTH = {ICOSAHEDRAL: 234.0}
FULL_AZIMUTH = {TETRAHEDRAL: 120.0, OCTAHEDRAL: 90.0, ICOSAHEDRAL: 72.0}


def unit_limits(symmetry: str) -> tuple[float, float]:
    """Largest altitude and azimuth (degrees) of the asymmetric unit without mirror views."""
    family, n = parse(symmetry)
    if family == "c":
        return 90.0, 360.0 / n
    if family == "d":
        return 90.0, 180.0 / n
    full = np.radians(FULL_AZIMUTH[family])
    azimuth = FULL_AZIMUTH[family] if family == TETRAHEDRAL else FULL_AZIMUTH[family] / 2
    corner = np.degrees(np.arccos(1 / (np.sqrt(3) * np.tan(full / 2))))
    return (corner if family != TETRAHEDRAL else 70.5287793655), azimuth


def in_unit(symmetry: str, alt: float, az: np.ndarray) -> np.ndarray:
    """Whether views lie in the asymmetric unit's curved part (platonic groups); always for c and d, whose limits are straight."""
    family, _ = parse(symmetry)
    if family in ("c", "d"):
        return np.ones(len(az), bool)
    full = np.radians(FULL_AZIMUTH[family])
    theta = 0.5 * np.arccos(np.cos(full) / (1 - np.cos(full)))
    alpha = np.arccos(1 / (np.sqrt(3) * np.tan(full / 2)))
    near = np.minimum(np.radians(az), full - np.radians(az))
    inside = np.ones(len(az), bool)
    for corner in (alpha,) if family != TETRAHEDRAL else (alpha, alpha / 2):
        bound = np.arctan(np.sin(full / 2) / (np.sin(full / 2 - near) / np.tan(theta) + np.sin(near) / np.tan(corner)))
        inside &= np.radians(alt) <= bound + np.radians(EDGE)
    return inside


def eman_grid(symmetry: str, delta: float) -> np.ndarray:
    """EMAN2's `eman` generator with inc_mirror=0, perturb=0: rings of altitude `delta` degrees apart, as (n, 3) az, alt, 0 in degrees."""
    family, n = parse(symmetry)
    altitude, azimuth = unit_limits(symmetry)
    found = []
    for alt in np.arange(0, altitude + EDGE, delta):
        if alt < EDGE:
            found.append((0.0, 0.0, 0.0))
            continue
        step = delta / np.sin(np.radians(alt))
        if azimuth / step < 2.8:
            step = azimuth / 2.1
        limit = azimuth
        if family in ("c", "d") and n % 2 == 1 and abs(alt - 90) < EDGE:
            limit = azimuth / 2
        elif family in ("c", TETRAHEDRAL):
            limit = azimuth - step / 4
        az = np.arange(0, limit + EDGE, step)
        found += [(a, alt, 0.0) for a in az[in_unit(symmetry, alt, az)]]
    grid = np.array(found)
    grid[:, 0] += FIRST_AZIMUTH.get(family, 0.0)
    return grid


def domain_centre(symmetry: str) -> np.ndarray:
    """A view (3,) far from its copies under the group and from their mirrors: the domain of views nearest to it is compact."""
    views, group = rotation_from_eman(*eman_grid("c1", CENTRE_STEP).T)[:, 2], operations(symmetry)
    closeness = np.abs(np.einsum("nx,gxy,ny->ng", views, group[1:], views)).max(axis=1, initial=0)
    return views[closeness.argmin()]


def projection_directions(symmetry: str, delta: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Rotations (n, 3, 3) that cover the asymmetric unit, mirror views left out: no view is further than 0.75 `delta` degrees from one.

    A grid over all views, turned at random with `rng`, of which the group's Dirichlet domain round one point is kept, and a rim: a grid made
    for the unit itself leaves gaps at its border when it is turned.
    """
    views = rotation_from_eman(*eman_grid("c1", delta).T)
    if rng is not None:
        q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        views = views @ (q * np.sign(np.linalg.det(q)))
    near = np.abs(np.einsum("nx,gxy,y->ng", views[:, 2], operations(symmetry), domain_centre(symmetry)))
    angle = np.degrees(np.arccos(np.clip(near, 0, 1)))
    return views[angle[:, 0] <= angle.min(axis=1) + RIM * delta]


def nearest_cells(fine: np.ndarray, coarse: np.ndarray, symmetry: str) -> np.ndarray:
    """(f,) index of the coarse view nearest to each fine one, symmetry copies and mirrors (opposite views) counted as the same."""
    from scipy.spatial import cKDTree
    copies = np.einsum("cx,gxy->gcy", coarse[:, 2], operations(symmetry))
    points = np.concatenate([copies, -copies]).reshape(-1, 3)
    return cKDTree(points).query(fine[:, 2])[1] % len(coarse)


def angular_distance(a: np.ndarray, b: np.ndarray, symmetry: str = "c1") -> np.ndarray:
    """(n,) angle in degrees between the views of rotations a and b (n, 3, 3), mirrors and symmetry copies counted as the same."""
    copies = np.einsum("nx,gxy->gny", b[:, 2], operations(symmetry))
    cosine = np.abs(np.einsum("nx,gnx->gn", a[:, 2], copies)).max(axis=0)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
