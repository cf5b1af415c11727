"""Angles, origins and half-sets in the columns of RELION's particle files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpirefine.data.rotations import euler_from_rotation, rotation_from_euler
from mpirefine.errors import Problems
from mpirefine.storage.star import StarTable
from mpirefine.storage.star_cells import decimal_cells

MOST_DEGREES = 3600.0  # of an angle
ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGINS, ORIGINS_IN_PIXELS = ("rlnOriginXAngst", "rlnOriginYAngst"), ("rlnOriginX", "rlnOriginY")
SUBSET = "rlnRandomSubset"
SUBSETS = {"1": 0, "2": 1, **{f"{n}.{'0' * zeros}": n - 1 for n in (1, 2) for zeros in range(1, 7)}}


def _origin_columns(particles: StarTable, pixel: np.ndarray) -> tuple[tuple[str, str], np.ndarray]:
    """The columns of origins, RELION 3.0's where there are no others, and how many Å their unit has, (p,); `pixel` (p,)
    is that of the images.
    """
    if ORIGINS_IN_PIXELS[0] in particles and ORIGINS[0] not in particles:
        return ORIGINS_IN_PIXELS, pixel
    return ORIGINS, np.ones(len(pixel))


def read_poses(
    path: Path, particles: StarTable, pixel: np.ndarray, box: np.ndarray, problems: Problems
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (p, 3, 3), and shift (p, 2) in Å of the image from the box centre to the particle (RELION's origin is
    the way back). `pixel` (p,) Å and `box` (p,) are those of the images.
    """
    origins, unit = _origin_columns(particles, pixel)
    names = (*ANGLES, *origins)
    missing = [f"_{name}" for name in names if name not in particles]
    if missing:
        problems.add(f"{path}: --fixed-poses needs the columns {', '.join(missing)}: refine the particles first")
    else:
        with problems.collect():
            columns = {name: particles.floats(name) for name in names}
            for name in ANGLES:
                _check_size(path, name, columns[name], MOST_DEGREES, "no angle in degrees", problems)
            for name in origins:
                far = "farther from the centre than the box is wide"
                _check_size(path, name, columns[name], box * pixel / unit, far, problems)
            rot, tilt, psi, x, y = columns.values()
            return rotation_from_euler(rot, tilt, psi), -np.stack([x, y], -1) * unit[:, None]
    return np.zeros((0, 3, 3)), np.zeros((0, 2))


def _check_size(
    path: Path, column: str, values: np.ndarray, most: float | np.ndarray, what: str, problems: Problems
) -> None:
    wrong = np.flatnonzero(~(np.abs(values) <= most))
    if len(wrong):
        problems.add_rows(path, wrong, f"column _{column}: {values[wrong[0]]:g} is {what}")


def pose_columns(
    particles: StarTable, pixel: np.ndarray, rotation: np.ndarray, shift: np.ndarray
) -> dict[str, np.ndarray]:
    """Cells of rotations (p, 3, 3) and shifts (p, 2) in Å of the image, in the columns that `particles` has, or RELION
    3.1's; `pixel` (p,) is that of the images.
    """
    origins, unit = _origin_columns(particles, pixel)
    angles = euler_from_rotation(rotation)
    cells = {name: decimal_cells(values) for name, values in zip(ANGLES, angles)}
    return cells | {name: decimal_cells(-values / unit) for name, values in zip(origins, shift.T)}


def read_half_sets(particles: StarTable) -> np.ndarray | None:
    """(p,) int8 half-set as the file has it, from 0; -1 where it is neither 1 nor 2. None without such a column."""
    if SUBSET not in particles:
        return None
    texts, codes = particles.factorise(SUBSET)
    return np.array([SUBSETS.get(text, -1) for text in texts], np.int8)[codes]
