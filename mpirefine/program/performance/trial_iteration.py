"""Time one iteration on simulated particles, to find the seconds per unit of work of each step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.data.partition import Block, Partition
from mpirefine.distribution.team import Team
from mpirefine.maths.fourier.filters import lowpass_gauss
from mpirefine.maths.fourier.polar import PolarGrid
from mpirefine.maths.image.masks import estimate_radius, soft_sphere
from mpirefine.maths.image.phantom import simulate_particles, states
from mpirefine.maths.likelihood.correlation import Correlator
from mpirefine.maths.likelihood.pose_search import shift_disc
from mpirefine.maths.likelihood.search_plan import SearchPlan
from mpirefine.program.performance.cost_model import REFINED_PAIRS, Job
from mpirefine.program.performance.timing import Clock
from mpirefine.program.start.defaults import PROJECTIONS
from mpirefine.steps.likelihood.method import Likelihood
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.settings import Settings
from mpirefine.steps.shared.particles import MemoryStack, OwnParticles
from mpirefine.steps.state import Context, Noise, RingLimits
from mpirefine.steps.workspace import Workspace

BOX, APIX, MAPS, PARTICLES, SNR, TARGETRES, MAXSHIFT = 64, 6.0, 2, 320, 0.05, 20.0, 5.0
SEED_RESOLUTION, GREY_SCALE = 30.0, 0.6


class DiscardedRows:
    """Stands for the store of class averages, and discards them."""

    def ensure_space(self, required: int) -> None:
        """Do nothing."""

    def begin_rows(self, name: str, rows: int, trailing: tuple[int, ...]) -> None:
        """Do nothing."""

    def put_rows(self, name: str, block: Block, rows: np.ndarray) -> None:
        """Discard `rows`."""


def simulate_context(team: Team, threads: int, clock: Clock) -> tuple[Context, LikelihoodState, Job]:
    """Collective. Simulate PARTICLES particles on each rank; the job holds the sizes of all ranks together."""
    grid = Grid(BOX, APIX)
    truth = states(grid.nx, MAPS, np.random.default_rng(1))
    simulated = simulate_particles(truth, grid, PARTICLES, rng=np.random.default_rng([2, team.rank]), snr=SNR)
    rows, zeros = np.arange(PARTICLES), np.zeros(PARTICLES, np.int32)
    half = (rows % 2).astype(np.int8)
    table = ParticleTable((), zeros, rows, rows + PARTICLES * team.rank, zeros, ("all",), half, simulated["ctf"])
    radius, count, symmetries = estimate_radius(truth[0], grid), PARTICLES * team.size, ("c1",) * MAPS
    job = Job(count, grid, symmetries, radius, TARGETRES, MAXSHIFT, team.size, team.node.size)
    rings = job.sampling.fine_grid.n_rings
    ctx = Context(
        team=team,
        settings=Settings(iterations=1, sep=PROJECTIONS, held_out=0.0, threads=threads),
        grid=grid,
        symmetries=symmetries,
        partition=Partition.even(count, team.size),
        particles=OwnParticles(table, MemoryStack(simulated["images"]), grid, pixels=None),
        plan=SearchPlan(grid.nx, radius / grid.apix, MAXSHIFT),
        limits=RingLimits(rings),
        clock=clock,
        masks=soft_sphere(grid.nx, radius / grid.apix + 2, 4.0, 3)[None],
    )
    volumes = np.stack([lowpass_gauss(v, grid, 1 / SEED_RESOLUTION) for v in truth]) if team.is_root else None
    noise = Noise(np.full((1, grid.nx // 2 + 1), float(grid.nx**2)), np.array([GREY_SCALE]))
    trust, grey = np.ones(PARTICLES, np.float32), np.ones(PARTICLES)
    state = LikelihoodState(1, noise, (rings,) * MAPS, half, trust, grey, volumes=volumes)
    return ctx, state, job


def time_an_iteration(team: Team, threads: int) -> tuple[Clock, Job]:
    """Collective. Run one iteration; its clock, and its job with the measured shares of pairs."""
    clock = Clock(team)
    ctx, state, job = simulate_context(team, threads, clock)
    with clock.iteration(1), Workspace(DiscardedRows()) as work:
        for step in Likelihood().steps(work):
            with clock(step.name):
                state = step.run(state, ctx)
    pairs_of_particle = float((state.assignments.weight > 0).sum()) / len(ctx.particles)
    flop = clock.iterations[-1]["steps"]["simmx"]["gflop"] * 1e9 / job.particles
    return clock, replace(job, pairs_per_particle=pairs_of_particle, surviving=estimate_surviving(job, flop))


def estimate_surviving(job: Job, flop_per_particle: float) -> float:
    """Estimate the share of fine pairs that were compared, from the counted arithmetic of a particle."""
    sampling, (coarse, fine) = job.sampling, job.references

    def flop(grid: PolarGrid, angles: int) -> float:
        return Correlator(replace(grid, n_angles=angles), job.plan.radius, 1).flop_per_pair

    rest = flop_per_particle - coarse * len(shift_disc(job.maxshift, sampling.coarse_step)) * flop(
        sampling.coarse_grid, sampling.coarse_angles
    )
    rest -= REFINED_PAIRS * flop(sampling.fine_grid, sampling.refined_angles)
    return max(rest, 0.0) / (
        fine * len(shift_disc(job.maxshift, sampling.fine_step)) * flop(sampling.fine_grid, sampling.fine_angles)
    )
