"""Measure a machine: rates of a core, and the seconds that a unit of work of each step takes."""

from __future__ import annotations

import importlib
import resource
from collections.abc import Callable

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.maths.fourier.polar import PolarGrid
from mpirefine.maths.likelihood.correlation import Correlator
from mpirefine.maths.likelihood.pose_search import Level, coarse_peaks, shift_disc
from mpirefine.program.performance.machine import Machine
from mpirefine.program.performance.rates import best_seconds, sgemm_rate
from mpirefine.program.performance.trial_iteration import time_an_iteration
from mpirefine.steps.likelihood.search.fine import BLOCK_VALUES

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
FFT_LENGTH, FFT_COLUMNS = 128, 1008
COPY_BYTES, REDUCE_BYTES = 1 << 27, 1 << 24
MATCH_BOX, MATCH_RADIUS, MATCH_REFERENCES, MATCH_PARTICLES, SHIFT_RADIUS, SHIFT_STEP = 64, 24.0, 600, 8, 5.0, 2.0


def base_memory() -> float:
    """Memory of this process in MB with all libraries of a run loaded, before it holds any data."""
    for name in LIBRARIES:
        importlib.import_module(name)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def fft_rate() -> float:
    """GFLOP/s of the FFTs of the pose search, counted as 5 N log2 N, on a block of the search's layout."""
    import pyfftw

    block = pyfftw.empty_aligned((FFT_LENGTH, FFT_COLUMNS), np.complex64)
    plan = pyfftw.FFTW(block, block, axes=(0,), flags=("FFTW_ESTIMATE",))
    block[:] = 0
    return 5 * FFT_LENGTH * np.log2(FFT_LENGTH) * FFT_COLUMNS / best_seconds(plan.execute) / 1e9


def copy_rate() -> float:
    """GB/s of copying arrays larger than the caches, counted as read plus written."""
    source, target = np.ones(COPY_BYTES // 8), np.zeros(COPY_BYTES // 8)
    return 2 * COPY_BYTES / best_seconds(lambda: np.copyto(target, source)) / 1e9


def allreduce_rate(team: Team) -> float | None:
    """Collective. Size of an array per second of its Allreduce, in GB/s; None for one rank."""
    if team.size == 1:
        return None
    values = np.zeros(REDUCE_BYTES // 8)
    reduce.sum_in_place(team, values)
    team.barrier()
    return REDUCE_BYTES / best_seconds_fixed(lambda: reduce.sum_in_place(team, values)) / 1e9


def best_seconds_fixed(work: Callable[[], object], repeats: int = 5) -> float:
    """Collective if `work` is. Shortest of a fixed number of runs, so that all ranks run equally often."""
    return min(best_seconds(work, least=0.0, repeats=1) for _ in range(repeats))


def time_matching(rings: int, angles: int, peak: float) -> dict[str, float]:
    """Time exhaustive matching over all shifts, in-plane angles and the mirror.

    A pose is a particle, projection, shift and in-plane angle; a pair is a (projection, shift) of a particle. `peak` is
    the GFLOP/s of a matrix product, whose time per pair is the bound that matching is compared with.
    """
    grid = PolarGrid(MATCH_BOX, rings, angles)
    level = Level.make(grid, shift_disc(SHIFT_RADIUS, SHIFT_STEP))
    count, total, shifts = MATCH_PARTICLES, MATCH_REFERENCES, len(level.shifts)
    rng = np.random.default_rng(3)
    references = rng.standard_normal((total, angles, rings)).astype(np.float32)
    samples = (rng.standard_normal((count, rings, angles // 2)) + 1j).astype(np.complex64)
    correlator = Correlator(grid, MATCH_RADIUS, max(BLOCK_VALUES // angles, count * shifts))
    norm = np.zeros((count, total), np.float32)
    seconds = best_seconds(lambda: coarse_peaks(samples, norm, references, level, correlator, 1), least=1.0)
    tried = total * count * shifts
    bound = 4 * rings * angles / peak
    return {
        "rings": rings,
        "angles": angles,
        "shifts": shifts,
        "ns_per_pose": round(seconds / tried / angles * 1e9, 3),
        "ns_per_pair": round(seconds / tried * 1e9, 1),
        "of_product_bound": round(seconds / tried * 1e9 / bound, 2),
    }


def measure(team: Team, threads: int) -> tuple[Machine, list[dict[str, float]]]:
    """Collective. Measure the profile of the machine, and exhaustive matching at three sizes."""
    base = base_memory()
    peak = sgemm_rate()
    rates = [peak, fft_rate(), copy_rate(), base]
    match = [time_matching(rings, angles, peak) for rings, angles in ((28, 160), (21, 96), (15, 48))]
    means = np.mean(team.allgather(rates), axis=0)
    time_an_iteration(team, threads)  # loads libraries and plans FFTs; not counted
    clock, job = time_an_iteration(team, threads)
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
