"""Rotation matrices, and the Euler angles of EMAN2 and RELION, in degrees.

A rotation (3, 3) takes map coordinates (x, y, z) to image coordinates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

POLE = 1e-9  # sine of the tilt below which only the sum of the two other angles is defined


def about(axis: int, angle: ArrayLike) -> np.ndarray:
    """Passive (coordinate) rotations (..., 3, 3) by `angle` degrees about x, y or z (`axis` 0, 1, 2)."""
    angle = np.radians(np.asarray(angle, np.float64))
    c, s = np.cos(angle), np.sin(angle)
    out = np.zeros((*angle.shape, 3, 3))
    out[..., axis, axis] = 1
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    out[..., i, i] = out[..., j, j] = c
    out[..., i, j], out[..., j, i] = s, -s
    return out


def rotation_from_eman(az: ArrayLike, alt: ArrayLike, phi: ArrayLike) -> np.ndarray:
    """Rotations (..., 3, 3) = Z(phi) X(alt) Z(az) from EMAN2's angles in degrees, which are broadcast."""
    az, alt, phi = np.broadcast_arrays(az, alt, phi)
    return about(2, phi) @ about(0, alt) @ about(2, az)


def eman_from_rotation(rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """EMAN2's az, alt, phi in degrees of rotations (..., 3, 3); az is 0 where alt is 0 or 180.

    >>> [round(float(a), 6) for a in eman_from_rotation(rotation_from_eman(20, 50, -70))]
    [20.0, 50.0, -70.0]
    """
    r = np.asarray(rotation, np.float64)
    alt, pole = _tilt(r)
    az = np.where(pole, 0.0, np.arctan2(r[..., 2, 0], -r[..., 2, 1]))
    phi = np.where(pole, np.arctan2(-r[..., 1, 0], r[..., 0, 0]), np.arctan2(r[..., 0, 2], r[..., 1, 2]))
    return np.degrees(az), np.degrees(alt), np.degrees(phi)


def _tilt(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angle in radians between the z axes of map and image, and whether it is 0 or 180 degrees."""
    return np.arctan2(np.hypot(r[..., 0, 2], r[..., 1, 2]), r[..., 2, 2]), np.hypot(r[..., 2, 0], r[..., 2, 1]) < POLE


def euler_from_rotation(rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RELION's rot, tilt, psi in degrees of rotations (..., 3, 3) = Z(psi) Y(tilt) Z(rot).

    Where tilt is 0 or 180 only the sum of rot and psi is defined; rot is 0 there.

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
    """Angle (...,), 0 to 180 degrees, and axis (..., 3) of rotations (..., 3, 3).

    The axis of no rotation is z; of the two opposite axes of a turn by 180 degrees it is the one whose first component
    that is not 0 is positive.
    """
    r = np.asarray(rotation, np.float64)
    twist = (
        np.stack([r[..., 1, 2] - r[..., 2, 1], r[..., 2, 0] - r[..., 0, 2], r[..., 0, 1] - r[..., 1, 0]], axis=-1) / 2
    )
    sine, cosine = np.linalg.norm(twist, axis=-1), (np.trace(r, axis1=-2, axis2=-1) - 1) / 2
    # the symmetric part of a rotation is n nᵀ (1 - cos) + cos, n the axis: its longest column gives n up to the sign,
    # also where the antisymmetric part (twist) is 0; the twist gives the sign
    outer = (r + np.swapaxes(r, -1, -2)) / 2 - cosine[..., None, None] * np.eye(3)
    longest = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    axis = np.take_along_axis(outer, longest[..., None, None], axis=-1)[..., 0]
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    axis = np.where(length > POLE, axis / np.maximum(length, POLE), [0.0, 0.0, 1.0])
    first = np.take_along_axis(axis, np.argmax(np.abs(axis) > POLE, axis=-1)[..., None], axis=-1)
    along = np.where(sine > POLE, (axis * twist).sum(axis=-1), 0.0)[..., None]
    return np.degrees(np.arctan2(sine, cosine)), axis * np.where(along == 0, np.sign(first), np.sign(along))
