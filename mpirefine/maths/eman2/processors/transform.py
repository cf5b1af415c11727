"""Processors that turn, shift and scale: xform and its relatives, symmetry."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.base import PROCESSORS, Processed, only, single
from mpirefine.maths.geometry.symmetry import elements, parse
from mpirefine.maths.image.interpolation import Trilinear

POSITIONS = 1 << 20  # computed at a time


def interpolate_image(image: np.ndarray, inverse: np.ndarray, source: np.ndarray) -> np.ndarray:
    """out(n // 2 + x) = in(source + inverse · x), linear; `inverse` (d, d) and `source` (d,) in x, y, z order; float32.

    EMAN2's rule at the border: a position counts where 0 ≤ X < n on every axis, and neighbours beyond the last pixel
    are the last pixel. Positions are float32, the terms of z, y and x added in this order, each sum rounded once:
    whether a turn by exactly 90 degrees keeps a line of the border depends on it.
    """
    steps = [np.arange(n, dtype=np.float64) - n // 2 for n in image.shape]
    values, out = Trilinear(image), np.empty(image.shape, np.float32)
    for part in slabs(image.shape):
        axes = np.meshgrid(steps[0][part], *steps[1:], indexing="ij", sparse=True)
        where = np.zeros((3, *out[part].shape), np.float32)
        for place, row, start in zip(where, inverse.astype(np.float32), source):
            total = np.full(1, start, np.float32)
            for factor, axis in zip(row[::-1], axes):
                total = (total + np.float64(factor) * axis).astype(np.float32)
            place[...] = total
        inside = [(place >= 0) & (place < n) for place, n in zip(where, image.shape[::-1])]
        out[part] = np.where(np.logical_and.reduce(inside), values(where), 0)
    return out


def slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Ranges of the first axis, small enough that the positions of a large map need little memory."""
    rows = max(1, POSITIONS * shape[0] // int(np.prod(shape)))
    return (slice(start, start + rows) for start in range(0, shape[0], rows))


def transform_image(
    image: np.ndarray, rotation: np.ndarray, shift: np.ndarray, *, scale: float = 1.0, mirror: bool = False
) -> np.ndarray:
    """The image under x' = mirror(scale · rotation · x + shift) about pixel n // 2; mirror changes the sign of x."""
    inverse = rotation.T / scale
    source = np.array(image.shape[::-1]) // 2 - inverse @ shift
    return interpolate_image(image, inverse * np.array([-1.0, 1.0, 1.0])[: image.ndim] if mirror else inverse, source)


@PROCESSORS.register("xform")
def xform(
    image: np.ndarray,
    pixel: float,
    *,
    alpha: float = 0.0,
    az: float = 0.0,
    alt: float = 0.0,
    phi: float = 0.0,
    tx: float = 0.0,
    ty: float = 0.0,
    tz: float = 0.0,
    scale: float = 1.0,
    mirror: bool = False,
) -> Processed:
    """Turned, shifted, scaled, mirrored.

    EMAN2's xform: out(x') = in(x) for x' = mirror(scale · R · x + t) from pixel n // 2, linear, 0 outside. R is the
    turn `alpha` of an image, or the Euler angles `az`, `alt`, `phi` of a map (degrees); t is `tx`, `ty`, `tz` in
    pixels; `mirror` changes the sign of x; `scale` magnifies and divides the pixel size. These numbers replace EMAN2's
    Transform object. ParameterError unless scale is above 0, or when angles of a map are given for an image or the
    other way round.
    """
    if scale <= 0:
        raise ParameterError(f"xform: scale={scale:g} must be above 0")
    if (az, alt, phi, tz) != (0, 0, 0, 0) if image.ndim == 2 else alpha != 0:
        raise ParameterError(
            "xform: an image turns by alpha and shifts by tx, ty; a map turns by az, alt, phi and shifts by tx, ty, tz"
        )
    rotation = rotation_from_eman(0, 0, alpha)[:2, :2] if image.ndim == 2 else rotation_from_eman(az, alt, phi)
    out = transform_image(image, rotation, np.array([tx, ty, tz])[: image.ndim], scale=scale, mirror=mirror)
    return out if scale == 1 else (out, pixel / scale)


@PROCESSORS.register("xform.scale")
def scale_transform(
    image: np.ndarray, pixel: float, *, scale: float, clip: int | None = None
) -> tuple[np.ndarray, float]:
    """Magnified about the centre, in another box.

    EMAN2's xform.scale: xform with `scale`, in a square box of `clip` pixels (default scale · n; 0: as before), cut out
    or filled with 0 before a magnification and after a reduction. The pixel size is divided by the scale.
    ParameterError unless scale is above 0 and the box square.
    """
    n = image.shape[0]
    if scale <= 0 or set(image.shape) != {n}:
        raise ParameterError(f"xform.scale: scale={scale:g} must be above 0, and the box square, not {image.shape}")
    size = int(scale * n) if clip is None else clip or n
    identity, still = np.eye(image.ndim), np.zeros(image.ndim)
    if scale > 1:
        return transform_image(clip_box(image, size), identity, still, scale=scale), pixel / scale
    return clip_box(transform_image(image, identity, still, scale=scale), size), pixel / scale


def clip_box(image: np.ndarray, size: int) -> np.ndarray:
    """A square box of another size whose first pixel is (n − size) / 2 (rounded towards 0) of the old one; 0
    outside.
    """
    out = image
    for axis, n in enumerate(image.shape):
        start = int((n - size) / 2)
        before, after = max(0, -start), max(0, start + size - n)
        out = np.pad(out, [(before, after) if a == axis else (0, 0) for a in range(image.ndim)])
        out = out.take(range(start + before, start + before + size), axis)
    return out


@PROCESSORS.register("xform.translate.int")
def translate(image: np.ndarray, pixel: float, *, trans: str) -> np.ndarray:
    """Shifted by whole pixels.

    EMAN2's xform.translate.int: by `trans` = x,y or x,y,z pixels; pixels from outside are 0. ParameterError for
    anything else.
    """
    try:
        steps = [int(part) for part in trans.strip("[]()").split(",")]
    except ValueError:
        raise ParameterError(f"xform.translate.int: trans={trans} is not x,y or x,y,z in whole pixels") from None
    return shift_pixels(image, (steps + [0, 0, 0])[: image.ndim])


def shift_pixels(image: np.ndarray, shift: list[int]) -> np.ndarray:
    """Shifted by whole pixels in x, y, z order; pixels from outside are 0."""
    out = np.zeros(image.shape, np.float32)
    steps = list(shift)[::-1]
    if all(abs(s) < n for s, n in zip(steps, image.shape)):
        new = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(steps, image.shape))
        old = tuple(slice(max(0, -s), n + min(0, -s)) for s, n in zip(steps, image.shape))
        out[new] = image[old]
    return out


@PROCESSORS.register("xform.applysym")
def apply_symmetry(image: np.ndarray, pixel: float, *, sym: str = "c1") -> np.ndarray:
    """The mean over a point group or a helix.

    EMAN2's xform.applysym: the mean of xform by all operations of the symmetry `sym`, including shifts along z; of
    images for c<n> only.
    """
    if image.ndim == 2 and parse(sym)[0] != "c":
        only(3, image, f"xform.applysym:sym={sym}")
    group, rises = elements(sym)
    total = np.zeros(image.shape)
    for rotation, rise in zip(group, rises):
        total += transform_image(image, rotation[: image.ndim, : image.ndim], np.array([0, 0, rise])[: image.ndim])
    return single(total / len(group))
