"""The profile of a machine: rates of a core and the seconds that a unit of each step's work takes there, from a small
rehearsal.
"""

from __future__ import annotations

import importlib
import json
import resource
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.data.partition import Block, Partition
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.errors import InputError
from mpirefine.maths.fourier.filters import lowpass_gauss
from mpirefine.maths.fourier.polar import PolarGrid
from mpirefine.maths.image.masks import estimate_radius, soft_sphere
from mpirefine.maths.image.phantom import simulate_particles, states
from mpirefine.maths.likelihood.correlation import Correlator
from mpirefine.maths.likelihood.pose_search import Level, coarse_peaks, shift_disc
from mpirefine.program.defaults import PROJECTIONS
from mpirefine.program.loop import PIPELINE
from mpirefine.program.options import Options
from mpirefine.program.performance.cost_model import REFINED_PAIRS, Job
from mpirefine.program.performance.rates import best_seconds, sgemm_rate
from mpirefine.program.performance.timing import Clock
from mpirefine.steps.likelihood import fine_search
from mpirefine.steps.likelihood.search_plan import SearchPlan
from mpirefine.steps.shared.particles import OwnParticles
from mpirefine.steps.state import Context, Noise, State

LIBRARIES = (
    "scipy.fft",
    "scipy.sparse",
    "scipy.spatial",
    "scipy.ndimage",
    "finufft",
    "pyfftw",
    "h5py",
    "matplotlib.figure",
    "jinja2",
    "tqdm",
)
REHEARSAL = dict(box=64, apix=6.0, maps=2, particles=320, snr=0.05, targetres=20.0, maxshift=5.0)
FFT_LENGTH, FFT_COLUMNS = 128, 1008
COPY_BYTES, REDUCE_BYTES = 1 << 27, 1 << 24
MATCH = dict(box=64, radius=24.0, references=600, particles=8, shift_radius=5.0, shift_step=2.0)


@dataclass(frozen=True)
class Machine:
    """Rates per rank with all ranks at work, seconds per unit of work of each step, and MB of a rank that has done
    nothing yet.
    """

    ranks: int
    sgemm_gflops: float
    fft_gflops: float
    copy_gb_s: float
    allreduce_gb_s: float | None
    seconds_per_unit: dict[str, float]
    base_mb: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def read(cls, path: Path) -> Machine:
        """InputError when the file is no profile."""
        try:
            values = json.loads(path.read_text())
            return cls(**values["machine"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: no profile of a machine ({error}): 'mpirun -n N python -m mpirefine bench --out {path}' "
                "makes one"
            ) from None


class Unwritten:
    """A writer of iterations that keeps nothing."""

    def ensure_space(self, needed: int) -> None:
        """Nothing."""

    def begin_rows(self, name: str, rows: int, trailing: tuple[int, ...]) -> None:
        """Nothing."""

    def put_rows(self, name: str, block: Block, rows: np.ndarray) -> None:
        """Nothing."""


class InMemory:
    """A stack in memory."""

    def __init__(self, images: np.ndarray):
        self._images = images

    def read(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) copies."""
        return self._images[rows].copy()


def rehearse(team: Team, threads: int) -> tuple[Clock, Job]:
    """Collective. One iteration on simulated particles, each rank as many as it would have alone."""
    grid, maps = Grid(int(REHEARSAL["box"]), REHEARSAL["apix"]), int(REHEARSAL["maps"])
    truth = states(grid.nx, maps, np.random.default_rng(1))
    count = int(REHEARSAL["particles"]) * team.size
    made = simulate_particles(
        truth, grid, count // team.size, rng=np.random.default_rng([2, team.rank]), snr=REHEARSAL["snr"]
    )
    own = count // team.size
    rows, zeros = np.arange(own), np.zeros(own, np.int32)
    table = ParticleTable(
        (), zeros, rows, rows + own * team.rank, zeros, ("all",), (rows % 2).astype(np.int8), made["ctf"]
    )
    radius = estimate_radius(truth[0], grid)
    options = Options(
        iter=1, temperature=1.0, sep=PROJECTIONS, held_out=0.0, maxshift=REHEARSAL["maxshift"], threads=threads
    )
    clock = Clock(team)
    ctx = Context(
        team=team,
        options=options,
        grid=grid,
        symmetries=("c1",) * maps,
        partition=Partition.even(count, team.size),
        particles=OwnParticles(table, InMemory(made["images"]), grid.nx, keep_pixels=True),
        clock=clock,
        writer=Unwritten(),
        plan=SearchPlan(grid.nx, radius / grid.apix, REHEARSAL["maxshift"]),
        masks=soft_sphere(grid.nx, radius / grid.apix + 2, 4.0, 3)[None],
    )
    job = Job(
        count, grid, ctx.symmetries, radius, REHEARSAL["targetres"], REHEARSAL["maxshift"], team.size, team.node.size
    )
    rings = job.levels.fine_grid.n_rings
    ctx.target_rings = rings
    volumes = np.stack([lowpass_gauss(v, grid, 1 / 30.0) for v in truth]) if team.is_root else None
    state = State(
        1, Noise(np.full((1, grid.nx // 2 + 1), float(grid.nx**2)), np.array([0.6])), (rings,) * maps, volumes=volumes
    )
    with clock.iteration(1), ExitStack() as ctx.resources:
        for step in PIPELINE:
            with clock(step.name):
                state = step.run(state, ctx)
    pairs = float((state.assignments.weight > 0).sum()) / own
    flop = clock.iterations[-1]["steps"]["simmx"]["gflop"] * 1e9 / count
    return clock, replace(job, pairs_per_particle=pairs, surviving=surviving(job, flop))


def surviving(job: Job, flop_per_particle: float) -> float:
    """Share of fine pairs that were looked at, from the arithmetic that was counted."""
    levels, (coarse, fine) = job.levels, job.references

    def flop(grid: PolarGrid, angles: int) -> float:
        return Correlator(replace(grid, n_angles=angles), job.plan.radius, 1).flop_per_pair

    rest = flop_per_particle - coarse * len(shift_disc(job.maxshift, levels.coarse_step)) * flop(
        levels.coarse_grid, levels.coarse_angles
    )
    rest -= REFINED_PAIRS * flop(levels.fine_grid, levels.refined_angles)
    return max(rest, 0.0) / (
        fine * len(shift_disc(job.maxshift, levels.fine_step)) * flop(levels.fine_grid, levels.fine_angles)
    )


def base_memory() -> float:
    """MB of this process with every library of a run loaded and nothing else."""
    for name in LIBRARIES:
        importlib.import_module(name)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def fft_rate() -> float:
    """GFLOP/s (5 N log2 N) of transforms of a block as the search lays them out."""
    import pyfftw

    block = pyfftw.empty_aligned((FFT_LENGTH, FFT_COLUMNS), np.complex64)
    plan = pyfftw.FFTW(block, block, axes=(0,), flags=("FFTW_ESTIMATE",))
    block[:] = 0
    return 5 * FFT_LENGTH * np.log2(FFT_LENGTH) * FFT_COLUMNS / best_seconds(plan.execute) / 1e9


def copy_rate() -> float:
    """GB/s of reading and writing memory beyond the caches."""
    source, target = np.ones(COPY_BYTES // 8), np.zeros(COPY_BYTES // 8)
    return 2 * COPY_BYTES / best_seconds(lambda: np.copyto(target, source)) / 1e9


def allreduce_rate(team: Team) -> float | None:
    """Collective. GB/s of the array summed over all ranks; None for one rank."""
    if team.size == 1:
        return None
    values = np.zeros(REDUCE_BYTES // 8)
    reduce.sum_in_place(team, values)
    team.barrier()
    return REDUCE_BYTES / best_seconds_fixed(lambda: reduce.sum_in_place(team, values)) / 1e9


def best_seconds_fixed(work: Any, repeats: int = 5) -> float:
    """Shortest of a fixed number of runs: as many on every rank."""
    return min(best_seconds(work, least=0.0, repeats=1) for _ in range(repeats))


def matching(rings: int, angles: int, peak: float) -> dict[str, float]:
    """Exhaustive matching of all shifts, in-plane angles and the mirror: a pose is a particle, projection, shift and
    angle.
    """
    grid = PolarGrid(int(MATCH["box"]), rings, angles)
    level = Level.make(grid, shift_disc(MATCH["shift_radius"], MATCH["shift_step"]))
    count, total, shifts = int(MATCH["particles"]), int(MATCH["references"]), len(level.shifts)
    rng = np.random.default_rng(3)
    references = rng.standard_normal((total, angles, rings)).astype(np.float32)
    samples = (rng.standard_normal((count, rings, angles // 2)) + 1j).astype(np.complex64)
    correlator = Correlator(grid, MATCH["radius"], max(fine_search.BLOCK_VALUES // angles, count * shifts))
    norm = np.zeros((count, total), np.float32)
    seconds = best_seconds(lambda: coarse_peaks(samples, norm, references, level, correlator, 1), least=1.0)
    pairs = total * count * shifts
    bound = 4 * rings * angles / peak
    return {
        "rings": rings,
        "angles": angles,
        "shifts": shifts,
        "ns_per_pose": round(seconds / pairs / angles * 1e9, 3),
        "ns_per_pair": round(seconds / pairs * 1e9, 1),
        "of_product_bound": round(seconds / pairs * 1e9 / bound, 2),
    }


def measure(team: Team, threads: int) -> tuple[Machine, list[dict[str, float]]]:
    """Collective. The profile, and how fast exhaustive matching is at three sizes."""
    base = base_memory()
    peak = sgemm_rate()
    rates = [peak, fft_rate(), copy_rate(), base]
    match = [matching(rings, angles, peak) for rings, angles in ((28, 160), (21, 96), (15, 48))]
    means = np.mean(team.allgather(rates), axis=0)
    rehearse(team, threads)
    clock, job = rehearse(team, threads)
    steps = clock.iterations[-1]["steps"]
    units = {name: steps[name]["max"] / amount for name, amount in job.work().items()}
    return Machine(
        team.size,
        round(means[0], 1),
        round(means[1], 1),
        round(means[2], 1),
        allreduce_rate(team),
        units,
        round(float(means[3]), 1),
    ), match
