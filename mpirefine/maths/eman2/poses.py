"""In-plane poses as EMAN2 has them, images moved by them, and their conversion to and from the program's own poses.

EMAN2: a transform x' = mirror(scale · Z(alpha) x + (tx, ty)) takes the particle onto the projection; coordinates are
counted from pixel n // 2, Z(a) = [[cos a, sin a], [−sin a, cos a]], and mirror changes the sign of x', so that the
shift is given before mirroring. The program (`data/poses.py`): the particle is the projection mirrored (y → −y), then
turned, then shifted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from mpirefine.data.partition import Rows
from mpirefine.data.poses import Candidates, InPlanePoses
from mpirefine.maths.image.interpolation import ImageMover


@dataclass(frozen=True)
class Alignment:
    """EMAN2's transforms of n images, in arrays (n,), or (n, m) where each image has several."""

    alpha: np.ndarray  # degrees
    tx: np.ndarray  # pixels
    ty: np.ndarray  # pixels
    mirror: np.ndarray  # bool
    scale: np.ndarray

    @classmethod
    def of(
        cls,
        alpha: float | np.ndarray,
        tx: float | np.ndarray = 0.0,
        ty: float | np.ndarray = 0.0,
        mirror: bool | np.ndarray = False,
        scale: float | np.ndarray = 1.0,
    ) -> Alignment:
        """From numbers or arrays, broadcast; float64."""
        kinds = (np.float64, np.float64, np.float64, bool, np.float64)
        columns = np.broadcast_arrays(*(np.atleast_1d(v) for v in (alpha, tx, ty, mirror, scale)))
        return cls(*(np.array(column, kind) for column, kind in zip(columns, kinds)))

    @classmethod
    def from_matrix(cls, matrix: np.ndarray) -> Alignment:
        """From matrices (n, 3, 3) of such transforms, alpha from −180 to 180."""
        matrix = np.asarray(matrix, np.float64)
        mirror = np.linalg.det(matrix[:, :2, :2]) < 0
        flip = np.where(mirror, -1.0, 1.0)
        cos, sin = matrix[:, 1, 1], -matrix[:, 1, 0]
        return cls(
            np.degrees(np.arctan2(sin, cos)), flip * matrix[:, 0, 2], matrix[:, 1, 2].copy(), mirror, np.hypot(cos, sin)
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Alignment]) -> Alignment:
        """One after the other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def __len__(self) -> int:
        return len(self.alpha)

    def take(self, rows: Rows) -> Alignment:
        """The given images."""
        return Alignment(self.alpha[rows], self.tx[rows], self.ty[rows], self.mirror[rows], self.scale[rows])

    def ravel(self) -> Alignment:
        """As arrays of one axis: the transforms of the first image, then those of the second, ..."""
        return Alignment(*(getattr(self, f.name).ravel() for f in fields(self)))

    def matrix(self) -> np.ndarray:
        """(n, 3, 3) float64, acting on (x, y, 1)."""
        angle = np.radians(self.alpha)
        cos, sin = self.scale * np.cos(angle), self.scale * np.sin(angle)
        flip = np.where(self.mirror, -1.0, 1.0)
        out = np.zeros((len(self), 3, 3))
        out[:, 0, 0], out[:, 0, 1], out[:, 0, 2] = flip * cos, flip * sin, flip * self.tx
        out[:, 1, 0], out[:, 1, 1], out[:, 1, 2] = -sin, cos, self.ty
        out[:, 2, 2] = 1
        return out

    def inverse(self) -> Alignment:
        """The transforms that take the reference onto the image."""
        return Alignment.from_matrix(np.linalg.inv(self.matrix()))

    def after(self, first: Alignment) -> Alignment:
        """The product: `first`, then this one."""
        return Alignment.from_matrix(self.matrix() @ first.matrix())


def move_images(images_nyx: np.ndarray, transforms: Alignment) -> np.ndarray:
    """Images (n, y, x), or one for all, moved by n transforms, bilinear; float32."""
    return ImageMover(images_nyx)(transforms.matrix())


def to_eman(poses: InPlanePoses) -> Alignment:
    """EMAN2's transforms of particles onto their projections; alpha from 0 to 360."""
    cos, sin = np.cos(poses.angle), np.sin(poses.angle)
    x, y = poses.shift[..., 0], poses.shift[..., 1]
    sign = np.where(poses.mirror, 1.0, -1.0)
    alpha = np.degrees(-poses.angle) + np.where(poses.mirror, 180.0, 0.0)
    tx, ty = sign * (cos * x - sin * y), sign * (sin * x + cos * y)  # Z(−angle) shift
    return Alignment(alpha % 360.0, tx, ty, poses.mirror, np.ones(alpha.shape))


def from_eman(found: Alignment) -> InPlanePoses:
    """The program's poses of particles from EMAN2's transforms onto their projections; the scale is left out."""
    angle = np.radians(np.where(found.mirror, 180.0, 0.0) - found.alpha)
    cos, sin, sign = np.cos(angle), np.sin(angle), np.where(found.mirror, 1.0, -1.0)
    shift = np.stack([sign * (cos * found.tx + sin * found.ty), sign * (cos * found.ty - sin * found.tx)], -1)
    return InPlanePoses(angle, found.mirror, shift)


def to_eman_columns(found: Candidates) -> dict[str, np.ndarray]:
    """The poses of candidates (p, c) as EMAN2's similarity matrix has them: dx, dy (pixels), dalpha (degrees) and
    mirror of the transform of each particle onto its projection; 0 in unused places.
    """
    used, eman = found.reference >= 0, to_eman(found.poses)
    return {
        "candidates/dx": np.where(used, eman.tx, 0).astype(np.float32),
        "candidates/dy": np.where(used, eman.ty, 0).astype(np.float32),
        "candidates/dalpha": np.where(used, eman.alpha, 0).astype(np.float32),
        "candidates/mirror": found.mirror.astype(np.int8),
    }


def from_eman_columns(
    reference: np.ndarray, score: np.ndarray, evidence: np.ndarray, columns: Mapping[str, np.ndarray], models: int
) -> Candidates:
    """Candidates (p, c) from what was stored of them, poses as from `to_eman_columns`.

    What only the search itself needs, the evidence of each map and `match`, is 0.
    """
    dalpha, dx, dy = (columns[f"candidates/{name}"].astype(np.float64) for name in ("dalpha", "dx", "dy"))
    poses = from_eman(Alignment.of(dalpha, dx, dy, columns["candidates/mirror"].astype(bool)))
    return Candidates(
        reference,
        score,
        evidence,
        poses.angle.astype(np.float32),
        poses.shift.astype(np.float32),
        poses.mirror,
        np.zeros((len(reference), models)),
        np.zeros((len(reference), 2)),
    )


def round_as_stored(found: Candidates) -> Candidates:
    """The candidates as they come back from the run file, with poses rounded to what is stored of them."""
    back = from_eman_columns(found.reference, found.score, found.evidence, to_eman_columns(found), 0)
    return replace(found, angle=back.angle, shift=back.shift)
