"""Projections of maps by EMAN2's projectors: f(volume_zyx, rotations, shifts, apix, *, parameters) -> (n, y, x)
float32.

`rotations` (n, 3, 3) take map to image coordinates, x' = R x + t from pixel n // 2; a matrix of determinant -1 gives a
mirrored view. `shifts` (n, 2) are t in pixels, x and y, or None. The program's own projections are in
maths/likelihood/central_slices.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.image.interpolation import Trilinear
from mpirefine.registry import Registry

PROJECTORS = Registry("projector")
BORDER = 1e-5  # pixels beyond the box that count as inside, so that turns by 90 degrees lose no plane
EXACT = 1e-6  # smaller elements of rotations are taken to be 0
BLOCK = 1 << 14  # samples at a time: all arrays for them fit into the cache
POINTS = 1 << 20  # Fourier coefficients interpolated at a time
# modes of gauss_fft: neighbours on each axis, whether they are counted from the nearest pixel or from the one below,
# width of their Gaussian (0: none), width of the correction in real space
KERNELS: dict[int, tuple[tuple[int, ...], bool, float, float]] = {
    0: ((0, 1), False, 0.0, 1.0),
    1: ((0,), True, 0.0, 1.0),
    2: ((0, 1), False, 4 / np.pi**2, 4 / np.pi**2),
    3: ((-1, 0, 1), True, 6.4 / np.pi**2, 6.4 / np.pi**2),
    4: ((-1, 0, 1, 2), False, 8.8 / np.pi**2, 8.8 / np.pi**2),
    5: ((-2, -1, 0, 1, 2), True, 10.4 / np.pi**2, 10.4 / np.pi**2),
    6: ((-2, -1, 0, 1, 2), True, 10.4 / np.pi**2, 10.4 / np.pi**2),
    7: ((-2, -1, 0, 1, 2), True, 0.0, 10.4 / np.pi**2),
}
QUARTIC = 3.013  # scale of the kernel of mode 7, per Fourier pixel: fits EMAN2's table


@PROJECTORS.register("standard")
def standard(volume: np.ndarray, rotations: np.ndarray, shifts: np.ndarray | None, apix: float) -> np.ndarray:
    """Line integral: the sum over z of the map turned with trilinear interpolation, 0 outside the box. EMAN2's
    standard.

    p(x, y) = sum_z map(R^-1 ((x, y, z) - t)); a sample counts where 0 <= X <= n - 1 on all axes.
    """
    return _views(volume, rotations, shifts, np.add)


@PROJECTORS.register("maxval")
def maxval(volume: np.ndarray, rotations: np.ndarray, shifts: np.ndarray | None, apix: float) -> np.ndarray:
    """Maximum along each line instead of the sum; 0 counts for what is outside the box. EMAN2's maxval.

    p(x, y) = max_z map(R^-1 ((x, y, z) - t)), samples as in `standard`.
    """
    return _views(volume, rotations, shifts, np.maximum)


@PROJECTORS.register("pawel")
def pawel(
    volume: np.ndarray,
    rotations: np.ndarray,
    shifts: np.ndarray | None,
    apix: float,
    *,
    radius: int | None = None,
    origin_x: int | None = None,
    origin_y: int | None = None,
    origin_z: int | None = None,
) -> np.ndarray:
    """Line integral within a sphere. EMAN2's pawel.

    As `standard`, of the samples with |(x, y, z) - t| <= radius from the origin. `radius`: of the sphere (pixels, n //
    2 - 1). `origin_x`, `origin_y`, `origin_z`: its centre, about which the map turns (pixel, n // 2).
    """
    half = len(volume) // 2
    origin = [half if value is None else value for value in (origin_x, origin_y, origin_z)]
    return _views(volume, rotations, shifts, np.add, half - 1 if radius is None else radius, np.array(origin))


def _views(
    volume: np.ndarray,
    rotations: np.ndarray,
    shifts: np.ndarray | None,
    reduce: np.ufunc,
    radius: float | None = None,
    origin: np.ndarray | None = None,
) -> np.ndarray:
    """Projections (n, y, x): `reduce` over the samples along each line of sight, within a radius of `origin`
    (pixels).
    """
    n = len(volume)
    out = np.zeros((len(rotations), n * n), np.float32)
    density = Trilinear(volume)
    centre = np.full(3, n // 2) if origin is None else origin
    for view, rotation in enumerate(rotations):
        shift = np.zeros(2) if shifts is None else shifts[view]
        for samples in _samples(density, n, rotation, shift, centre, radius):
            reduce(out[view], reduce.reduce(samples, axis=0), out=out[view])
    return out.reshape(-1, n, n)


def _samples(
    density: Trilinear, n: int, rotation: np.ndarray, shift: np.ndarray, centre: np.ndarray, radius: float | None
) -> Iterator[np.ndarray]:
    """The map in image planes (k, pixels), a few at a time along the line of sight; 0 outside the box and the
    sphere.
    """
    back = np.linalg.inv(np.where(np.abs(rotation) < EXACT, 0, rotation))
    x, y, z = (np.arange(n) - c - t for c, t in zip(centre, (*shift, 0)))
    plane = (back[:, 0, None, None] * x + back[:, 1, None, None] * y[:, None]).reshape(3, 1, -1).astype(np.float32)
    along = (back[:, 2, None] * z + centre[:, None]).astype(np.float32)
    step = max(1, BLOCK // n**2)
    for start in range(0, n, step):
        where = plane + along[:, start : start + step, None]
        inside = np.logical_and.reduce((where >= -BORDER) & (where <= n - 1 + BORDER))
        if radius is not None:
            inside &= (x**2 + y[:, None] ** 2).reshape(-1) + z[start : start + step, None] ** 2 <= radius**2
        yield density(where) * inside


@PROJECTORS.register("gauss_fft")
def gauss_fft(
    volume: np.ndarray,
    rotations: np.ndarray,
    shifts: np.ndarray | None,
    apix: float,
    *,
    mode: int = 0,
    returnfft: bool = False,
) -> np.ndarray:
    """Fourier slice: the map's transform on a plane, interpolated, transformed back and divided by the kernel's
    fall-off. EMAN2's gauss_fft.

    Slice(u, v) = F(R^T (u, v, 0)) for |(u, v)| < n / 2 - 1, else 0; the image is divided by exp(-r^2 w / n^2). `mode`:
    0 trilinear, w = 1; 1 nearest coefficient, w = 1; 2, 3, 4, 6 Gaussian exp(-d^2 / w) of 2, 3, 4, 5 neighbours on each
    axis, w = 4, 6.4, 8.8, 10.4 / pi^2, normalised but in mode 2, where EMAN2 divides only the last of the eight by the
    sum of the weights; 5 as 6 (there a table of it whose ends are overrun); 7 the transform of exp(-r^4) at 5
    neighbours on each axis, w of 6; ParameterError for any other. `returnfft`: give the transforms (n, y, x // 2 + 1),
    complex, origin at the corner, instead of the images.
    """
    if mode not in KERNELS:
        raise ParameterError(f"gauss_fft:mode={mode}: it is one of {', '.join(map(str, KERNELS))}")
    n = len(volume)
    spectrum = np.fft.fftn(np.fft.ifftshift(volume)).astype(np.complex64)
    v, u = np.meshgrid(np.fft.fftfreq(n, 1 / n), np.arange(n // 2 + 1), indexing="ij")
    used = np.hypot(u, v) < n // 2 - 1
    slices = np.zeros((len(rotations), *used.shape), np.complex64)
    per_call = max(1, POINTS // used.size)
    for start in range(0, len(rotations), per_call):
        part = np.where(np.abs(rotations[start : start + per_call]) < EXACT, 0, rotations[start : start + per_call])
        where = u[used][:, None] * part[:, None, 0] + v[used][:, None] * part[:, None, 1]
        slices[start : start + per_call, used] = _interpolated(spectrum, where, mode)
    if shifts is not None:
        slices *= np.exp(-2j * np.pi / n * (u * shifts[:, 0, None, None] + v * shifts[:, 1, None, None]))
    if returnfft:
        return slices
    square = (np.arange(n) - n // 2) ** 2
    falloff = np.exp(-(square[:, None] + square) * KERNELS[mode][3] / n**2)
    return (np.fft.fftshift(np.fft.irfft2(slices, (n, n)), axes=(1, 2)) / falloff).astype(np.float32)


def _interpolated(spectrum: np.ndarray, where: np.ndarray, mode: int) -> np.ndarray:
    """The transform (z, y, x), origin at the corner, at positions (..., 3) x, y, z; where x < 0, the conjugate at the
    opposite position, as in EMAN2.
    """
    offsets, nearest, width, _ = KERNELS[mode]
    n = len(spectrum)
    mate = where[..., 0] < 0
    where = np.where(mate[..., None], -where, where)
    low = np.floor(where + 0.5 if nearest else where)
    value, total = np.zeros(where.shape[:-1], np.complex128), np.zeros(where.shape[:-1])
    for number, (dz, dy, dx) in enumerate(np.ndindex(*(len(offsets),) * 3)):
        place = low + [offsets[dx], offsets[dy], offsets[dz]]
        away = where - place
        weight = (
            np.exp(-(away**2).sum(axis=-1) / width)
            if width
            else np.prod(1 - np.abs(away), axis=-1)
            if mode == 0
            else quartic_kernel(np.sqrt((away**2).sum(axis=-1)))
            if mode == 7
            else np.ones(total.shape)
        )
        total += weight
        x, y, z = np.moveaxis(place.astype(np.intp) % n, -1, 0)
        value += spectrum[z, y, x] * (weight / total if mode == 2 and number == 7 else weight)
    value = value if mode == 2 else value / total
    if mode > 2:  # EMAN2 leaves out what is too close to the spectrum's border for its kernel
        value *= (low[..., 0] < n // 2 - 1) & (np.abs(low[..., 1:] + 0.5) < n // 2 - 2).all(axis=-1)
    return np.where(mate, value.conj(), value)


def quartic_kernel(distance: np.ndarray) -> np.ndarray:
    """The three-dimensional Fourier transform of exp(-x^4) at distances in Fourier pixels, 1 at 0: EMAN2's hyperg."""
    x = np.linspace(0, 2.6, 261)[1:]
    weight = x**2 * np.exp(-(x**4))
    at = np.linspace(0, 6, 1201)
    table = np.sinc(QUARTIC / np.pi * at[:, None] * x) @ weight / weight.sum()
    return np.interp(distance, at, table)


@PROJECTORS.register("chao")
def chao(
    volume: np.ndarray,
    rotations: np.ndarray,
    shifts: np.ndarray | None,
    apix: float,
    *,
    radius: int | None = None,
    origin_x: int | None = None,
    origin_y: int | None = None,
    origin_z: int | None = None,
) -> np.ndarray:
    """Every voxel of a sphere, put down at its place in the image, shared out to the four pixels around it. EMAN2's
    chao.

    The voxel at v from the origin lands on R v + t, in bilinear shares. `radius`: of the sphere (pixels, n // 2 - 1).
    `origin_x`, `origin_y`, `origin_z`: its centre (pixel, n // 2). ParameterError when the box does not hold the
    sphere.
    """
    n = len(volume)
    reach = n // 2 - 1 if radius is None else radius
    if n <= 2 * reach:
        raise ParameterError(f"chao:radius={reach}: a box of {n} pixels holds at most {(n - 1) // 2}")
    centre = np.array([n // 2 if value is None else value for value in (origin_x, origin_y, origin_z)])
    z, y, x = np.nonzero(((np.indices(volume.shape) - centre[::-1, None, None, None]) ** 2).sum(axis=0) <= reach**2)
    value, points = volume[z, y, x].astype(np.float64), np.stack([x, y, z], axis=1) - centre
    out = np.zeros((len(rotations), n, n), np.float32)
    for view, rotation in enumerate(rotations):
        where = points @ rotation[:2].T + centre[:2] + (0 if shifts is None else shifts[view])
        low = np.floor(where).astype(int)
        far = where - low
        image = np.zeros((n + 2) ** 2)  # with a border for what leaves the box
        for dy, dx in np.ndindex(2, 2):
            share = np.where([dx, dy], far, 1 - far).prod(axis=1)
            column, row = (np.clip(low + [dx, dy], -1, n) + 1).T
            image += np.bincount(row * (n + 2) + column, share * value, len(image))
        out[view] = image.reshape(n + 2, n + 2)[1:-1, 1:-1]
    return out
