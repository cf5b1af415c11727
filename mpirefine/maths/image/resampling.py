"""Images brought to another box and pixel size by their Fourier transform, about the box centre, pixel n // 2, and to
the frame of the particle: without anisotropic magnification and odd aberrations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.maths.image.aberrations import odd_phase, stretch, worst_odd_phase

SMALL_PRIMES = (2, 3, 5, 7)
SAME_FIELD = 1e-7  # relative difference of the edges of two boxes below which they are one field
LEAST_PHASE = 5.0  # degrees, of odd aberrations at the target's Nyquist; smaller ones are not removed
LEAST_MOVE = 0.02  # pixels of the target, by magnification at the edge of the box; smaller ones are not undone
ACCURACY = 3e-5  # relative, of the non-uniform transform; single precision has little more to give


@dataclass(frozen=True)
class Resampler:
    """Images recorded with a lens (or just on a grid) as they are on a `target` grid in the particle's own frame; grey
    values are kept.

    Frequencies beyond the Nyquist of either grid are left out. In one field this is Fourier cropping; else the
    transform is taken at the target's frequencies by two products with DFT matrices, which is exact for any pair of
    pixel sizes, or with anisotropic magnification by a non-uniform transform. What lies beyond the target's field does
    not wrap round: those pixels become the mean of the outermost ones that are kept, and so does what lies beyond the
    source's field.
    """

    recorded: Lens | Grid
    target: Grid

    @cached_property
    def lens(self) -> Lens:
        """The lens; for images on a grid one without errors."""
        return self.recorded if isinstance(self.recorded, Lens) else Lens("", self.recorded)

    @property
    def same_field(self) -> bool:
        """Whether both boxes have the same edge in Å."""
        return abs(self.lens.grid.length / self.target.length - 1) < SAME_FIELD

    @cached_property
    def distorted(self) -> bool:
        """Whether the magnification is undone."""
        return stretch(self.lens) * self.target.nx / 2 > LEAST_MOVE

    @cached_property
    def aberrant(self) -> bool:
        """Whether odd aberrations are removed."""
        return worst_odd_phase(self.lens, self.target.nyquist) > LEAST_PHASE

    @cached_property
    def crops(self) -> bool:
        """Whether Fourier cropping, without a change of the field, is enough."""
        return self.same_field and not self.distorted and self.target.nx <= self.lens.grid.nx

    @cached_property
    def keeps(self) -> bool:
        """Whether images stay as they are."""
        return self.crops and not self.aberrant and self.target.nx == self.lens.grid.nx

    def __call__(self, images_pyx: np.ndarray) -> np.ndarray:
        """(p, y, x) float32 on the target grid, of images of the lens; themselves where nothing is to be done."""
        from scipy import fft

        if self.keeps:
            return images_pyx
        if self.crops:
            level, spectrum = None, self._cropped(images_pyx)
        else:
            level = images_pyx[:, self._frame].mean(axis=1, dtype=np.float64).astype(np.float32)[:, None, None]
            centred = (images_pyx - level) * self._kept
            spectrum = self._non_uniform(centred) if self.distorted else self._at_target_frequencies(centred)
        if self.aberrant:
            spectrum *= self._unphased
        found = fft.irfft2(spectrum, s=(self.target.nx, self.target.nx)).astype(np.float32)
        if level is not None:  # a constant prediction is recorded as itself divided by the determinant
            found += level * np.float32(np.linalg.det(self.lens.magnification) if self.distorted else 1)
        return found

    def _cropped(self, images_pyx: np.ndarray) -> np.ndarray:
        """Half-spectra (p, h, k) of the target box, cut out of those of the source."""
        from scipy import fft

        n, half = self.target.nx, self.target.nx // 2
        whole = fft.rfft2(images_pyx)
        out = np.empty((len(images_pyx), n, half + 1), np.complex64)
        out[:, : n - half] = whole[:, : n - half, : half + 1]
        out[:, n - half :] = whole[:, -half:, : half + 1]
        return out * np.float32((n / self.lens.grid.nx) ** 2)

    def _at_target_frequencies(self, images_pyx: np.ndarray) -> np.ndarray:
        """Half-spectra (p, h, k) of the target box by the sum over the source's pixels."""
        rows, columns = self._matrices
        return rows @ (images_pyx.astype(np.float32) @ columns)

    def _non_uniform(self, images_pyx: np.ndarray) -> np.ndarray:
        """Half-spectra (p, h, k) of the target box by the sum over the source's pixels, at the image's frequencies: the
        inverse magnification times those of the target.
        """
        import finufft

        (points_y, points_x), inside, factor = self._points
        pixels = np.ascontiguousarray(images_pyx, np.complex64)
        found = finufft.nufft2d2(points_y, points_x, pixels, eps=ACCURACY, isign=-1, nthreads=1)
        out = np.zeros((len(images_pyx), *inside.shape), np.complex64)
        out[:, inside] = found.reshape(len(images_pyx), -1) * factor
        return out

    @cached_property
    def _matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """DFT matrices (h, y) and (x, k) complex64 from pixels of the source to frequencies of the target."""
        n, place = self.target.nx, np.arange(self.lens.grid.nx) - self.lens.grid.nx // 2
        scale = self.lens.grid.apix / self.target.apix
        step = -2j * np.pi / n
        ky, kx = np.fft.fftfreq(n, 1 / n), np.arange(n // 2 + 1)
        known = [scale * (np.abs(k) * scale <= n / 2 * (1 + SAME_FIELD)) for k in (ky, kx)]
        rows = (known[0] * self._to_corner(ky))[:, None] * np.exp(step * np.outer(ky, place * scale))
        columns = known[1] * self._to_corner(kx) * np.exp(step * np.outer(place * scale, kx))
        return rows.astype(np.complex64), columns.astype(np.complex64)

    @cached_property
    def _points(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frequencies (2: y and x, n) in radians per pixel of the source, which of the target's (h, k) they are, and
        the factor (n,) of the transform there.
        """
        n, apix = self.target.nx, self.lens.grid.apix
        fy, fx = np.broadcast_arrays(*self.target.frequencies())
        x, y = np.tensordot(np.linalg.inv(self.lens.magnification), np.stack([fx, fy]), 1) * (2 * np.pi * apix)
        inside = np.maximum(np.abs(x), np.abs(y)) <= np.pi * (1 + SAME_FIELD)
        corner = self._to_corner(np.fft.fftfreq(n, 1 / n))[:, None] * self._to_corner(np.arange(n // 2 + 1))
        factor = (apix / self.target.apix) ** 2 * corner[inside]
        return np.stack([y[inside], x[inside]]).astype(np.float32), inside, factor.astype(np.complex64)

    def _to_corner(self, k: np.ndarray) -> np.ndarray:
        """The phase at Fourier pixels `k` that moves the origin from the box centre to pixel 0."""
        return np.exp(-2j * np.pi / self.target.nx * k * (self.target.nx // 2))

    @cached_property
    def _unphased(self) -> np.ndarray:
        """(h, k) complex64 factors that remove the odd aberrations."""
        fy, fx = self.target.frequencies()
        return np.exp(-1j * odd_phase(self.lens, fx, fy)).astype(np.complex64)

    @cached_property
    def _kept(self) -> np.ndarray:
        """(y, x) bool, pixels of the source that lie in the target's field, to half a pixel."""
        own = self.lens.grid
        axis = (np.arange(own.nx) - own.nx // 2) * own.apix
        shift = np.stack(np.broadcast_arrays(axis, axis[:, None]), -1)
        place = shift_to_particle(self.lens, shift) if self.distorted else shift
        low = -(self.target.length + own.apix) / 2
        inside = (place >= low) & (place < low + self.target.length + SAME_FIELD * own.length)
        return inside[..., 0] & inside[..., 1]

    @cached_property
    def _frame(self) -> np.ndarray:
        """(y, x) bool, the outermost pixels that are kept."""
        from scipy import ndimage

        return self._kept & ~ndimage.binary_erosion(self._kept, np.ones((3, 3)))


def shift_to_image(lens: Lens, shift: np.ndarray) -> np.ndarray:
    """Shifts (..., 2: x, y) of the particle's frame as they are in the images of a lens, in the same unit.

    Their phases agree: k · t in the image is (M k) · t' in the particle's frame, so t = Mᵀ t'.
    """
    return shift @ np.array(lens.magnification)


def shift_to_particle(lens: Lens, shift: np.ndarray) -> np.ndarray:
    """Shifts (..., 2: x, y) in the images of a lens as they are in the particle's frame, in the same unit."""
    return shift @ np.linalg.inv(lens.magnification)


def good_box(least: float) -> int:
    """The smallest even number from `least` on without prime factors above 7."""
    n = int(np.ceil(least / 2) * 2)
    while True:
        rest = n
        for prime in SMALL_PRIMES:
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 2
