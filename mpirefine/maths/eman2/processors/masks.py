"""Masks of a given shape: EMAN2's mask.sharp, .soft, .gaussian, .ringmean and those of the border."""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.base import PROCESSORS, offsets, only, single, square_distance


def radii(image: np.ndarray, inner_radius: float | None, outer_radius: float | None) -> tuple[float, float]:
    """Inner and outer radius in pixels: 0 and infinity when not given; a negative outer one counts from nx // 2 + 1."""
    outer = (
        np.inf
        if outer_radius is None
        else image.shape[-1] // 2 + outer_radius + 1
        if outer_radius < 0
        else outer_radius
    )
    return 0.0 if inner_radius is None or inner_radius <= 0 else inner_radius, float(outer)


@PROCESSORS.register("mask.sharp")
def sharp(
    image: np.ndarray,
    pixel: float,
    *,
    inner_radius: float | None = None,
    outer_radius: float | None = None,
    dx: float = 0.0,
    dy: float = 0.0,
    dz: float = 0.0,
    value: float = 0.0,
) -> np.ndarray:
    """A disc or ball, or a shell of it, with a sharp edge.

    EMAN2's mask.sharp: x where `inner_radius` ≤ r < `outer_radius`, else `value`; r in pixels from n // 2 + (`dx`,
    `dy`, `dz`). A negative outer radius counts from nx // 2 + 1; without one there is no outer edge.
    """
    inner, outer = radii(image, inner_radius, outer_radius)
    r2 = square_distance(image.shape, (dx, dy, dz))
    return single(np.where((r2 < outer**2) & (r2 >= inner**2), image, value))


@PROCESSORS.register("mask.soft")
def soft(
    image: np.ndarray,
    pixel: float,
    *,
    inner_radius: float | None = None,
    outer_radius: float | None = None,
    dx: float = 0.0,
    dy: float = 0.0,
    dz: float = 0.0,
    value: float = 0.0,
    width: float = 4.0,
) -> np.ndarray:
    """A disc or ball, or a shell of it, with a Gaussian edge.

    EMAN2's mask.soft: x where `inner_radius` ≤ r ≤ `outer_radius`; outside value + (x − value) exp(−(d/w)²), d pixels
    beyond the radius, w = `width`, `value` what it falls to. r in pixels from n // 2 + (`dx`, `dy`, `dz`); a negative
    outer radius counts from nx // 2 + 1.
    """
    inner, outer = radii(image, inner_radius, outer_radius)
    r = np.sqrt(square_distance(image.shape, (dx, dy, dz)))
    beyond = np.maximum(np.maximum(r - outer, inner - r), 0)
    return single(value + (image - value) * np.exp(-((beyond / width) ** 2)))


@PROCESSORS.register("mask.gaussian")
def gaussian(
    image: np.ndarray,
    pixel: float,
    *,
    inner_radius: float | None = None,
    outer_radius: float | None = None,
    dx: float = 0.0,
    dy: float = 0.0,
    dz: float = 0.0,
    exponent: float = 2.0,
) -> np.ndarray:
    """A Gaussian.

    EMAN2's mask.gaussian: x · exp(−((r − i)/o)^e) beyond `inner_radius` i (0: from the centre), o = `outer_radius` the
    distance to 1/e, e = `exponent`; r in pixels from n // 2 + (`dx`, `dy`, `dz`).
    """
    inner, outer = radii(image, inner_radius, outer_radius)
    r = np.sqrt(square_distance(image.shape, (dx, dy, dz)))
    return single(image * np.exp(-((np.maximum(r - inner, 0) / outer) ** exponent)))


@PROCESSORS.register("mask.gaussian.nonuniform")
def gaussian_nonuniform(
    image: np.ndarray,
    pixel: float,
    *,
    radius_x: float = 5.0,
    radius_y: float = 5.0,
    radius_z: float = 5.0,
    gauss_width: float = 0.05,
) -> np.ndarray:
    """An ellipse or ellipsoid with a Gaussian edge.

    EMAN2's mask.gaussian.nonuniform: x · exp(−((ρ − 1)/w)²) where ρ > 1, ρ² = (x/`radius_x`)² + (y/`radius_y`)² +
    (z/`radius_z`)² from n // 2 in pixels, w = `gauss_width`.
    """
    axes = offsets(image.shape)
    rho = np.sqrt(sum((a / r) ** 2 for a, r in zip(axes, (radius_x, radius_y, radius_z)[: image.ndim][::-1])))
    return single(image * np.exp(-((np.maximum(rho - 1, 0) / gauss_width) ** 2)))


@PROCESSORS.register("mask.ringmean")
def ring_mean(
    image: np.ndarray,
    pixel: float,
    *,
    inner_radius: float | None = None,
    outer_radius: float,
    dx: float = 0.0,
    dy: float = 0.0,
    dz: float = 0.0,
    ring_width: float = 1.0,
) -> np.ndarray:
    """A disc or ball, with the mean of its rim around it.

    EMAN2's mask.ringmean: mask.sharp (`inner_radius`, `outer_radius`, `dx`, `dy`, `dz`) whose value outside is the mean
    of the pixels with outer_radius − w < r ≤ outer_radius + w, w = `ring_width`. ParameterError when there are none.
    """
    _, outer = radii(image, inner_radius, outer_radius)
    r = np.sqrt(square_distance(image.shape, (dx, dy, dz)))
    ring = image[(r > outer - ring_width) & (r <= outer + ring_width)]
    if not ring.size:
        raise ParameterError(f"mask.ringmean: no pixel at radius {outer:g}")
    return sharp(
        image,
        pixel,
        inner_radius=inner_radius,
        outer_radius=outer_radius,
        dx=dx,
        dy=dy,
        dz=dz,
        value=float(ring.mean(dtype=np.float64)),
    )


@PROCESSORS.register("mask.decayedge2d")
def decay_edge(image: np.ndarray, pixel: float, *, width: int = 4) -> np.ndarray:
    """The border of an image falls to zero.

    EMAN2's mask.decayedge2d: row and column k from each border, k < `width`, are multiplied by k / width.
    """
    only(2, image, "mask.decayedge2d")
    out = image.astype(np.float64)
    for axis, n in enumerate(image.shape):
        k = np.arange(n)
        fall = np.minimum(k / width, 1) * np.minimum((n - 1 - k) / width, 1)
        out *= fall[:, None] if axis == 0 else fall
    return single(out)


def zero_edge(image: np.ndarray, borders: list[tuple[int, int]]) -> np.ndarray:
    """0 in (first, last) rows of each axis, given in x, y, z order."""
    out = np.zeros(image.shape, np.float32)
    inside = tuple(
        slice(max(first, 0), max(n - max(last, 0), 0)) for (first, last), n in zip(borders[::-1], image.shape)
    )
    out[inside] = image[inside]
    return out


@PROCESSORS.register("mask.zeroedge2d")
def zero_edge_2d(image: np.ndarray, pixel: float, *, x0: int = 0, x1: int = 0, y0: int = 0, y1: int = 0) -> np.ndarray:
    """Zero at the border of an image.

    EMAN2's mask.zeroedge2d: 0 in the first `x0` and last `x1` columns and the first `y0` and last `y1` rows.
    """
    only(2, image, "mask.zeroedge2d")
    return zero_edge(image, [(x0, x1), (y0, y1)])


@PROCESSORS.register("mask.zeroedge3d")
def zero_edge_3d(
    image: np.ndarray, pixel: float, *, x0: int = 0, x1: int = 0, y0: int = 0, y1: int = 0, z0: int = 0, z1: int = 0
) -> np.ndarray:
    """Zero at the border of a map.

    EMAN2's mask.zeroedge3d: 0 in the first `x0` and last `x1` planes along x, and likewise `y0`, `y1` along y and `z0`,
    `z1` along z.
    """
    only(3, image, "mask.zeroedge3d")
    return zero_edge(image, [(x0, x1), (y0, y1), (z0, z1)])
