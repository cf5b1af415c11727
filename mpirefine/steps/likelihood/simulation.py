"""Simulated particles with the poses, CTF and noise of real ones, by which the held-out test is calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.data.poses import HardPoses
from mpirefine.distribution import reduce
from mpirefine.maths.likelihood.central_slices import slices
from mpirefine.maths.likelihood.model import on_shells, premultiplied, transfer
from mpirefine.steps.likelihood.search.spectra import chunk_of, full_points
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.state import Context, amplitude

# standard deviation on each axis of simulated views around grid points, as a share of the fine step of directions
JITTER = 0.25


@dataclass(frozen=True)
class SimulatedImages:
    """Simulated images (n, y, x) of some own rows; `place` (p,) is each row's index in them."""

    place: np.ndarray
    pixels: np.ndarray

    def images(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32 of own rows."""
        return self.pixels[self.place[rows]]


def simulate_own_particles(
    state: LikelihoodState,
    ctx: Context,
    pair: tuple[int, int],
    structures: np.ndarray | None,
    shown: np.ndarray,
    rows: np.ndarray,
    poses: HardPoses,
) -> SimulatedImages:
    """Collective. Images of own `rows` (n,) as if each showed structure number `shown` (n,) near its pose of `poses`.

    `structures` (s, z, y, x) are on rank 0. Noise is drawn by the names of the images, by `pair`, and by whether one
    structure (number 0) or two (1 and 2) are shown.
    """
    nx, count = ctx.grid.nx, ctx.team.bcast(len(structures) if structures is not None else None)
    pixels, place = np.empty((len(rows), nx, nx), np.float32), np.zeros(len(ctx.particles.table), np.int64)
    place[rows] = np.arange(len(rows))
    key = ctx.particles.table.key
    for number in range(count):
        volume = reduce.bcast_array(ctx.team, structures[number] if structures is not None else None)
        of_structure = np.flatnonzero(shown == number)
        for start in range(0, len(of_structure), chunk_of(ctx)):
            own = of_structure[start : start + chunk_of(ctx)]
            seeds = [[ctx.settings.seed, *pair, min(number, 1), int(key[row])] for row in rows[own]]
            draws = [np.random.default_rng(seed) for seed in seeds]
            pixels[own] = simulate_chunk(state, ctx, volume, rows[own], poses.take(own), draws)
    return SimulatedImages(place, pixels)


def simulate_chunk(
    state: LikelihoodState,
    ctx: Context,
    volume: np.ndarray,
    rows: np.ndarray,
    poses: HardPoses,
    draws: list[np.random.Generator],
) -> np.ndarray:
    """Images (n, y, x) of a map (z, y, x) with the CTF and noise of own `rows`, by one generator each (`draws`).

    Views and shifts are drawn near `poses`, since true ones lie between grid points; with --fixed-poses they are kept.
    """
    from scipy import fft
    from scipy.spatial.transform import Rotation

    points, table, nx = full_points(ctx), ctx.particles.table, ctx.grid.nx
    white = np.stack([draw.standard_normal((nx, nx), dtype=np.float32) for draw in draws])
    rotation, shift = poses.rotation, poses.shift
    if not ctx.settings.fixed_poses:
        turn = np.stack([draw.normal(0, np.radians(JITTER * state.sampling.fine_delta), 3) for draw in draws])
        rotation = Rotation.from_rotvec(turn).as_matrix() @ rotation
        shift = shift + np.stack([draw.uniform(-0.5, 0.5, 2) for draw in draws]) * state.sampling.refined_step
    origin = shift + nx // 2
    phase = (-2 * np.pi / nx) * (points[..., 0] * origin[:, :1, None] + points[..., 1] * origin[:, 1:, None])
    projection = slices(volume, rotation, points, ctx.settings.threads)
    spectrum = amplitude(state, ctx, rows)[:, None, None] * projection * np.exp(1j * phase)
    ctf = ctx.particles.ctf(rows)
    curve = transfer(ctf, ctx.grid)
    spectrum *= curve
    spectrum += fft.rfft2(white) * np.sqrt(on_shells(state.noise.sigma2[table.group[rows]], ctx.grid)) / nx
    spectrum *= premultiplied(ctf, curve, 1.0)
    return fft.irfft2(spectrum, s=(nx, nx))
