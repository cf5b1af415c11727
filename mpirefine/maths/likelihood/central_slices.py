"""Central slices of maps, exact for a band-limited map: type-2 non-uniform FFT of its voxels (finufft), without padding
or interpolation.
"""

from __future__ import annotations

import numpy as np

from mpirefine.maths.fourier.polar import PolarGrid

POINTS_PER_CALL = 1 << 21  # a large number, since each call first transforms the whole map


def slices(map_zyx: np.ndarray, rotations: np.ndarray, points: np.ndarray, threads: int = 1) -> np.ndarray:
    """The transform of a map (origin at voxel n // 2) on planes through the origin, (d, ...) complex64.

    `rotations` (d, 3, 3) take map to image coordinates; `points` (..., 2) are x, y in Fourier pixels. Not scaled: it is
    the transform of the projection as the sum of voxels along the image's z.
    """
    import finufft

    nx, shape = len(map_zyx), points.shape[:-1]
    flat = points.reshape(-1, 2)
    values = np.empty((len(rotations), len(flat)), np.complex64)
    per_call = max(1, POINTS_PER_CALL // max(len(flat), 1))
    if not values.size:
        return values.reshape(len(rotations), *shape)
    plan = finufft.Plan(2, map_zyx.shape, eps=1e-4, isign=-1, dtype="complex64", nthreads=threads)
    voxels, scaled = map_zyx.astype(np.complex64), (flat * (2 * np.pi / nx)).astype(np.float32)
    for start in range(0, len(rotations), per_call):
        part = rotations[start : start + per_call]
        # Rᵀ (u, v, 0): the first two rows of R weighted by u and v
        where = np.ascontiguousarray(np.moveaxis(scaled @ part[:, :2].astype(np.float32), -1, 0)).reshape(3, -1)
        plan.setpts(*where[::-1])
        values[start : start + per_call] = plan.execute(voxels).reshape(len(part), -1)
    return values.reshape(len(rotations), *shape)


def polar_slices(map_zyx: np.ndarray, rotations: np.ndarray, grid: PolarGrid, threads: int = 1) -> np.ndarray:
    """Half-circle samples (d, k, t) complex64 of the transform of each projection."""
    return slices(map_zyx, rotations, grid.points, threads)


def in_plane(rotations: np.ndarray, angle: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Rotations (n, 3, 3) of images that are the projections at `rotations`, mirrored, then turned: Z(angle) · diag(1,
    −1, −1)^mirror · R.

    `angle` (n,) is in radians, EMAN2's phi (passive); a mirrored projection is the view from the opposite side.
    """
    turned = rotations * np.where(mirror[:, None], [1.0, -1.0, -1.0], 1.0)[:, :, None]
    cos, sin = np.cos(angle)[:, None].astype(np.float64), np.sin(angle)[:, None].astype(np.float64)
    x, y = turned[:, 0], turned[:, 1]
    return np.stack([cos * x + sin * y, cos * y - sin * x, turned[:, 2]], axis=1)
