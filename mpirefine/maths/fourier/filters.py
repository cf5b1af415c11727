"""Radial filters of images and maps, and resampling of maps to another box and pixel size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mpirefine.data.grid import Grid

Weight = Callable[[np.ndarray], np.ndarray]


def frequencies(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Frequencies in cycles per pixel along each axis of a half-spectrum (last axis halved), sparse arrays."""
    axes = [*(np.fft.fftfreq(n) for n in shape[:-1]), np.fft.rfftfreq(shape[-1])]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def filtered(image: np.ndarray, weight: Weight) -> np.ndarray:
    """An image or a map, in any box, with its transform multiplied by `weight(frequency in cycles per pixel)`;
    float32.
    """
    from scipy import fft

    frequency = np.sqrt(sum(a * a for a in frequencies(image.shape)))
    return fft.irfftn(fft.rfftn(image) * weight(frequency), s=image.shape).astype(np.float32)


def apply_radial(map_zyx: np.ndarray, weight: Weight) -> np.ndarray:
    """A cubic map with its transform multiplied by `weight(radius in Fourier pixels)`; float32."""
    return filtered(map_zyx, lambda f: weight(f * len(map_zyx)))


def random_phases(image: np.ndarray, beyond: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with its amplitudes, and random phases where `beyond` (bool on its half-spectrum); float32."""
    from scipy import fft

    spectrum = fft.rfftn(image)
    # the phases of a real noise image have the symmetry of a real image's transform
    noise = fft.rfftn(rng.standard_normal(image.shape).astype(np.float32))
    random = np.abs(spectrum) * noise / np.maximum(np.abs(noise), 1e-30)
    return fft.irfftn(np.where(beyond, random, spectrum), s=image.shape).astype(np.float32)


def lowpass_cosine(map_zyx: np.ndarray, grid: Grid, resolution: float, width: float = 3.0) -> np.ndarray:
    """Low-pass with a raised-cosine edge from `resolution` (Å) over `width` shells; float32."""
    cut = grid.ring(resolution)
    return apply_radial(map_zyx, lambda r: 0.5 + 0.5 * np.cos(np.pi * np.clip((r - cut) / width, 0, 1)))


def gauss(cutoff: float) -> Weight:
    """exp(−f²/c²), frequency f and cutoff c in cycles per pixel."""
    return lambda f: np.exp(-((f / cutoff) ** 2))


def lowpass_gauss(map_zyx: np.ndarray, grid: Grid, cutoff_freq: float) -> np.ndarray:
    """EMAN2's filter.lowpass.gauss: exp(−f²/c²), 1/e at c = `cutoff_freq` in 1/Å (EMAN2's `sigma` is c/√2); float32."""
    return filtered(map_zyx, gauss(cutoff_freq * grid.apix))


def resample(map_zyx: np.ndarray, grid: Grid, wanted: Grid) -> np.ndarray:
    """A map on another box and pixel size, centre on centre, values kept; exact for a band-limited map, 0 outside its
    box.

    The map's transform is taken at the frequencies of the wanted grid, up to the smaller of the two Nyquist
    frequencies, by a product with a DFT matrix on each axis.
    """
    from scipy import fft

    nx, old = wanted.nx, np.arange(grid.nx) - grid.nx // 2
    ratio = grid.apix / wanted.length  # cycles per old pixel of one new Fourier pixel
    limit = 0.5 * min(1.0, grid.apix / wanted.apix) * (1 + 1e-9)

    def to_frequencies(k: np.ndarray) -> np.ndarray:
        """DFT matrix (frequency, old pixel), 0 beyond the limit."""
        inside = np.abs(k * ratio) <= limit
        return (inside[:, None] * np.exp(-2j * np.pi * ratio * np.outer(k, old))).astype(np.complex64)

    full = to_frequencies(np.fft.fftfreq(nx) * nx)
    spectrum = map_zyx.astype(np.float32) @ to_frequencies(np.fft.rfftfreq(nx) * nx).T
    spectrum = np.tensordot(full, full @ spectrum, 1)
    density = fft.fftshift(fft.irfftn(spectrum, s=(nx,) * 3)) * (grid.apix / wanted.apix) ** 3
    place = (np.arange(nx) - nx // 2) * wanted.apix / grid.apix + grid.nx // 2
    known = ((place >= 0) & (place <= grid.nx - 1)).astype(np.float32)
    return (density * known[:, None, None] * known[:, None] * known).astype(np.float32)


def in_box(image: np.ndarray, box: int) -> np.ndarray:
    """An image or map cut or padded with zeros to `box` pixels on all axes, pixel n // 2 on pixel n // 2; float32."""
    out = np.zeros((box,) * image.ndim, np.float32)
    to, of = [], []
    for n in image.shape:
        low = max(-(box // 2), -(n // 2))
        high = min(box - box // 2, n - n // 2)
        to.append(slice(box // 2 + low, box // 2 + high))
        of.append(slice(n // 2 + low, n // 2 + high))
    out[tuple(to)] = image[tuple(of)]
    return out
