"""The background of particle images, a plane and a standard deviation of each, and images without it.

What carries no particle tells how an image was recorded: counts, gain, ice, a ramp. All of it must go before images are compared with one noise model
(RELION's and EMAN2's preprocessing do the same with the area outside a circle).
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLIP = 3.5                 # robust standard deviations beyond which a pixel is no background: hot pixels, carbon, a neighbour
ROUNDS = 4
LEAST_SHARE = 0.05         # of the spread of all pixels that the background's is taken for at least: simulated images may have none
NORMAL_RANGE = 4.653       # standard deviations between the 1st and 99th percentile of a normal deviate
MAD_TO_SIGMA = 1.4826
EDGE = 0.47                # of the box: the circle outside of which is background is no larger


@dataclass(frozen=True)
class Background:
    """Of each image (p,) float64: the `level` in the middle, the `slope` (p, 2) along x and y per pixel, the standard deviation `scale`."""

    level: np.ndarray
    slope: np.ndarray
    scale: np.ndarray

    @classmethod
    def blank(cls, count: int) -> "Background":
        """Backgrounds that change nothing."""
        return cls(np.zeros(count), np.zeros((count, 2)), np.ones(count))

    def take(self, rows) -> "Background":
        """The given rows."""
        return Background(self.level[rows], self.slope[rows], self.scale[rows])

    def put(self, rows, other: "Background") -> None:
        """Fill in rows."""
        self.level[rows], self.slope[rows], self.scale[rows] = other.level, other.slope, other.scale

    def removed(self, images_pyx: np.ndarray) -> np.ndarray:
        """(p, y, x) float32 images whose background has the mean 0, no slope and the standard deviation 1."""
        nx = images_pyx.shape[-1]
        axis = np.arange(nx, dtype=np.float64) - nx // 2
        plane = self.level[:, None, None] + self.slope[:, :1, None] * axis[None, None, :] + self.slope[:, 1:, None] * axis[None, :, None]
        return ((images_pyx - plane) / self.scale[:, None, None]).astype(np.float32)


def outside_circle(nx: int, radius: float) -> np.ndarray:
    """(y, x) bool, pixels farther than `radius` from nx // 2, or than EDGE of the box."""
    axis = np.arange(nx) - nx // 2
    return np.hypot(axis[:, None], axis) > min(radius, EDGE * nx)


def backgrounds(images_pyx: np.ndarray, outside_yx: np.ndarray) -> Background:
    """Plane by least squares through the pixels outside, those beyond CLIP deviations left out, and the standard deviation about it."""
    nx = images_pyx.shape[-1]
    y, x = np.nonzero(outside_yx)
    x, y = x - nx // 2, y - nx // 2
    terms = np.stack([np.ones(len(x)), x, y], -1).astype(np.float64)
    inverse = np.linalg.pinv(terms)                                    # (3, n)
    pixels = images_pyx[:, outside_yx].astype(np.float64)
    fitted = np.median(pixels, axis=1, keepdims=True)
    for _ in range(ROUNDS):
        left = pixels - fitted
        most = CLIP * MAD_TO_SIGMA * np.median(np.abs(left), axis=1, keepdims=True)
        plane = (fitted + np.where(np.abs(left) <= most, left, 0)) @ inverse.T
        fitted = plane @ terms.T
    left = pixels - fitted
    kept = np.abs(left) <= most
    scale = np.sqrt((left ** 2 * kept).sum(axis=1) / np.maximum(kept.sum(axis=1), 1))
    found = Background(plane[:, 0], plane[:, 1:], np.ones(len(plane)))
    low, high = np.percentile(found.removed(images_pyx)[:, ::2, ::2], (1, 99), axis=(1, 2))
    scale = np.hypot(scale, LEAST_SHARE * (high - low) / NORMAL_RANGE)
    return Background(found.level, found.slope, np.where(scale > 0, scale, 1.0))
