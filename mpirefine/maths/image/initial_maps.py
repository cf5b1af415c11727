"""Several starting maps from one map."""

from __future__ import annotations

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.maths.fourier.filters import lowpass_cosine
from mpirefine.maths.image.masks import estimate_radius, soft_sphere


def noise_seeds(
    map_zyx: np.ndarray, grid: Grid, n: int, *, rng: np.random.Generator, resolution: float, strength: float
) -> list[np.ndarray]:
    """n maps (z, y, x) float32: the map plus noise within the particle, low-passed to `resolution` (Å).

    The noise has `strength` times the map's standard deviation within the particle's radius; its mean over the n maps
    is 0, so that the mean of the seeds is the map.
    """
    mask = soft_sphere(grid.nx, estimate_radius(map_zyx, grid) / grid.apix, 4.0, 3)
    noise = np.stack(
        [
            lowpass_cosine(rng.standard_normal(map_zyx.shape).astype(np.float32), grid, resolution) * mask
            for _ in range(n)
        ]
    )
    noise -= noise.mean(axis=0)
    inside = mask > 0.5
    noise *= strength * map_zyx[inside].std() / max(float(noise[:, inside].std()), 1e-30)
    return [(map_zyx + added).astype(np.float32) for added in noise]


def fragment_seeds(map_zyx: np.ndarray, n: int, *, threshold: float, rng: np.random.Generator) -> list[np.ndarray]:
    """n maps (z, y, x) float32: the map itself, then the map without one of its parts each.

    The parts are n + 2 clusters (k-means) of the voxels above `threshold`, as in e2refinemulti's --mapfragment; voxels
    below it belong to the nearest part.
    """
    from scipy.cluster.vq import kmeans2
    from scipy.spatial import cKDTree

    places = np.argwhere(map_zyx > threshold).astype(float)
    if len(places) < 2 * (n + 2):
        places = np.argwhere(map_zyx >= np.sort(map_zyx.ravel())[-2 * (n + 2)]).astype(float)
    centres, _ = kmeans2(places, n + 2, minit="++", seed=rng)
    part = cKDTree(centres).query(np.argwhere(np.ones(map_zyx.shape, bool)))[1].reshape(map_zyx.shape)
    largest = np.argsort(
        [-float(map_zyx[(part == k) & (map_zyx > threshold)].sum()) for k in range(n + 2)], kind="stable"
    )
    return [map_zyx, *(np.where(part == k, 0, map_zyx).astype(np.float32) for k in largest[: n - 1])]
