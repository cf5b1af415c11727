"""Test objects: an asymmetric molecule in several states of assembly, and simulated particles of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.maths.image.ctf import contrast_transfer
from mpirefine.maths.likelihood.central_slices import slices

CORE_BLOBS, DOMAIN_BLOBS = 60, 14
CHUNK = 256


def states(box: int, n_states: int, rng: np.random.Generator) -> np.ndarray:
    """(m, z, y, x) float32: state 0 is whole; each other state lacks another domain, an eighth to a fifth of the mass.

    Blobs of 1.5 to 2.5 % of the box fill a lopsided core; each domain is a cluster of blobs on its surface.
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
) -> dict[str, Any]:
    """n images (n, y, x) float32 of maps (m, z, y, x): exact slices × CTF, shifted, unit white noise; and the truth
    they were made from.

    `snr` is signal variance over noise variance; shifts (px) and defocus (Å) are uniform. Returns images, label,
    rotation, shift, ctf (whose B-factor is not told, as in real life: it is 0).
    """
    share = np.full(len(maps), 1 / len(maps)) if fractions is None else np.asarray(fractions) / np.sum(fractions)
    label, rotation, shift = (
        rng.choice(len(maps), n, p=share),
        random_rotations(n, rng),
        rng.uniform(-maxshift, maxshift, (n, 2)),
    )
    mean, spread, zero = rng.uniform(*defocus, n), rng.uniform(0, astigmatism, n), np.zeros(n)
    ctf = CTFParams(
        mean + spread / 2,
        mean - spread / 2,
        rng.uniform(0, 180, n),
        zero,
        zero,
        zero + 1,
        zero + 300,
        zero + 2.7,
        zero + 0.1,
    )
    fy, fx = grid.frequencies()
    points = np.stack(np.broadcast_arrays(fx * grid.length, fy * grid.length), -1)
    images = np.empty((n, grid.nx, grid.nx), np.float32)
    for start in range(0, n, CHUNK):
        rows = np.arange(start, min(start + CHUNK, n))
        spectrum = np.empty((len(rows), *grid.half_shape), np.complex64)
        for m in np.unique(label[rows]):
            spectrum[label[rows] == m] = slices(maps[m], rotation[rows][label[rows] == m], points)
        place = shift[rows] + grid.nx // 2
        phase = (-2 * np.pi / grid.nx) * (points[..., 0] * place[:, :1, None] + points[..., 1] * place[:, 1:, None])
        spectrum *= (
            contrast_transfer(ctf.take(rows), fx, fy) * np.exp(-bfactor / 4 * (fx**2 + fy**2)) * np.exp(1j * phase)
        )
        images[rows] = np.fft.irfft2(spectrum, s=(grid.nx, grid.nx))
    images *= np.sqrt(snr / images.var(axis=(1, 2)).mean())
    images += rng.standard_normal(images.shape, dtype=np.float32)
    return dict(images=images, label=label, rotation=rotation, shift=shift, ctf=ctf)
