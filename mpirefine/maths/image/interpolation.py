"""Images and maps between their pixels: bilinear and trilinear interpolation, the only ones of the package."""

from __future__ import annotations

import numpy as np

CHUNK_PIXELS = 1 << 15  # of images moved at a time: all arrays for them fit into the cache
CORNERS = tuple(np.ndindex(2, 2, 2))  # neighbours of a position, z, y, x


class ImageMover:
    """Images (m, y, x) float32, prepared to be moved again and again: out(x') = in(T⁻¹ x'), bilinear.

    EMAN2's rule at the border: a position X counts if 0 ≤ X < n on both axes, and neighbours beyond the last pixel are
    the last pixel; elsewhere the result is 0.
    """

    def __init__(self, images_myx: np.ndarray):
        images = np.asarray(images_myx, np.float32)
        self.shape = images.shape[1:]
        self._cells = bilinear_cells(images)

    def __call__(self, transforms: np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """Image which[i] moved by transform i, (n, y, x) float32; by default image i, or the only one there is.

        `transforms` (n, 3, 3) act on (x, y, 1), counted from pixel n // 2.
        """
        # rounded, so that turns by 90 degrees meet pixels exactly
        return self.pull(np.round(np.linalg.inv(transforms), 12), which)

    def pull(self, back: np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """As a call, by the inverse transforms (n, 3, 3), which may have no inverse: out(x') = in(B x')."""
        count, (ny, nx) = len(back), self.shape
        if which is None:
            which = np.arange(count) % (len(self._cells) // ((ny + 2) * (nx + 2)))
        out = np.empty((count, ny, nx), np.float32)
        step = max(1, CHUNK_PIXELS // (ny * nx))
        for start in range(0, count, step):
            rows = slice(start, start + step)
            self._move(back[rows], np.asarray(which[rows], np.int64), out[rows])
        return out

    def _move(self, back: np.ndarray, which: np.ndarray, out: np.ndarray) -> None:
        """Fill `out` (n, y, x) in place; `back` (n, 3, 3) are the inverse transforms."""
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


def bilinear_cells(images: np.ndarray) -> np.ndarray:
    """The bilinear function a + b x + c y + d xy in each square between four pixels, flat over images (m, y, x).

    The four float32 of a square are stored as one complex128, so that one look-up fetches them. There is one more row
    and column of squares than pixels on each side: the outer ones are 0, those on the far edges constant across it.
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


class Trilinear:
    """A map (z, y, x) as a float32 function between its voxels; an image is a map of one plane."""

    def __init__(self, volume: np.ndarray):
        values = np.asarray(volume, np.float32)
        values = values[None] if values.ndim == 2 else values
        self.shape = values.shape
        # an axis of one voxel gets a second one, so that each position has a neighbour on either side
        values = np.pad(values, [(0, int(n == 1)) for n in values.shape], "edge")
        self._last = [np.float32(n - 2) for n in values.shape[::-1]]  # the last lower neighbour, x, y, z
        self._row, self._plane = values.shape[2], values.shape[1] * values.shape[2]
        flat = values.reshape(-1)
        self._neighbours = [flat[dz * self._plane + dy * self._row + dx :] for dz, dy, dx in CORNERS]

    def __call__(self, where: np.ndarray) -> np.ndarray:
        """The map (...) at positions x, y, z (3, ...), float32 voxels counted from the first.

        Positions outside the box are moved to its border. `where` is overwritten.
        """
        low = np.empty_like(where)
        for place, lower, n, last in zip(where, low, self.shape[::-1], self._last):
            np.clip(place, 0, n - 1, out=place)
            np.minimum(np.floor(place), last, out=lower)
        where -= low
        x, y, z = low.astype(np.int32)
        first = (z * np.int32(self._plane) + y * np.int32(self._row) + x).astype(np.intp)
        values = [of.take(first) for of in self._neighbours]
        for axis, stride in enumerate((1, 2, 4)):
            for i in range(0, 8, 2 * stride):
                values[i + stride] -= values[i]
                values[i + stride] *= where[axis]
                values[i] += values[i + stride]
        return values[0]
