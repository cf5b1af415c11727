"""The background of particle images, a plane and a standard deviation for each, and its removal.

Outside the particle, grey values depend on how the image was recorded: counts, gain, ice, a ramp. That is removed
before images are compared with one noise model (RELION and EMAN2 also normalise by the area outside a circle).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.data.partition import Rows

CLIP = 3.5  # robust standard deviations; pixels beyond are no background: hot pixels, carbon, a neighbour
ROUNDS = 4  # of fitting the plane
LEAST_SHARE = 0.05  # of the spread of all pixels: the least standard deviation, for simulated images without background
NORMAL_RANGE = 4.653  # standard deviations between the 1st and 99th percentile of a normal distribution
MAD_TO_SIGMA = 1.4826
PADDED = 0.05  # share of pixels with one value from which on they are padding ...
DISTINCT = 0.5  # ... if the other pixels have at least so many different values, relative to their number
COARSE = 0.125  # different values per pixel below which values are discrete, as counts are
MOST_PIXELS, WHOLE_SAMPLED = 8192, 64  # pixels the background is measured from; rows and columns for the whole image
EDGE = 0.47  # of the box: the largest radius of the circle outside of which is background


@dataclass(frozen=True)
class Background:
    """For each image (p,) float64: the `level` at the centre, the `slope` (p, 2) along x and y per pixel, the standard
    deviation `scale`, and the `padding`, the value of pixels that were never recorded (nan: none were).
    """

    level: np.ndarray
    slope: np.ndarray
    scale: np.ndarray
    padding: np.ndarray

    @classmethod
    def blank(cls, count: int) -> Background:
        """Backgrounds whose removal changes nothing."""
        return cls(np.zeros(count), np.zeros((count, 2)), np.ones(count), np.full(count, np.nan))

    def take(self, rows: Rows) -> Background:
        """The backgrounds of the given images."""
        return Background(self.level[rows], self.slope[rows], self.scale[rows], self.padding[rows])

    def put(self, rows: Rows, other: Background) -> None:
        """Set the backgrounds of the given images, in place."""
        for own, values in zip(
            (self.level, self.slope, self.scale, self.padding), (other.level, other.slope, other.scale, other.padding)
        ):
            own[rows] = values

    def on(self, pixel: float) -> Background:
        """The same backgrounds for images whose pixel is `pixel` times as large, with the same grey values."""
        return Background(self.level, self.slope * pixel, self.scale, self.padding)

    def removed(self, images_pyx: np.ndarray) -> np.ndarray:
        """Images (p, y, x) float32 with a background of mean 0, without slope, and of standard deviation 1; padding
        becomes 0.
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
    """Pixels (y, x), bool, farther from pixel nx // 2 than `radius`, or than EDGE of the box."""
    axis = np.arange(nx) - nx // 2
    return np.hypot(axis[:, None], axis) > min(radius, EDGE * nx)


def padding_and_steps(pixels_pn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each image (p, n): the value that so many pixels have that they must be padding, nan for none; and the step
    between values when they are discrete, as counts are, else 0.
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


def fill_padding(images_pyx: np.ndarray, outside_yx: np.ndarray) -> None:
    """Give padding, in place, values drawn from the image's other pixels outside, before images are resampled: its edge
    would spread, and it could not be told from background any more.
    """
    y, x = sampled_pixels(outside_yx)
    pixels = images_pyx[:, y, x]
    padding, _ = padding_and_steps(pixels)
    for row in np.flatnonzero(~np.isnan(padding)):
        padded = images_pyx[row] == padding[row]
        recorded = pixels[row][pixels[row] != padding[row]]
        images_pyx[row][padded] = np.random.default_rng(0).choice(recorded, int(padded.sum()))


def sampled_pixels(outside_yx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels outside, or of so many of them as are enough."""
    y, x = np.nonzero(outside_yx)
    step = -(-len(x) // MOST_PIXELS)
    return y[::step], x[::step]


def backgrounds(images_pyx: np.ndarray, outside_yx: np.ndarray) -> Background:
    """Backgrounds of images: a least-squares plane through the pixels outside, without those beyond CLIP standard
    deviations, and the standard deviation about it.
    """
    nx = images_pyx.shape[-1]
    y, x = sampled_pixels(outside_yx)
    terms = np.stack([np.ones(len(x)), x - nx // 2, y - nx // 2], -1).astype(np.float64)
    inverse = np.linalg.pinv(terms)  # (3, n)
    pixels = images_pyx[:, y, x].astype(np.float64)
    padding, steps = padding_and_steps(pixels)
    plane, scale = plane_and_spread(pixels, steps, terms, inverse)
    for row in np.flatnonzero(~np.isnan(padding)):
        recorded = pixels[row] != padding[row]
        own = plane_and_spread(
            pixels[row : row + 1, recorded], steps[row : row + 1], terms[recorded], np.linalg.pinv(terms[recorded])
        )
        plane[row], scale[row] = own[0][0], own[1][0]
    found = Background(plane[:, 0], plane[:, 1:], np.ones(len(plane)), padding)
    low, high = np.percentile(pixel_spread(found, images_pyx), (1, 99), axis=1)
    scale = np.hypot(scale, LEAST_SHARE * (high - low) / NORMAL_RANGE)
    return Background(found.level, found.slope, np.where(scale > 0, scale, 1.0), padding)


def pixel_spread(found: Background, images_pyx: np.ndarray) -> np.ndarray:
    """Every second pixel or fewer on each axis of whole images, (p, n), minus their planes."""
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
    """Coefficients (p, 3) of robust planes through pixels (p, n), and the standard deviation (p,) about them.

    `terms_n3` are 1, x and y of the pixels, `inverse_3n` their pseudo-inverse. Discrete values are spread over their
    steps (p,) where a median deviation is taken: it would be 0 or a whole step otherwise.
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
