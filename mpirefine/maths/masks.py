"""Masks of images and maps, and how large a particle is."""
from __future__ import annotations

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.maths.filters import lowpass_gauss

DENSITY_KEPT = 0.999       # share of the density above threshold that the radius encloses
SMOOTH_VOXELS = 2.0        # Gaussian sigma before thresholding: single noisy voxels do not count
THRESHOLD_SIGMA = 2.0      # above the background, which is the outermost shell of the box
LEAST_SPREAD = 0.02        # of the highest density: what the spread of the background is taken for when the map has none
CENTRE_FLOOR, EDGE_CAP = 5.0, 0.47


def soft_sphere(nx: int, radius: float, width: float, ndim: int) -> np.ndarray:
    """1 within `radius` pixels of nx // 2, a raised-cosine edge of `width` pixels, 0 beyond; float32."""
    axes = np.meshgrid(*[np.arange(nx, dtype=np.float32) - nx // 2] * ndim, indexing="ij", sparse=True)
    distance = np.sqrt(sum(a * a for a in axes))
    return (0.5 + 0.5 * np.cos(np.pi * np.clip((distance - radius) / width, 0, 1))).astype(np.float32)


def estimate_radius(map_zyx: np.ndarray, grid: Grid) -> float:
    """Radius in Å round the box centre that holds nearly all density above the background; between 5 pixels and 0.47 of the box."""
    from scipy.ndimage import gaussian_filter
    nx = grid.nx
    smooth = gaussian_filter(map_zyx.astype(np.float32), SMOOTH_VOXELS)
    axes = np.meshgrid(*[np.arange(nx, dtype=np.float32) - nx // 2] * 3, indexing="ij", sparse=True)
    distance = np.sqrt(sum(a * a for a in axes))
    rim = smooth[(distance > EDGE_CAP * nx) & (distance <= nx / 2)]
    background = np.median(rim)
    spread = max(1.4826 * np.median(np.abs(rim - background)), LEAST_SPREAD * float(smooth.max() - background))
    density = np.where((smooth > background + THRESHOLD_SIGMA * spread) & (distance < nx / 2), smooth - background, 0)
    shells = np.bincount(distance.astype(int).ravel(), density.ravel(), nx)
    if shells.sum() <= 0:
        return EDGE_CAP * grid.length
    radius = float(np.searchsorted(np.cumsum(shells) / shells.sum(), DENSITY_KEPT)) + 1
    return float(np.clip(radius, CENTRE_FLOOR, EDGE_CAP * nx)) * grid.apix


def auto3d(map_zyx: np.ndarray, threshold: float, radius: int, nshells: int, nshellsgauss: int, nmaxseed: int) -> np.ndarray:
    """EMAN2's mask.auto3d, float32 0..1: flood from seeds above `threshold`, dilate, soften.

    Seeds are voxels at or above the threshold within `radius` voxels of the centre, and the `nmaxseed` highest ones. The flood (six
    neighbours) is dilated by nshells + nshellsgauss / 2 shells (the outermost voxels of the box are left out), low-passed with 1/e at
    1 / nshellsgauss per voxel, cut below 0.002.
    """
    from scipy import ndimage
    nx = len(map_zyx)
    above = map_zyx >= threshold
    axes = np.meshgrid(*[np.arange(nx) - nx // 2] * 3, indexing="ij", sparse=True)
    seeds = above & (sum(a * a for a in axes) <= radius * radius) if radius > 0 else np.zeros_like(above)
    if nmaxseed > 0:
        seeds.ravel()[np.argpartition(map_zyx.ravel(), -nmaxseed)[-nmaxseed:]] = True
    label, _ = ndimage.label(above)
    wanted = np.unique(label[seeds & above])
    mask = np.isin(label, wanted[wanted > 0])
    shells = int(nshells + nshellsgauss // 2)
    if shells > 0:
        inside = np.zeros_like(mask)
        inside[1:-1, 1:-1, 1:-1] = True
        mask = ndimage.binary_dilation(mask, iterations=shells, mask=inside) & inside
    if nshellsgauss < 1:
        return mask.astype(np.float32)
    soft = lowpass_gauss(mask.astype(np.float32), Grid(nx, 1.0), 1 / nshellsgauss)
    return np.where(soft < 0.002, 0, soft).astype(np.float32)
