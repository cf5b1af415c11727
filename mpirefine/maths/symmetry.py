"""Point groups with EMAN2's axes, and EMAN2's Euler angles."""
from __future__ import annotations

import difflib
import re

import numpy as np
from numpy.typing import ArrayLike

from mpirefine.errors import ParameterError

TETRAHEDRAL, OCTAHEDRAL, ICOSAHEDRAL = "tet", "oct", "icos"
ICOS_RINGS = float(np.degrees(np.arctan2(2, 1)))


def rotation_from_eman(az: ArrayLike, alt: ArrayLike, phi: ArrayLike) -> np.ndarray:
    """Rotations (..., 3, 3) = Z(phi) X(alt) Z(az), degrees, coordinate (passive) rotations from map to image."""
    az, alt, phi = (np.radians(np.asarray(a, np.float64)) for a in np.broadcast_arrays(az, alt, phi))
    return _about_z(phi) @ _about_x(alt) @ _about_z(az)


def _about_z(angle: np.ndarray) -> np.ndarray:
    out = np.zeros((*angle.shape, 3, 3))
    out[..., 0, 0] = out[..., 1, 1] = np.cos(angle)
    out[..., 0, 1], out[..., 1, 0], out[..., 2, 2] = np.sin(angle), -np.sin(angle), 1
    return out


def _about_x(angle: np.ndarray) -> np.ndarray:
    out = np.zeros((*angle.shape, 3, 3))
    out[..., 1, 1] = out[..., 2, 2] = np.cos(angle)
    out[..., 1, 2], out[..., 2, 1], out[..., 0, 0] = np.sin(angle), -np.sin(angle), 1
    return out


def parse(name: str) -> tuple[str, int]:
    """Family ("c", "d", "tet", "oct", "icos") and its number (1 for the platonic groups); ParameterError for anything else."""
    text = str(name).strip().lower()
    cyclic = re.fullmatch(r"([cd])(\d+)", text)
    if cyclic and int(cyclic[2]) > 0:
        return cyclic[1], int(cyclic[2])
    if text in (TETRAHEDRAL, OCTAHEDRAL, ICOSAHEDRAL):
        return text, 1
    near = difflib.get_close_matches(text, [TETRAHEDRAL, OCTAHEDRAL, ICOSAHEDRAL, "c1", "d1"], 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ParameterError(f"unknown symmetry '{name}': it is c<n>, d<n>, tet, oct or icos, like c1, d7{hint}")


def operations(name: str) -> np.ndarray:
    """All operations of a group, (n, 3, 3) float64, identity first (EMAN2's axes: highest axis on z; icos with a 5-fold on z)."""
    family, n = parse(name)
    fold = np.arange(n) * 360.0 / n
    angles: list[tuple]
    if family == "c":
        angles = [(az, 0, 0) for az in fold]
    elif family == "d":
        angles = [(az, alt, 0) for alt in (0, 180) for az in fold]
    elif family == TETRAHEDRAL:
        alt = np.degrees(np.arccos(-1 / 3))
        angles = [(0, 0, phi) for phi in (0, 120, 240)] + [(az, alt, phi) for az in (0, 120, 240) for phi in (60, 180, 300)]
    elif family == OCTAHEDRAL:
        quarters = (0, 90, 180, 270)
        angles = [(az, alt, phi) for alt, azs in ((0, (0,)), (90, quarters), (180, (0,))) for az in azs for phi in quarters]
    else:
        fifths = np.arange(5) * 72.0
        rings: list[tuple] = [(0.0, (0.0,), 0), (ICOS_RINGS, fifths, 36), (180 - ICOS_RINGS, fifths + 36, 0), (180.0, (0.0,), 0)]
        angles = [(az + 90, alt, phi + start - 90) for alt, azs, start in rings for az in azs for phi in fifths]
    found = rotation_from_eman(*np.array(angles, float).T)
    first = int(np.abs(found - np.eye(3)).sum(axis=(1, 2)).argmin())
    return np.concatenate([found[first:first + 1], np.delete(found, first, axis=0)])
