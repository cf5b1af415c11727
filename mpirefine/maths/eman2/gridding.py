"""Projections of maps by Kaiser-Bessel gridding: EMAN2's projector fourier_gridding."""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.projectors import PROJECTORS

COEFFICIENTS = 1 << 15  # interpolated at a time


@PROJECTORS.register("fourier_gridding")
def fourier_gridding(
    volume: np.ndarray,
    rotations: np.ndarray,
    shifts: np.ndarray | None,
    apix: float,
    *,
    npad: int = 2,
    kb_alpha: float = 1.25,
    kb_K: int = 6,
) -> np.ndarray:
    """Fourier slice of the padded map, by a Kaiser-Bessel kernel whose fall-off was divided out of the map before.
    EMAN2's fourier_gridding (Penczek, Renka, Schomberg, J. Opt. Soc. Am. A 21, 499, 2004).

    The map of n voxels is divided by sinh(b s) / (b s) on each axis, s^2 = 1 - (2 x / (`kb_alpha` n))^2, padded with
    zeros to `npad` n, and its transform interpolated with I0(b s), s^2 = 1 - (2 k / K)^2, of `kb_K` neighbours on each
    axis, b = pi `kb_alpha` K / (2 `npad`). ParameterError for a pad or a kernel below 1.
    """
    if npad < 1 or kb_K < 1 or not kb_alpha > 0:
        raise ParameterError(f"fourier_gridding:npad={npad}:kb_K={kb_K}:kb_alpha={kb_alpha:g}: all must be 1 or more")
    n, wide = len(volume), len(volume) * npad
    falloff = sharpness(npad, kb_alpha, kb_K)
    centred = (np.arange(n) - n // 2) * 2 / (kb_alpha * n)
    window = sinh_window(falloff, centred)
    padded = np.zeros((wide,) * 3, np.float32)
    start = wide // 2 - n // 2
    inner = (slice(start, start + n),) * 3
    padded[inner] = volume / (window[:, None, None] * window[:, None] * window)
    spectrum = np.fft.fftn(np.fft.ifftshift(padded)).astype(np.complex64)
    v, u = np.meshgrid(np.fft.fftfreq(wide, 1 / wide), np.arange(wide // 2 + 1), indexing="ij")
    used = np.hypot(u, v) <= wide // 2
    out = np.zeros((len(rotations), n, n), np.float32)
    for view, rotation in enumerate(rotations):
        piece = np.zeros(used.shape, np.complex128)
        where = u[used][:, None] * rotation[0] + v[used][:, None] * rotation[1]
        piece[used] = interpolate(spectrum, where, falloff, kb_K)
        if shifts is not None:
            piece *= np.exp(-2j * np.pi / wide * (u * shifts[view, 0] + v * shifts[view, 1]))
        whole = np.fft.fftshift(np.fft.irfft2(piece, (wide, wide)))
        out[view] = whole[start : start + n, start : start + n]
    return out


def sharpness(npad: int, alpha: float, width: int) -> float:
    """The argument b of the Kaiser-Bessel functions."""
    return float(np.pi * alpha * width / (2 * npad))


def sinh_window(falloff: float, place: np.ndarray) -> np.ndarray:
    """sinh(b s) / (b s), s^2 = 1 - place^2, over its value at 0; beyond 1 the sine instead."""
    inside = np.sqrt(np.asarray(1 - place**2, np.complex128))
    return np.real(np.sinc(1j * falloff * inside / np.pi) / np.sinc(1j * falloff / np.pi))


def interpolate(spectrum: np.ndarray, where: np.ndarray, falloff: float, width: int) -> np.ndarray:
    """The transform (z, y, x), origin at the corner, at places (m, 3) x, y, z, by the kernel of `width` neighbours."""
    from scipy.special import i0

    n, out = len(spectrum), np.empty(len(where), np.complex128)
    area = width * np.sinh(falloff) / (falloff * i0(falloff))  # of the kernel on one axis
    for start in range(0, len(where), COEFFICIENTS):
        part = where[start : start + COEFFICIENTS]
        place = np.floor(part - width / 2)[..., None] + 1 + np.arange(width)
        square = 1 - (2 * (place - part[..., None]) / width) ** 2
        share = np.where(square >= 0, i0(falloff * np.sqrt(np.maximum(square, 0))) / i0(falloff), 0) / area
        x, y, z = np.moveaxis(place.astype(np.intp) % n, 1, 0)
        total = np.zeros(len(part), np.complex128)
        for k, j in np.ndindex(width, width):
            line = spectrum[z[:, k, None], y[:, j, None], x]
            total += share[:, 2, k] * share[:, 1, j] * (line * share[:, 0]).sum(axis=1)
        out[start : start + COEFFICIENTS] = total
    return out
