"""A small simulated refinement in memory: two states, 32 pixels, no files."""

import types

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.data.partition import Partition
from mpirefine.maths.fourier.filters import lowpass_gauss
from mpirefine.maths.image.masks import soft_sphere
from mpirefine.maths.image.phantom import simulate_particles, states
from mpirefine.maths.likelihood.search_plan import SearchPlan
from mpirefine.program.performance.timing import Clock
from mpirefine.steps.likelihood.search.particle_side import CHUNK
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.settings import Settings
from mpirefine.steps.shared.particles import MemoryStack, OwnParticles
from mpirefine.steps.state import Context, Noise, RingLimits

GRID = Grid(32, 6.0)
RADIUS = 12.0


def simulate(n=60, snr=0.5, seed=3, maps=2):
    rng = np.random.default_rng(seed)
    truth = states(GRID.nx, maps, rng)
    made = simulate_particles(truth, GRID, n, rng=rng, snr=snr, maxshift=2.0, bfactor=0.0)
    return truth, made


def context(team, truth, made, kind=LikelihoodState, **settings):
    """Context and state of iteration 1, with the true maps low-passed as references and the true noise."""
    n = len(made["images"])
    partition = Partition.even(n, team.size, CHUNK)
    mine = partition[team.rank].as_slice
    rows = np.arange(n)
    table = ParticleTable(
        (), np.zeros(n, np.int32), rows, rows, np.zeros(n, np.int32), ("all",), (rows % 2).astype(np.int8), made["ctf"]
    )
    particles = OwnParticles(table.take(mine), MemoryStack(made["images"][mine]), GRID, pixels=None)
    chosen = Settings(**{"iterations": 8, "block_mb": 1, "held_out": 0.0, **settings})
    mask = soft_sphere(GRID.nx, RADIUS + 1, 3.0, 3)
    ctx = Context(
        team=team,
        settings=chosen,
        grid=GRID,
        symmetries=("c1",) * len(truth),
        partition=partition,
        particles=particles,
        plan=SearchPlan(GRID.nx, RADIUS, 2.0),
        clock=Clock(team),
        limits=RingLimits(9, 5),
        masks=mask[None],
    )
    volumes = np.stack([lowpass_gauss(v, GRID, 1 / 25) * mask for v in truth]).astype(np.float32)
    noise = Noise(np.full((1, GRID.nx // 2 + 1), float(GRID.nx**2)), np.array([true_scale(truth, made)]))
    half, own = particles.table.half, len(particles)
    rings, ones = (9,) * len(truth), np.ones(own, np.float32)
    return ctx, kind(1, noise, rings, half, ones, np.ones(own), volumes=volumes if team.is_root else None)


def true_scale(truth, made):
    """Grey scale of the noise-free images: they were scaled to the signal-to-noise ratio asked for."""
    from mpirefine.maths.image.ctf import contrast_transfer
    from mpirefine.maths.likelihood.central_slices import slices

    fy, fx = GRID.frequencies()
    points = np.stack(np.broadcast_arrays(fx * GRID.length, fy * GRID.length), -1)
    model = np.concatenate([slices(truth[m], r[None], points) for m, r in zip(made["label"], made["rotation"])])
    model *= contrast_transfer(made["ctf"], fx, fy)
    place = made["shift"] + GRID.nx // 2
    phase = (2 * np.pi / GRID.nx) * (points[..., 0] * place[:, :1, None] + points[..., 1] * place[:, 1:, None])
    data = np.fft.rfft2(made["images"]) * np.exp(1j * phase)
    return float((data * model.conj()).real.sum() / (np.abs(model) ** 2).sum())


def namespace(**values):
    return types.SimpleNamespace(**values)
