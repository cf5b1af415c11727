"""Euler angles of rotations that take map coordinates to image coordinates, by the names of EMAN2, RELION and others;
all are degrees.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

POLE = 1e-9  # sine of the tilt below which only a sum of the two other angles is defined
KINDS = {
    "eman": ("az", "alt", "phi"),
    "spider": ("phi", "theta", "psi"),
    "mrc": ("phi", "theta", "omega"),
    "imagic": ("alpha", "beta", "gamma"),
    "quaternion": ("e0", "e1", "e2", "e3"),
    "spin": ("omega", "n1", "n2", "n3"),
    "sgirot": ("q", "n1", "n2", "n3"),
    "xyz": ("xtilt", "ytilt", "ztilt"),
}


def about(axis: int, angle: ArrayLike) -> np.ndarray:
    """Coordinate (passive) rotations (..., 3, 3) by degrees about x, y or z (axis 0, 1, 2)."""
    angle = np.radians(np.asarray(angle, np.float64))
    c, s = np.cos(angle), np.sin(angle)
    out = np.zeros((*angle.shape, 3, 3))
    out[..., axis, axis] = 1
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    out[..., i, i] = out[..., j, j] = c
    out[..., i, j], out[..., j, i] = s, -s
    return out


def rotation_from_eman(az: ArrayLike, alt: ArrayLike, phi: ArrayLike) -> np.ndarray:
    """Rotations (..., 3, 3) = Z(phi) X(alt) Z(az) of EMAN2's angles, broadcast."""
    az, alt, phi = np.broadcast_arrays(az, alt, phi)
    return about(2, phi) @ about(0, alt) @ about(2, az)


def eman_from_rotation(rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """EMAN2's az, alt, phi of rotations (..., 3, 3); at alt 0 and 180 az is 0.

    >>> [round(float(a), 6) for a in eman_from_rotation(rotation_from_eman(20, 50, -70))]
    [20.0, 50.0, -70.0]
    """
    r = np.asarray(rotation, np.float64)
    alt, pole = _tilt(r)
    az = np.where(pole, 0.0, np.arctan2(r[..., 2, 0], -r[..., 2, 1]))
    phi = np.where(pole, np.arctan2(-r[..., 1, 0], r[..., 0, 0]), np.arctan2(r[..., 0, 2], r[..., 1, 2]))
    return np.degrees(az), np.degrees(alt), np.degrees(phi)


def _tilt(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angle in radians between the z axes, and whether it is 0 or 180 degrees."""
    return np.arctan2(np.hypot(r[..., 0, 2], r[..., 1, 2]), r[..., 2, 2]), np.hypot(r[..., 2, 0], r[..., 2, 1]) < POLE


def euler_from_rotation(rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RELION's (= Spider's) rot, tilt, psi in degrees of rotations (..., 3, 3): R = Z(psi) Y(tilt) Z(rot), coordinate
    rotations.

    At tilt 0 and 180 only a sum of rot and psi is defined; rot is 0 there.

    >>> [float(a) for a in euler_from_rotation(np.eye(3))]
    [0.0, 0.0, 0.0]
    """
    r = np.asarray(rotation, np.float64)
    tilt, pole = _tilt(r)
    rot = np.where(pole, 0.0, np.arctan2(r[..., 2, 1], r[..., 2, 0]))
    psi = np.where(pole, np.arctan2(r[..., 0, 1], r[..., 1, 1]), np.arctan2(r[..., 1, 2], -r[..., 0, 2]))
    return np.degrees(rot), np.degrees(tilt), np.degrees(psi)


def rotation_from_euler(rot: ArrayLike, tilt: ArrayLike, psi: ArrayLike) -> np.ndarray:
    """Rotations (..., 3, 3) of RELION's angles in degrees; inverse of `euler_from_rotation`."""
    return about(2, psi) @ about(1, tilt) @ about(2, rot)


def spin_from_rotation(rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angle omega (...,), 0 to 180 degrees, and axis (..., 3) of rotations (..., 3, 3); the axis is z for none, and of
    two opposite ones at 180
    degrees the one whose first component that is not 0 is positive."""
    r = np.asarray(rotation, np.float64)
    twist = (
        np.stack([r[..., 1, 2] - r[..., 2, 1], r[..., 2, 0] - r[..., 0, 2], r[..., 0, 1] - r[..., 1, 0]], axis=-1) / 2
    )
    sine, cosine = np.linalg.norm(twist, axis=-1), (np.trace(r, axis1=-2, axis2=-1) - 1) / 2
    # the symmetric part is n nᵀ (1 - cos) + cos: its longest column is the axis even where the twist is 0, its sign is
    # the twist's
    outer = (r + np.swapaxes(r, -1, -2)) / 2 - cosine[..., None, None] * np.eye(3)
    longest = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    axis = np.take_along_axis(outer, longest[..., None, None], axis=-1)[..., 0]
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    axis = np.where(length > POLE, axis / np.maximum(length, POLE), [0.0, 0.0, 1.0])
    first = np.take_along_axis(axis, np.argmax(np.abs(axis) > POLE, axis=-1)[..., None], axis=-1)
    along = np.where(sine > POLE, (axis * twist).sum(axis=-1), 0.0)[..., None]
    return np.degrees(np.arctan2(sine, cosine)), axis * np.where(along == 0, np.sign(first), np.sign(along))


def angles_from_rotation(kind: str, rotation: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers of one of KINDS, by EMAN2's names, of rotations (..., 3, 3).

    xyz is X(xtilt), then Y(ytilt), then Z(ztilt), coordinate rotations; spin and sgirot are an angle and an axis, the
    same rotation as a quaternion.
    """
    names = KINDS[kind]
    if kind in ("eman", "imagic"):
        return dict(zip(names, eman_from_rotation(rotation)))
    if kind in ("spider", "mrc"):
        return dict(zip(names, euler_from_rotation(rotation)))
    if kind == "xyz":
        r = np.asarray(rotation, np.float64)
        ytilt = np.arctan2(r[..., 2, 0], np.hypot(r[..., 2, 1], r[..., 2, 2]))
        pole = np.hypot(r[..., 2, 1], r[..., 2, 2]) < POLE
        xtilt = np.where(pole, 0.0, np.arctan2(-r[..., 2, 1], r[..., 2, 2]))
        ztilt = np.where(pole, np.arctan2(r[..., 0, 1], r[..., 1, 1]), np.arctan2(-r[..., 1, 0], r[..., 0, 0]))
        return dict(zip(names, np.degrees([xtilt, ytilt, ztilt])))
    omega, axis = spin_from_rotation(rotation)
    if kind == "quaternion":
        half = np.radians(omega) / 2
        return dict(zip(names, np.stack([np.cos(half), *np.moveaxis(axis * np.sin(half)[..., None], -1, 0)])))
    return dict(zip(names, [omega, *np.moveaxis(axis, -1, 0)]))


def rotation_from_angles(kind: str, **values: ArrayLike) -> np.ndarray:
    """Rotations (..., 3, 3) of the numbers of one of KINDS; inverse of `angles_from_rotation`."""
    numbers = [np.asarray(values[name], np.float64) for name in KINDS[kind]]
    if kind in ("eman", "imagic"):
        return rotation_from_eman(*numbers)
    if kind in ("spider", "mrc"):
        return rotation_from_euler(*numbers)
    if kind == "xyz":
        return about(2, numbers[2]) @ about(1, numbers[1]) @ about(0, numbers[0])
    if kind != "quaternion":
        half = np.radians(numbers[0]) / 2
        axis = np.stack(numbers[1:], axis=-1)
        numbers = [
            np.cos(half),
            *np.moveaxis(axis / np.linalg.norm(axis, axis=-1, keepdims=True) * np.sin(half)[..., None], -1, 0),
        ]
    e0, e1, e2, e3 = numbers / np.linalg.norm(numbers, axis=0)
    rows = [
        [e0 * e0 + e1 * e1 - e2 * e2 - e3 * e3, 2 * (e1 * e2 + e0 * e3), 2 * (e1 * e3 - e0 * e2)],
        [2 * (e1 * e2 - e0 * e3), e0 * e0 - e1 * e1 + e2 * e2 - e3 * e3, 2 * (e2 * e3 + e0 * e1)],
        [2 * (e1 * e3 + e0 * e2), 2 * (e2 * e3 - e0 * e1), e0 * e0 - e1 * e1 - e2 * e2 + e3 * e3],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


class Placement(NamedTuple):
    """What EMAN2's 3-D Transform holds: x' = mirror(scale · R x + t), mirror a change of sign of x'; the shift is in
    pixels, before the mirror.
    """

    rotation: np.ndarray  # (..., 3, 3)
    shift: np.ndarray  # (..., 3)
    mirror: np.ndarray  # (...,) bool
    scale: np.ndarray  # (...,)

    @classmethod
    def of_matrix(cls, matrix: np.ndarray) -> Placement:
        """Read back from matrices (..., 3, 4)."""
        m = np.array(matrix, np.float64)
        size = np.linalg.det(m[..., :3])
        mirror = size < 0
        m[..., 0, :] *= np.where(mirror, -1, 1)[..., None]
        scale = np.cbrt(np.abs(size))
        return cls(m[..., :3] / scale[..., None, None], m[..., 3], mirror, scale)

    def matrix(self) -> np.ndarray:
        """EMAN2's matrices (..., 3, 4): rows [r r r t], the first negated for a mirror."""
        m = np.concatenate(
            [self.rotation * np.asarray(self.scale)[..., None, None], np.asarray(self.shift, np.float64)[..., None]],
            axis=-1,
        )
        m[..., 0, :] *= np.where(self.mirror, -1, 1)[..., None]
        return m


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Matrix (..., 3, 4) that does `first`, then `second`: EMAN2's second * first."""
    shift = np.einsum("...ij,...j->...i", second[..., :3], first[..., 3]) + second[..., 3]
    return np.concatenate([second[..., :3] @ first[..., :3], shift[..., None]], axis=-1)


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Matrix (..., 3, 4) that undoes another."""
    back = np.linalg.inv(matrix[..., :3])
    return np.concatenate([back, -np.einsum("...ij,...j->...i", back, matrix[..., 3])[..., None]], axis=-1)
