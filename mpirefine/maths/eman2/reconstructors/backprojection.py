"""Back-projection: images with a ramp filter, smeared along their directions of view, as EMAN2's back_projection.

N smeared images of n pixels add n N / 2k times the map's coefficient at k Fourier pixels, and n N times at the origin,
if views are spread evenly. The filter max(2k, 1) / n N undoes it.
"""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.transform import transform_image
from mpirefine.maths.eman2.reconstructors.spectra import pick_rows, plane, spectra_of
from mpirefine.maths.geometry.symmetry import HELICAL, operations, parse
from mpirefine.maths.image.interpolation import ImageMover


class BackProjector:
    """The sum of smeared images, and the map; to be used as a `Reconstructor`, but for its agreement with images."""

    def __init__(self, box: int, symmetry: str):
        """Raises ParameterError for a helix."""
        if parse(symmetry)[0] == HELICAL:
            raise ParameterError(f"back_projection: symmetry '{symmetry}': a helix has no group of rotations")
        self.box, self.operations = box, operations(symmetry)
        self._sum, self._count = np.zeros((box,) * 3), np.zeros(1)

    @property
    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """The arrays themselves, to be summed over ranks in place: smeared images (z, y, x), their number (1,)."""
        return self._sum, self._count

    def insert(
        self,
        images: np.ndarray,
        rotations: np.ndarray,
        weights: np.ndarray,
        shifts: np.ndarray | None = None,
        mirror: np.ndarray | None = None,
        snr: np.ndarray | None = None,
        filtered: np.ndarray | None = None,
    ) -> None:
        """Add images (n, y, x), arguments as of `Reconstructor.insert`. Those of weight 0 are left out, the others
        weigh the same, as in EMAN2; SNR curves are not used.
        """
        radius = plane(self.box)[0]
        ramp = np.where(np.rint(radius) <= self.box // 2, np.maximum(2 * radius, 1) / self.box, 0)
        depth = np.arange(self.box) - self.box // 2
        for row in np.flatnonzero(weights):
            one = slice(row, row + 1)
            spectrum = spectra_of(images[one], pick_rows(shifts, one), pick_rows(mirror, one)) * ramp
            image = np.fft.fftshift(np.fft.irfft2(spectrum, s=(self.box, self.box)), axes=(1, 2))
            # for the plane at depth z of the map: image position (x, y) = R (x, y, z)
            back = np.tile(np.eye(3), (self.box, 1, 1))
            back[:, :2, :2], back[:, :2, 2] = rotations[row, :2, :2], depth[:, None] * rotations[row, :2, 2]
            self._sum += ImageMover(image).pull(back, np.zeros(self.box, int))
        self._count += np.count_nonzero(weights)

    def finish(self) -> np.ndarray:
        """The map (z, y, x) float32: the mean over the symmetry's operations, 0 beyond radius box / 2 - 1."""
        mean = self._sum / max(self._count[0], 1)
        out = sum(transform_image(mean, operation, np.zeros(3)) for operation in self.operations) / len(self.operations)
        square = (np.arange(self.box) - self.box // 2) ** 2
        outside = square[:, None, None] + square[:, None] + square >= (self.box // 2 - 1) ** 2
        return np.where(outside, 0, out).astype(np.float32)
