"""In-plane poses of particles on projections: the program's (the particle is the projection mirrored, turned, moved)
and EMAN2's (a transform that takes the particle onto the projection).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mpirefine.data.poses import Candidates


def to_reference(found: Candidates) -> dict[str, np.ndarray]:
    """EMAN2's similarity result: dx, dy (pixels), dalpha (degrees) and mirror that move each particle onto its
    projection.

    EMAN2's transform is x' = mirror_x(Z(dalpha) x + (dx, dy)); ours is particle = shift(turn(mirror_y(projection))).
    """
    cos, sin = np.cos(found.angle), np.sin(found.angle)
    x, y = found.shift[..., 0], found.shift[..., 1]
    back = np.stack([cos * x - sin * y, sin * x + cos * y], -1)  # Z(−φ) s
    sign = np.where(found.mirror, 1.0, -1.0)[..., None]
    alpha = np.degrees(-found.angle) + np.where(found.mirror, 180.0, 0.0)
    used = found.reference >= 0
    moved = np.where(used[..., None], sign * back, 0)
    return {
        "candidates/dx": moved[..., 0].astype(np.float32),
        "candidates/dy": moved[..., 1].astype(np.float32),
        "candidates/dalpha": np.where(used, alpha % 360.0, 0).astype(np.float32),
        "candidates/mirror": found.mirror.astype(np.int8),
    }


def as_pose(alpha: np.ndarray, tx: np.ndarray, ty: np.ndarray, mirror: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In-plane angle (radians) and shift (n, 2) of the program's candidates from EMAN2's transform of a particle onto
    its projection.
    """
    angle = np.radians(np.where(mirror, 180.0, 0.0) - alpha)
    cos, sin, sign = np.cos(angle), np.sin(angle), np.where(mirror, 1.0, -1.0)
    return angle, np.stack([sign * (cos * tx + sin * ty), sign * (cos * ty - sin * tx)], -1)


def from_reference(
    reference: np.ndarray, score: np.ndarray, evidence: np.ndarray, pose: Mapping[str, np.ndarray], models: int
) -> Candidates:
    """Candidates as they were stored with the poses of `to_reference`; what only the search itself needs (evidence by
    map, match) is zero.
    """
    mirror = pose["candidates/mirror"].astype(bool)
    dalpha, dx, dy = (pose[f"candidates/{name}"].astype(np.float64) for name in ("dalpha", "dx", "dy"))
    angle, shift = as_pose(dalpha, dx, dy, mirror)
    return Candidates(
        reference,
        score,
        evidence,
        angle.astype(np.float32),
        shift.astype(np.float32),
        mirror,
        np.zeros((len(reference), models)),
        np.zeros((len(reference), 2)),
    )


def as_stored(found: Candidates) -> Candidates:
    """The candidates as they come back from the run file: poses rounded to what is kept of them."""
    back = from_reference(found.reference, found.score, found.evidence, to_reference(found), 0)
    return replace(found, angle=back.angle, shift=back.shift)
