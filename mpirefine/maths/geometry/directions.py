"""Directions of projection over a group's asymmetric unit, and which of two grids' directions belong together."""

from __future__ import annotations

import numpy as np

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.maths.geometry.even_views import even_views
from mpirefine.maths.geometry.symmetry import operations

CENTRE_STEP = 6.0  # degrees
RIM = 0.7  # in steps: what a view may be nearer to a copy of the domain's centre and still be kept


def domain_centre(symmetry: str) -> np.ndarray:
    """A view (3,) far from its copies under the group and from their mirrors: the domain of views nearest to it is
    compact.
    """
    views, group = rotation_from_eman(*even_views("c1", CENTRE_STEP).T)[:, 2], operations(symmetry)
    closeness = np.abs(np.einsum("nx,gxy,ny->ng", views, group[1:], views)).max(axis=1, initial=0)
    return views[closeness.argmin()]


def projection_directions(symmetry: str, delta: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Rotations (n, 3, 3) that cover the asymmetric unit, mirror views left out: no view is further than 0.75 `delta`
    degrees from one.

    A grid over all views, turned at random with `rng`, of which the group's Dirichlet domain round one point is kept,
    and a rim: a grid made
    for the unit itself leaves gaps at its border when it is turned.
    """
    views = rotation_from_eman(*even_views("c1", delta).T)
    if rng is not None:
        q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        views = views @ (q * np.sign(np.linalg.det(q)))
    near = np.abs(np.einsum("nx,gxy,y->ng", views[:, 2], operations(symmetry), domain_centre(symmetry)))
    angle = np.degrees(np.arccos(np.clip(near, 0, 1)))
    return views[angle[:, 0] <= angle.min(axis=1) + RIM * delta]


def nearest_cells(fine: np.ndarray, coarse: np.ndarray, symmetry: str) -> np.ndarray:
    """(f,) index of the coarse view nearest to each fine one, symmetry copies and mirrors (opposite views) counted as
    the same.
    """
    from scipy.spatial import cKDTree

    copies = np.einsum("cx,gxy->gcy", coarse[:, 2], operations(symmetry))
    points = np.concatenate([copies, -copies]).reshape(-1, 3)
    return cKDTree(points).query(fine[:, 2])[1] % len(coarse)


def angular_distance(a: np.ndarray, b: np.ndarray, symmetry: str = "c1") -> np.ndarray:
    """(n,) angle in degrees between the views of rotations a and b (n, 3, 3), mirrors and symmetry copies counted as
    the same.
    """
    copies = np.einsum("nx,gxy->gny", b[:, 2], operations(symmetry))
    cosine = np.abs(np.einsum("nx,gnx->gn", a[:, 2], copies)).max(axis=0)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
