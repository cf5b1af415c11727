"""Projection directions over a group's asymmetric unit, and the nearest directions of a coarser grid."""

from __future__ import annotations

import numpy as np

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.maths.geometry.even_views import even_views
from mpirefine.maths.geometry.helix import Helix, parse_helix
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
    A helix is seen from the side, see `side_views`.
    """
    coil = parse_helix(symmetry)
    if coil is not None:
        return side_views(coil, delta, 0.5 if rng is None else float(rng.random()))
    views = rotation_from_eman(*even_views("c1", delta).T)
    if rng is not None:
        q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        views = views @ (q * np.sign(np.linalg.det(q)))
    near = np.abs(np.einsum("nx,gxy,y->ng", views[:, 2], operations(symmetry), domain_centre(symmetry)))
    angle = np.degrees(np.arccos(np.clip(near, 0, 1)))
    return views[angle[:, 0] <= angle.min(axis=1) + RIM * delta]


def side_views(coil: Helix, delta: float, start: float) -> np.ndarray:
    """Rotations (n, 3, 3) of views of a helix up to its `tilt` from the equator, about `delta` degrees apart, none of
    which is a copy of another turned between starts, or the mirror view of one. `start` is where rings begin, in steps.

    What differs by steps along the helix is another view here: shifts along the axis are short of a step instead.
    """
    one_side = coil.nstart % 2 == 0  # then half a turn is a symmetry, and mirrors below the equator what is above it
    extent = coil.tilt * (1 if one_side else 2)
    rings = max(1, int(np.ceil(extent / delta)))
    rings += 0 if one_side else 1 - rings % 2  # odd: mirrored rings are staggered as those that they go on from
    height = extent / rings
    alts = 90 - coil.tilt + height * (np.arange(rings) + 0.5)
    widest = (360 if one_side else 180) / coil.nstart
    columns = max(1, int(np.ceil(widest / delta)))
    az = (np.arange(columns) + start) * widest / columns
    stagger = np.arange(rings)[:, None] % 2 * (widest / columns / 2)
    return rotation_from_eman((az + stagger).ravel(), np.repeat(alts, columns), 0.0)


def nearest_cells(fine: np.ndarray, coarse: np.ndarray, symmetry: str) -> np.ndarray:
    """Index (f,) of the coarse view nearest to each fine one; both are rotations (f, 3, 3), (c, 3, 3).

    Symmetry copies and opposite views count as the same.
    """
    from scipy.spatial import cKDTree

    copies = np.einsum("cx,gxy->gcy", coarse[:, 2], operations(symmetry))
    points = np.concatenate([copies, -copies]).reshape(-1, 3)
    return cKDTree(points).query(fine[:, 2])[1] % len(coarse)
