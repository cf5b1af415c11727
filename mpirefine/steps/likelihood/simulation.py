"""Simulated particles with the poses, contrast transfer and noise of real ones: what a test is calibrated with."""

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

# of the fine step of directions: how far simulated views lie from grid points (standard deviation on each axis)
JITTER = 0.25


@dataclass(frozen=True)
class SimulatedImages:
    """Pixels (n, y, x) of some own rows; `place` (p,) is where each row is in them."""

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
    """Collective. Own `rows` as they would look if they showed structure number `shown` (n,) near `poses` (n).

    `structures` (s, z, y, x) are on rank 0. Noise is drawn by the names of the images and by `pair`.
    """
    nx, count = ctx.grid.nx, ctx.team.bcast(len(structures) if structures is not None else None)
    pixels, where = np.empty((len(rows), nx, nx), np.float32), np.zeros(len(ctx.particles.table), np.int64)
    where[rows] = np.arange(len(rows))
    key = ctx.particles.table.key
    for number in range(count):
        volume = reduce.bcast_array(ctx.team, structures[number] if structures is not None else None)
        of_structure = np.flatnonzero(shown == number)
        for start in range(0, len(of_structure), chunk_of(ctx)):
            own = of_structure[start : start + chunk_of(ctx)]
            seeds = [[ctx.settings.seed, *pair, min(number, 1), int(key[row])] for row in rows[own]]
            draws = [np.random.default_rng(seed) for seed in seeds]
            pixels[own] = simulate_chunk(state, ctx, volume, rows[own], poses.take(own), draws)
    return SimulatedImages(where, pixels)


def simulate_chunk(
    state: LikelihoodState,
    ctx: Context,
    volume: np.ndarray,
    rows: np.ndarray,
    poses: HardPoses,
    draws: list[np.random.Generator],
) -> np.ndarray:
    """(n, y, x) images of a map (z, y, x) with the contrast transfer and noise of own `rows`.

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
    place = shift + nx // 2
    phase = (-2 * np.pi / nx) * (points[..., 0] * place[:, :1, None] + points[..., 1] * place[:, 1:, None])
    projection = slices(volume, rotation, points, ctx.settings.threads)
    spectrum = amplitude(state, ctx, rows)[:, None, None] * projection * np.exp(1j * phase)
    ctf = ctx.particles.ctf(rows)
    curve = transfer(ctf, ctx.grid)
    spectrum *= curve
    spectrum += fft.rfft2(white) * np.sqrt(on_shells(state.noise.sigma2[table.group[rows]], ctx.grid)) / nx
    spectrum *= premultiplied(ctf, curve, 1.0)
    return fft.irfft2(spectrum, s=(nx, nx))
