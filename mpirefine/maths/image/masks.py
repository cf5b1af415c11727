"""Masks of images and maps, and the radius of a particle."""

from __future__ import annotations

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.maths.fourier.filters import filtered, gauss

DENSITY_KEPT = 0.999  # share of the density above threshold that the radius encloses
SMOOTH_VOXELS = 2.0  # sigma of a Gaussian before thresholding, so that single noisy voxels do not count
THRESHOLD_SIGMA = 2.0  # standard deviations above the background, which is measured in the outermost shell of the box
LEAST_SPREAD = 0.02  # of the highest density: the least standard deviation of the background
LEAST_RADIUS, EDGE_CAP = 5.0, 0.47  # limits of the radius: pixels, and share of the box


def soft_sphere(nx: int, radius: float, width: float, ndim: int) -> np.ndarray:
    """1 within `radius` pixels of pixel nx // 2, a raised-cosine edge of `width` pixels, 0 beyond; (nx,) * ndim
    float32.
    """
    axes = np.meshgrid(*[np.arange(nx, dtype=np.float32) - nx // 2] * ndim, indexing="ij", sparse=True)
    distance = np.sqrt(sum(a * a for a in axes))
    return (0.5 + 0.5 * np.cos(np.pi * np.clip((distance - radius) / width, 0, 1))).astype(np.float32)


def estimate_radius(map_zyx: np.ndarray, grid: Grid) -> float:
    """Radius in Å around the box centre that encloses nearly all density above the background; from 5 pixels to 0.47 of
    the box.
    """
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
    return float(np.clip(radius, LEAST_RADIUS, EDGE_CAP * nx)) * grid.apix


def flood(image: np.ndarray, seeds: np.ndarray, threshold: float) -> np.ndarray:
    """The seeds (bool), and all that is connected with them over faces through values above a threshold; the outermost
    pixels are left out.
    """
    from scipy import ndimage

    label, _ = ndimage.label((image > threshold) & interior(image.shape))
    wanted = np.unique(label[ndimage.binary_dilation(seeds)])
    return seeds | np.isin(label, wanted[wanted > 0])


def interior(shape: tuple[int, ...]) -> np.ndarray:
    """All pixels but the outermost, bool."""
    inside = np.zeros(shape, bool)
    inside[(slice(1, -1),) * len(shape)] = True
    return inside


def grown(mask: np.ndarray, shells: int) -> np.ndarray:
    """A mask with so many shells of face neighbours added; the outermost pixels of the box are left out."""
    from scipy import ndimage

    return ndimage.binary_dilation(mask, iterations=shells, mask=interior(mask.shape)) if shells > 0 else mask


def highest(image: np.ndarray, count: int) -> np.ndarray:
    """The `count` highest pixels, bool."""
    seeds = np.zeros(image.shape, bool)
    if count > 0:
        seeds.ravel()[np.argpartition(image.ravel(), -min(count, image.size))[-count:]] = True
    return seeds


def ball(shape: tuple[int, ...], radius: float) -> np.ndarray:
    """Pixels within `radius` of pixel n // 2, bool; none for radius 0."""
    axes = np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij", sparse=True)
    return np.asarray(sum(a * a for a in axes) <= (radius * radius if radius > 0 else -1))


def softened(mask: np.ndarray, nshells: int, nshellsgauss: int) -> np.ndarray:
    """The soft edge of EMAN2's mask.auto3d, float32 0..1: nshells + nshellsgauss / 2 shells are added, a low-pass with
    1/e at 1 / nshellsgauss per voxel follows, values below 0.002 become 0.
    """
    mask = grown(mask, int(nshells + nshellsgauss // 2)).astype(np.float32)
    soft = filtered(mask, gauss(1 / nshellsgauss)) if nshellsgauss > 0 else mask
    return np.where(soft < 0.002, 0, soft).astype(np.float32)


def auto3d(
    map_zyx: np.ndarray, threshold: float, radius: int, nshells: int, nshellsgauss: int, nmaxseed: int
) -> np.ndarray:
    """EMAN2's mask.auto3d, float32 0..1: a flood from seeds through what is above `threshold`, with a soft edge.

    Seeds are the voxels at or above the threshold within `radius` voxels of the centre, and the `nmaxseed` highest
    ones. The flood goes over faces; it and the added shells leave out the outermost voxels of the box.
    """
    seeds = (map_zyx >= threshold) & ball(map_zyx.shape, radius) | highest(map_zyx, nmaxseed)
    return softened(flood(map_zyx, seeds, threshold), nshells, nshellsgauss)
