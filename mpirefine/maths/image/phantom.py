"""Test data: an asymmetric molecule in different states of assembly, and simulated particles of it."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.rotations import rotation_from_eman
from mpirefine.maths.geometry.helix import Helix
from mpirefine.maths.image.ctf import contrast_transfer
from mpirefine.maths.likelihood.central_slices import slices

CORE_BLOBS, DOMAIN_BLOBS = 60, 14
TUBE_WIDTH = 1.2  # voxels, of the blobs of a tube
TUBE_PARTS = 20  # in which the blobs of a tube are added
CHUNK = 256  # images computed at a time


def states(box: int, n_states: int, rng: np.random.Generator) -> np.ndarray:
    """Maps (m, z, y, x) float32 of a molecule: state 0 is whole; each other one lacks another domain, 1/8 to 1/5 of the
    mass.

    The core is irregular, of blobs with widths of 1.5 to 2.5 % of the box; each domain is a cluster of blobs on its
    surface.
    """
    centres = rng.standard_normal((CORE_BLOBS, 3))
    centres = (
        0.2
        * centres
        / np.linalg.norm(centres, axis=1, keepdims=True)
        * rng.random((CORE_BLOBS, 1)) ** (1 / 3)
        * [1.0, 0.8, 0.65]
    )
    directions = np.array([[1, 0.3, 0.2], [-0.4, 1, 0.1], [-0.2, -0.5, 1], [0.1, -1, -0.6], [-1, 0.2, -0.4]])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    domains = [
        0.24 * directions[i % 5] + 0.05 * rng.standard_normal((DOMAIN_BLOBS, 3)) for i in range(max(n_states - 1, 1))
    ]
    widths = [rng.uniform(0.015, 0.025, len(part)) * box for part in (centres, *domains)]
    parts = [_blobs(box, part * box, width) for part, width in zip((centres, *domains), widths)]
    whole = np.sum(parts, axis=0)
    return np.stack([whole, *(whole - part for part in parts[1:n_states])]).astype(np.float32)


def tubes(box: int, coil: Helix, radius: float, n_states: int, rng: np.random.Generator) -> np.ndarray:
    """Maps (m, z, y, x) float32 of a tube with helical symmetry, whose units lie about `radius` voxels from its axis;
    the rise of `coil` is in voxels. State 0 has whole units; each other one lacks another domain on the outside.
    """
    core = np.stack([radius + rng.uniform(-2, 2, 4), rng.uniform(-2, 2, 4), rng.uniform(-2, 2, 4)], 1)
    domains = [[radius * (1.25 + 0.1 * m), rng.uniform(-2, 2), rng.uniform(-1, 1)] for m in range(max(n_states - 1, 1))]
    reach = int(box / 2 / abs(coil.tz)) + 4
    whole = coil._replace(nsym=(2 * reach + 1) * coil.nstart)
    parts = []
    for blobs in (core, *(np.array([domain]) for domain in domains)):
        centres = (blobs @ whole.turns().transpose(0, 2, 1)).reshape(-1, 3)
        centres[:, 2] += np.repeat(whole.shifts(), len(blobs))
        some = np.array_split(centres, TUBE_PARTS)
        parts.append(np.sum([_blobs(box, part, np.full(len(part), TUBE_WIDTH)) for part in some], axis=0))
    full = np.sum(parts, axis=0)
    return np.stack([full, *(full - part for part in parts[1:n_states])]).astype(np.float32)


def views_from_the_side(n: int, tilt: float, rng: np.random.Generator) -> np.ndarray:
    """(n, 3, 3) rotations whose views are within `tilt` degrees of the equator, otherwise at random."""
    alt = 90 + rng.uniform(-tilt, tilt, n)
    return rotation_from_eman(rng.uniform(0, 360, n), alt, rng.uniform(0, 360, n))


def _blobs(box: int, centres: np.ndarray, widths: np.ndarray) -> np.ndarray:
    axis = np.arange(box) - box // 2
    lines = np.exp(-((axis[None, None] - centres[:, :, None]) ** 2) / (2 * widths[:, None, None] ** 2))
    return np.einsum("bx,by,bz->zyx", lines[:, 0], lines[:, 1], lines[:, 2])


def random_rotations(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 3, 3) uniform over all rotations (unit quaternions)."""
    q = rng.standard_normal((n, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    return np.stack(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y - z * w),
            2 * (x * z + y * w),
            2 * (x * y + z * w),
            1 - 2 * (x * x + z * z),
            2 * (y * z - x * w),
            2 * (x * z - y * w),
            2 * (y * z + x * w),
            1 - 2 * (x * x + y * y),
        ],
        axis=1,
    ).reshape(n, 3, 3)


class SimulatedParticles(TypedDict):
    """Images (n, y, x) float32 and the truth behind them."""

    images: np.ndarray
    label: np.ndarray  # (n,) map of each image
    rotation: np.ndarray  # (n, 3, 3)
    shift: np.ndarray  # (n, 2) pixels
    ctf: CTFParams  # with a B-factor of 0: as in real data, the true one is not known


def simulate_particles(
    maps: np.ndarray,
    grid: Grid,
    n: int,
    *,
    rng: np.random.Generator,
    snr: float,
    maxshift: float = 3.0,
    defocus: tuple[float, float] = (8000.0, 25000.0),
    astigmatism: float = 400.0,
    bfactor: float = 100.0,
    fractions: np.ndarray | None = None,
    tilt: float | None = None,
) -> SimulatedParticles:
    """n images of maps (m, z, y, x): exact central slices × CTF, shifted, with white noise of variance 1.

    `snr` is signal variance over noise variance; shifts (pixels) and defocus (Å) are uniform; `fractions` (m,) are the
    shares of the maps. Views are from everywhere or, with `tilt`, within so many degrees of the equator.
    """
    share = np.full(len(maps), 1 / len(maps)) if fractions is None else np.asarray(fractions) / np.sum(fractions)
    label = rng.choice(len(maps), n, p=share)
    rotation = random_rotations(n, rng) if tilt is None else views_from_the_side(n, tilt, rng)
    shift = rng.uniform(-maxshift, maxshift, (n, 2))
    ctf = random_ctf(n, rng, defocus, astigmatism)
    images = np.empty((n, grid.nx, grid.nx), np.float32)
    for start in range(0, n, CHUNK):
        rows = np.arange(start, min(start + CHUNK, n))
        spectrum = shifted_slices(maps, label[rows], rotation[rows], shift[rows], grid)
        fy, fx = grid.frequencies()
        spectrum *= contrast_transfer(ctf.take(rows), fx, fy) * np.exp(-bfactor / 4 * (fx**2 + fy**2))
        images[rows] = np.fft.irfft2(spectrum, s=(grid.nx, grid.nx))
    images *= np.sqrt(snr / images.var(axis=(1, 2)).mean())
    images += rng.standard_normal(images.shape, dtype=np.float32)
    return SimulatedParticles(images=images, label=label, rotation=rotation, shift=shift, ctf=ctf)


def random_ctf(n: int, rng: np.random.Generator, defocus: tuple[float, float], astigmatism: float) -> CTFParams:
    """CTFs of n images at 300 kV: defocus and difference of its axes uniform, in Å."""
    mean, spread, zero = rng.uniform(*defocus, n), rng.uniform(0, astigmatism, n), np.zeros(n)
    angle = rng.uniform(0, 180, n)
    return CTFParams(
        mean + spread / 2, mean - spread / 2, angle, zero, zero, zero + 1, zero + 300, zero + 2.7, zero + 0.1
    )


def shifted_slices(
    maps: np.ndarray, label: np.ndarray, rotation: np.ndarray, shift: np.ndarray, grid: Grid
) -> np.ndarray:
    """Half-spectra (n, h, k) complex64 of projections of maps `label` (n,), their centres at nx // 2 + `shift`
    pixels.
    """
    fy, fx = grid.frequencies()
    points = np.stack(np.broadcast_arrays(fx * grid.length, fy * grid.length), -1)
    spectrum = np.empty((len(label), *grid.half_shape), np.complex64)
    for m in np.unique(label):
        spectrum[label == m] = slices(maps[m], rotation[label == m], points)
    place = shift + grid.nx // 2
    phase = (-2 * np.pi / grid.nx) * (points[..., 0] * place[:, :1, None] + points[..., 1] * place[:, 1:, None])
    spectrum *= np.exp(1j * phase)
    return spectrum
