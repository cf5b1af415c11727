"""The background of particle images, a plane and a standard deviation of each, and images without it.

What carries no particle tells how an image was recorded: counts, gain, ice, a ramp. All of it must go before images are
compared with one noise model (RELION's and EMAN2's preprocessing do the same with the area outside a circle).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLIP = 3.5  # robust standard deviations beyond which a pixel is no background: hot pixels, carbon, a neighbour
ROUNDS = 4
LEAST_SHARE = (
    0.05  # of the spread of all pixels that the background's is taken for at least: simulated images may have none
)
NORMAL_RANGE = 4.653  # standard deviations between the 1st and 99th percentile of a normal deviate
MAD_TO_SIGMA = 1.4826
PADDED, DISTINCT = (
    0.05,
    0.5,
)  # share of pixels of one value that are padding, where the others are mostly of different values
COARSE = 0.125  # different values for each pixel below which they are steps, as counts are
MOST_PIXELS, WHOLE_SAMPLED = 8192, 64  # of an image that its background is told from; rows and columns of the whole one
EDGE = 0.47  # of the box: the circle outside of which is background is no larger


@dataclass(frozen=True)
class Background:
    """Of each image (p,) float64: the `level` in the middle, the `slope` (p, 2) along x and y per pixel, the standard
    deviation `scale`.

    `padding` is the value of pixels that were never recorded, nan where there are none.
    """

    level: np.ndarray
    slope: np.ndarray
    scale: np.ndarray
    padding: np.ndarray

    @classmethod
    def blank(cls, count: int) -> Background:
        """Backgrounds that change nothing."""
        return cls(np.zeros(count), np.zeros((count, 2)), np.ones(count), np.full(count, np.nan))

    def take(self, rows) -> Background:
        """The given rows."""
        return Background(self.level[rows], self.slope[rows], self.scale[rows], self.padding[rows])

    def put(self, rows, other: Background) -> None:
        """Fill in rows."""
        for own, values in zip(
            (self.level, self.slope, self.scale, self.padding), (other.level, other.slope, other.scale, other.padding)
        ):
            own[rows] = values

    def removed(self, images_pyx: np.ndarray) -> np.ndarray:
        """(p, y, x) float32 images whose background has the mean 0, no slope and the standard deviation 1; padding is
        0.
        """
        nx = images_pyx.shape[-1]
        axis = np.arange(nx, dtype=np.float32) - nx // 2
        level, slope_x, slope_y, scale = (
            v.astype(np.float32)[:, None] for v in (self.level, self.slope[:, 0], self.slope[:, 1], self.scale)
        )
        out = images_pyx.astype(np.float32) - level[..., None]
        out -= (slope_x * axis)[:, None, :]
        out -= (slope_y * axis)[:, :, None]
        out /= scale[..., None]
        for row in np.flatnonzero(~np.isnan(self.padding)):
            out[row][images_pyx[row] == np.float32(self.padding[row])] = 0
        return out


def outside_circle(nx: int, radius: float) -> np.ndarray:
    """(y, x) bool, pixels farther than `radius` from nx // 2, or than EDGE of the box."""
    axis = np.arange(nx) - nx // 2
    return np.hypot(axis[:, None], axis) > min(radius, EDGE * nx)


def padding_and_steps(pixels_pn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p,) the value that so many pixels of an image have that they were never recorded, nan for none; and (p,) the
    step between values, as of counts, 0 where nearly all differ.
    """
    padding, steps = np.full(len(pixels_pn), np.nan), np.zeros(len(pixels_pn))
    for row, pixels in enumerate(pixels_pn):
        ordered = np.sort(pixels)
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        runs = np.diff(np.append(starts, len(ordered)))
        longest = int(runs.argmax())
        if PADDED * len(ordered) < runs[longest] < len(ordered) and len(starts) > DISTINCT * (
            len(ordered) - runs[longest]
        ):
            padding[row] = ordered[starts[longest]]
        if 1 < len(starts) < COARSE * len(ordered):
            steps[row] = np.median(np.diff(ordered[starts]))
    return padding, steps


def backgrounds(images_pyx: np.ndarray, outside_yx: np.ndarray) -> Background:
    """Plane by least squares through the pixels outside, those beyond CLIP deviations left out, and the standard
    deviation about it.
    """
    nx = images_pyx.shape[-1]
    y, x = np.nonzero(outside_yx)
    step = -(-len(x) // MOST_PIXELS)
    y, x = y[::step], x[::step]
    terms = np.stack([np.ones(len(x)), x - nx // 2, y - nx // 2], -1).astype(np.float64)
    inverse = np.linalg.pinv(terms)  # (3, n)
    pixels = images_pyx[:, y, x].astype(np.float64)
    padding, steps = padding_and_steps(pixels)
    plane, scale = plane_and_spread(pixels, steps, terms, inverse)
    for row in np.flatnonzero(~np.isnan(padding)):
        seen = pixels[row] != padding[row]
        own = plane_and_spread(
            pixels[row : row + 1, seen], steps[row : row + 1], terms[seen], np.linalg.pinv(terms[seen])
        )
        plane[row], scale[row] = own[0][0], own[1][0]
    found = Background(plane[:, 0], plane[:, 1:], np.ones(len(plane)), padding)
    low, high = np.percentile(pixel_spread(found, images_pyx), (1, 99), axis=1)
    scale = np.hypot(scale, LEAST_SHARE * (high - low) / NORMAL_RANGE)
    return Background(found.level, found.slope, np.where(scale > 0, scale, 1.0), padding)


def pixel_spread(found: Background, images_pyx: np.ndarray) -> np.ndarray:
    """(p, n) every fourth pixel or fewer of whole images, without their planes."""
    nx = images_pyx.shape[-1]
    step = max(2, nx // WHOLE_SAMPLED)
    axis = np.arange(nx)[::step] - nx // 2
    plane = (
        found.level[:, None, None]
        + found.slope[:, :1, None] * axis[None, None, :]
        + found.slope[:, 1:, None] * axis[None, :, None]
    )
    return (images_pyx[:, ::step, ::step] - plane).reshape(len(images_pyx), -1)


def plane_and_spread(
    pixels_pn: np.ndarray, steps_p: np.ndarray, terms_n3: np.ndarray, inverse_3n: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(p, 3) coefficients of robust planes and (p,) the standard deviation about them.

    Values with steps are spread over them where a median deviation is taken, which would be 0 or a whole step else.
    """
    fitted = np.median(pixels_pn, axis=1, keepdims=True)
    spread_out = steps_p[:, None] * (np.random.default_rng(0).random(pixels_pn.shape[1]) - 0.5)
    for _ in range(ROUNDS):
        left = pixels_pn - fitted
        most = CLIP * MAD_TO_SIGMA * np.median(np.abs(left + spread_out), axis=1, keepdims=True)
        plane = (fitted + np.where(np.abs(left) <= most, left, 0)) @ inverse_3n.T
        fitted = plane @ terms_n3.T
    left = pixels_pn - fitted
    kept = np.abs(left) <= most
    return plane, np.sqrt((left**2 * kept).sum(axis=1) / np.maximum(kept.sum(axis=1), 1))
