"""Projection directions over a group's asymmetric unit, and the nearest directions of a coarser grid."""

from __future__ import annotations

import numpy as np

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.maths.geometry.even_views import even_views
from mpirefine.maths.geometry.symmetry import operations

CENTRE_STEP = 6.0  # degrees between the views that are tried as the domain's centre
RIM = 0.7  # steps: a view is kept although a symmetry copy of the centre is nearer by so much


def domain_centre(symmetry: str) -> np.ndarray:
    """A unit vector (3,) far from its symmetry copies and their opposites, so that the domain of views nearest to it is
    compact.
    """
    views, group = rotation_from_eman(*even_views("c1", CENTRE_STEP).T)[:, 2], operations(symmetry)
    closeness = np.abs(np.einsum("nx,gxy,ny->ng", views, group[1:], views)).max(axis=1, initial=0)
    return views[closeness.argmin()]


def projection_directions(symmetry: str, delta: float, rng: np.random.Generator | None = None) -> np.ndarray:
    """Rotations (n, 3, 3) that cover the asymmetric unit without mirror views: every view is within 0.75 `delta`
    degrees of one of them.

    Of a grid over all views, with `rng` turned at random, those nearer to one point than to its symmetry copies (the
    Dirichlet domain) are kept, and a rim round them: a turned grid over the unit alone would leave gaps at its border.
    """
    views = rotation_from_eman(*even_views("c1", delta).T)
    if rng is not None:
        q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        views = views @ (q * np.sign(np.linalg.det(q)))
    near = np.abs(np.einsum("nx,gxy,y->ng", views[:, 2], operations(symmetry), domain_centre(symmetry)))
    angle = np.degrees(np.arccos(np.clip(near, 0, 1)))
    return views[angle[:, 0] <= angle.min(axis=1) + RIM * delta]


def nearest_cells(fine: np.ndarray, coarse: np.ndarray, symmetry: str) -> np.ndarray:
    """Index (f,) of the coarse view nearest to each fine one; both are rotations (f, 3, 3), (c, 3, 3).

    Symmetry copies and opposite views count as the same.
    """
    from scipy.spatial import cKDTree

    copies = np.einsum("cx,gxy->gcy", coarse[:, 2], operations(symmetry))
    points = np.concatenate([copies, -copies]).reshape(-1, 3)
    return cKDTree(points).query(fine[:, 2])[1] % len(coarse)
