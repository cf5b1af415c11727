"""EMAN2's two-dimensional transforms, and images moved by them.

x' = mirror(scale · Z(alpha) x + (tx, ty)) with Z(a) = [[cos a, sin a], [−sin a, cos a]], coordinates from pixel n // 2,
mirror = the sign of x' changed: the translation is given before mirroring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CHUNK_PIXELS = 1 << 15  # of images moved at a time: what is computed for them stays in the cache


@dataclass(frozen=True)
class Alignment:
    """n transforms; what an aligner answers takes image i onto its reference."""

    alpha: np.ndarray  # degrees
    tx: np.ndarray  # pixels
    ty: np.ndarray  # pixels
    mirror: np.ndarray  # bool
    scale: np.ndarray

    @classmethod
    def of(cls, alpha, tx=0.0, ty=0.0, mirror=False, scale=1.0) -> Alignment:
        """From numbers or arrays, broadcast over n."""
        kinds = (np.float64, np.float64, np.float64, bool, np.float64)
        columns = np.broadcast_arrays(*(np.atleast_1d(v) for v in (alpha, tx, ty, mirror, scale)))
        return cls(*(np.array(column, kind) for column, kind in zip(columns, kinds)))

    @classmethod
    def from_matrix(cls, matrix: np.ndarray) -> Alignment:
        """From (n, 3, 3) matrices of such transforms, alpha in (−180, 180]."""
        matrix = np.asarray(matrix, np.float64)
        mirror = np.linalg.det(matrix[:, :2, :2]) < 0
        flip = np.where(mirror, -1.0, 1.0)
        cos, sin = matrix[:, 1, 1], -matrix[:, 1, 0]
        return cls(
            np.degrees(np.arctan2(sin, cos)), flip * matrix[:, 0, 2], matrix[:, 1, 2].copy(), mirror, np.hypot(cos, sin)
        )

    def __len__(self) -> int:
        return len(self.alpha)

    def take(self, rows) -> Alignment:
        """The given rows (slice, indices or mask)."""
        return Alignment(self.alpha[rows], self.tx[rows], self.ty[rows], self.mirror[rows], self.scale[rows])

    def matrix(self) -> np.ndarray:
        """(n, 3, 3) float64, for coordinates x, y, 1."""
        angle = np.radians(self.alpha)
        cos, sin = self.scale * np.cos(angle), self.scale * np.sin(angle)
        flip = np.where(self.mirror, -1.0, 1.0)
        out = np.zeros((len(self), 3, 3))
        out[:, 0, 0], out[:, 0, 1], out[:, 0, 2] = flip * cos, flip * sin, flip * self.tx
        out[:, 1, 0], out[:, 1, 1], out[:, 1, 2] = -sin, cos, self.ty
        out[:, 2, 2] = 1
        return out

    def inverse(self) -> Alignment:
        """What takes the reference onto the image."""
        return Alignment.from_matrix(np.linalg.inv(self.matrix()))

    def after(self, first: Alignment) -> Alignment:
        """The product: `first`, then this one."""
        return Alignment.from_matrix(self.matrix() @ first.matrix())


class Mover:
    """Images (m, y, x) float32 ready to be moved again and again: out(x') = in(T⁻¹ x'), bilinear, EMAN2's xform.

    A source position X is used if 0 ≤ X < n on both axes, its right-hand neighbour being the last pixel beyond it; the
    result is 0 elsewhere.
    """

    def __init__(self, images_myx: np.ndarray):
        images = np.asarray(images_myx, np.float32)
        self.shape = images.shape[1:]
        self._cells = cells(images)

    def __call__(self, transforms: Alignment, which: np.ndarray | None = None) -> np.ndarray:
        """(n, y, x) float32: image which[i] moved by transform i; by default image i, or the only one there is."""
        count, (ny, nx) = len(transforms), self.shape
        if which is None:
            which = np.arange(count) % (len(self._cells) // ((ny + 2) * (nx + 2)))
        # rounded, so that quarter turns meet pixels exactly
        back = np.round(np.linalg.inv(transforms.matrix()), 12)
        out = np.empty((count, ny, nx), np.float32)
        step = max(1, CHUNK_PIXELS // (ny * nx))
        for start in range(0, count, step):
            rows = slice(start, start + step)
            self._move(back[rows], np.asarray(which[rows], np.int64), out[rows])
        return out

    def _move(self, back: np.ndarray, which: np.ndarray, out: np.ndarray) -> None:
        ny, nx = self.shape
        x, y = np.arange(nx) - nx // 2, np.arange(ny) - ny // 2
        whole, part = [], []
        for axis, n in enumerate((nx, ny)):
            along_x = back[:, axis, 0, None] * x + (back[:, axis, 2, None] + (n // 2 + 1))
            source = (
                along_x.astype(np.float32)[:, None, :] + (back[:, axis, 1, None] * y).astype(np.float32)[:, :, None]
            )
            np.clip(source, 0, n + 1, out=source)
            whole.append(np.floor(source))
            source -= whole[-1]
            part.append(source)
        whole[1] *= np.float32(nx + 2)
        whole[1] += whole[0]
        index = whole[1].astype(np.int32) + (which * ((ny + 2) * (nx + 2)))[:, None, None]
        cell = self._cells.take(index).view(np.float32).reshape(*index.shape, 4)
        slope = cell[..., 3] * part[0]
        slope += cell[..., 2]
        slope *= part[1]
        np.multiply(cell[..., 1], part[0], out=out)
        out += cell[..., 0]
        out += slope


def cells(images: np.ndarray) -> np.ndarray:
    """The bilinear function in each square of pixels, a + b x + c y + d xy, four float32 as one item so that they are
    looked up at once.

    Rows and columns of squares are one pixel more than the image on each side: those outside are 0, those on its far
    edges constant across it.
    """
    wide = np.pad(images, ((0, 0), (0, 1), (0, 1)), "edge")
    count, ny, nx = images.shape
    out = np.zeros((count, ny + 2, nx + 2, 4), np.float32)
    inner = out[:, 1:-1, 1:-1]
    inner[..., 0] = images
    inner[..., 1] = wide[:, :-1, 1:] - images
    inner[..., 2] = wide[:, 1:, :-1] - images
    inner[..., 3] = wide[:, 1:, 1:] - wide[:, 1:, :-1] - inner[..., 1]
    return out.view(np.complex128).reshape(-1)


def moved(images_nyx: np.ndarray, transforms: Alignment) -> np.ndarray:
    """Images (n, y, x), or one for all, moved by n transforms; float32."""
    return Mover(images_nyx)(transforms)
