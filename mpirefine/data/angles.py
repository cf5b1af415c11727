"""Euler angles of rotations that take map coordinates to image coordinates."""
from __future__ import annotations

import numpy as np


def euler_from_rotation(rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RELION's (= Spider's) rot, tilt, psi in degrees of rotations (..., 3, 3): R = Z(psi) Y(tilt) Z(rot), coordinate rotations.

    At tilt 0 and 180 only a sum of rot and psi is defined; rot is 0 there.

    >>> [float(a) for a in euler_from_rotation(np.eye(3))]
    [0.0, 0.0, 0.0]
    """
    r = np.asarray(rotation, np.float64)
    tilt = np.arctan2(np.hypot(r[..., 0, 2], r[..., 1, 2]), r[..., 2, 2])
    pole = np.hypot(r[..., 2, 0], r[..., 2, 1]) < 1e-9
    rot = np.where(pole, 0.0, np.arctan2(r[..., 2, 1], r[..., 2, 0]))
    psi = np.where(pole, np.arctan2(r[..., 0, 1], r[..., 1, 1]), np.arctan2(r[..., 1, 2], -r[..., 0, 2]))
    return np.degrees(rot), np.degrees(tilt), np.degrees(psi)


def rotation_from_euler(rot: np.ndarray, tilt: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) of RELION's angles in degrees; inverse of `euler_from_rotation`."""
    def about(axis: int, angle: np.ndarray) -> np.ndarray:
        angle = np.radians(np.asarray(angle, np.float64))
        c, s = np.cos(angle), np.sin(angle)
        out = np.zeros((*angle.shape, 3, 3))
        out[..., axis, axis] = 1
        i, j = ((1, 2), (2, 0), (0, 1))[axis]
        out[..., i, i] = out[..., j, j] = c
        out[..., i, j], out[..., j, i] = s, -s
        return out
    return about(2, psi) @ about(1, tilt) @ about(2, rot)
