"""EMAN2's comparators of pixels: dot, ccc, sqeuclidean, lod, quadmindot, vertical."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.eman2.comparators.base import CMPS, UNDEFINED, About, both_nonzero, dot, masked_pixels, pairwise

WORST = float(np.finfo(np.float32).max)


def with_sign(value: np.ndarray, negative: bool) -> np.ndarray:
    """A similarity as a score: its negative, or with `negative`=0 itself, so that larger is better."""
    return -value if negative else value


def ratio(top: np.ndarray, square: np.ndarray) -> np.ndarray:
    """top / √square, 0 where square is 0."""
    return top / np.sqrt(np.where(square > 0, square, np.inf))


@CMPS.register("dot")
@pairwise
def dot_product(
    particle: np.ndarray,
    reference: np.ndarray,
    about: About,
    *,
    normalize: bool = False,
    negative: bool = True,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Dot product.

    EMAN2's dot: −Σab / n, or −Σab / √(Σa² Σb²) with `normalize`; means are not removed. `negative`=0 leaves the sign
    out, so that larger is better. `mask` (an image): only pixels above 0.5.
    """
    a, b = masked_pixels(particle, mask), masked_pixels(reference, mask)
    product = dot(a, b)
    return with_sign(ratio(product, dot(a, a) * dot(b, b)) if normalize else product / a.shape[1], negative)


@CMPS.register("ccc")
@pairwise
def correlation_coefficient(
    particle: np.ndarray, reference: np.ndarray, about: About, *, negative: bool = True, mask: np.ndarray | None = None
) -> np.ndarray:
    """Correlation coefficient.

    EMAN2's ccc: minus Pearson's correlation coefficient; 2 where an image is constant. `negative`=0 leaves the sign
    out, so that larger is better. `mask` (an image): only pixels above 0.5.
    """
    a, b = masked_pixels(particle, mask), masked_pixels(reference, mask)
    mean_a, mean_b, n = a.mean(axis=1), b.mean(axis=1), a.shape[1]
    square = np.maximum(dot(a, a) / n - mean_a**2, 0) * np.maximum(dot(b, b) / n - mean_b**2, 0)
    return with_sign(np.where(square > 0, ratio(dot(a, b) / n - mean_a * mean_b, square), -UNDEFINED), negative)


def fit_line(b: np.ndarray, a: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and constant (n, 1) of the line through (b, a) that fits best in the pixels used; slope 0 where b is
    constant.
    """
    n = np.maximum(used.sum(axis=1, keepdims=True), 1)
    mean_b, mean_a = (b * used).sum(axis=1, keepdims=True) / n, (a * used).sum(axis=1, keepdims=True) / n
    off_b, off_a = (b - mean_b) * used, (a - mean_a) * used
    spread = dot(off_b, off_b)[:, None]
    slope = dot(off_b, off_a)[:, None] / np.where(spread > 0, spread, np.inf)
    return slope, mean_a - slope * mean_b


@CMPS.register("sqeuclidean")
@pairwise
def square_distance(
    particle: np.ndarray,
    reference: np.ndarray,
    about: About,
    *,
    zeromask: bool = False,
    normto: bool = False,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Mean squared difference.

    EMAN2's sqeuclidean: Σ(a − b)² / n. `normto`: b is first scaled to a, by the line that fits a best, unless its slope
    is not positive. `mask` (an image): only pixels above 0.5; or `zeromask`: only pixels that are 0 in neither image
    (the line is fitted to these too).
    """
    a, b = masked_pixels(particle, None), masked_pixels(reference, None)
    if normto:
        used = both_nonzero(b, a) if zeromask else np.ones((1, a.shape[1]))
        slope, constant = fit_line(b, a, used)
        b = np.where(slope > 0, slope * b + constant, b)
    if mask is not None:
        a, b = (masked_pixels(side.reshape(len(side), *mask.shape), mask) for side in (a, b))
    used = both_nonzero(a, b) if zeromask and mask is None else np.ones((1, a.shape[1]))
    count = used.sum(axis=1)
    return np.where(count > 0, dot((a - b) ** 2, used) / np.maximum(count, 1), WORST)


@CMPS.register("lod")
@pairwise
def absolute_difference(
    particle: np.ndarray,
    reference: np.ndarray,
    about: About,
    *,
    normalize: bool = False,
    negative: bool = True,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Absolute difference.

    EMAN2's lod: ½ Σ|a − b|; with `normalize` each image has its mean removed and is divided by its own Σ|x| first.
    `negative`=0 changes the sign, so that larger is better. `mask` (an image): only pixels above 0.5.
    """
    sides = [masked_pixels(particle, mask), masked_pixels(reference, mask)]
    if normalize:
        centred = [side - side.mean(axis=1, keepdims=True) for side in sides]
        sums = [np.abs(side).sum(axis=1, keepdims=True) for side in centred]
        sides = [side / np.where(total > 0, total, 1) for side, total in zip(centred, sums)]
    return with_sign(-0.5 * np.abs(sides[0] - sides[1]).sum(axis=1), negative)


@CMPS.register("quadmindot")
@pairwise
def worst_quadrant(
    particle: np.ndarray, reference: np.ndarray, about: About, *, normalize: bool = False, negative: bool = True
) -> np.ndarray:
    """The worst of the dot products of four quadrants.

    EMAN2's quadmindot: −min Σab / (n / 4), or −min Σab / √(Σa² Σb²) with `normalize`; the last line of odd boxes is
    left out. `negative`=0 leaves the sign out.
    """
    ny, nx = particle.shape[1:]
    products = []
    for y in (slice(0, ny // 2), slice(ny // 2, ny // 2 * 2)):
        for x in (slice(0, nx // 2), slice(nx // 2, nx // 2 * 2)):
            a, b = masked_pixels(particle[:, y, x], None), masked_pixels(reference[:, y, x], None)
            products.append(ratio(dot(a, b), dot(a, a) * dot(b, b)) if normalize else dot(a, b) / (nx * ny // 4))
    return with_sign(np.min(products, axis=0), negative)


@CMPS.register("vertical")
@pairwise
def highest_column(particle: np.ndarray, reference: np.ndarray, about: About) -> np.ndarray:
    """Highest column sum of the particle; the reference is not looked at.

    EMAN2's vertical: −max over x of Σ_y a, for turning filaments upright.
    """
    return -particle.sum(axis=1, dtype=np.float64).max(axis=1)
