"""How much a refinement has to do and to hold, from its sizes alone: no MPI, no data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.partition import Partition
from mpirefine.maths.fourier.polar import PolarGrid
from mpirefine.maths.geometry.directions import projection_directions
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.likelihood.class_sums import ClassSums, sparse_rings
from mpirefine.maths.likelihood.correlation import NORM_ORDERS, bands
from mpirefine.maths.likelihood.pose_search import shift_disc
from mpirefine.steps.likelihood import average, fine_search, noise, simmx
from mpirefine.steps.likelihood.search_plan import LevelPlan, SearchPlan

SURVIVING_PAIRS = (
    0.01  # share of all fine (projection, shift) pairs that are looked at: 0.3 % on clean data, 3 % on very noisy
)
SECOND_SHARE = (
    0.25  # share of the coarse projections looked at with fine shifts, 9 each: 0.1 on clean data, 0.4 on very noisy
)
REFINED_PAIRS = 300  # (projection, refined shift) pairs of a particle: 150 on clean data, 3000 on very noisy
PAIRS_PER_PARTICLE = 2.5  # projections a particle is averaged into
TRANSFORM_WEIGHT = 3.0  # a flop of the FFT takes this many times as long as one of the product ...
PEAK_WEIGHT = 10.0  # ... and reading a pair's T results once, this many flop each
PARTICLE_FLOP = 1.2e8  # everything of a particle at 64 pixels that is not pairs, as flop of the product
BYTES_PER_SAMPLE = 230  # temporaries of inserting one sample
ROOT_MAPS = "maps on rank 0"
VOXEL_BYTES = 24  # two halves of a complex value and a weight, float32


@dataclass(frozen=True)
class Job:
    """Sizes of a refinement; lengths in Å, `maxshift` in pixels, one symmetry per map."""

    particles: int
    grid: Grid
    symmetries: tuple[str, ...]
    radius: float
    targetres: float
    maxshift: float
    ranks: int = 1
    per_node: int = 1
    sep: int = 8
    block_mb: int = 64
    lowmem: bool = False
    surviving: float = SURVIVING_PAIRS
    pairs_per_particle: float = PAIRS_PER_PARTICLE

    @cached_property
    def plan(self) -> SearchPlan:
        return SearchPlan(self.grid.nx, self.radius / self.grid.apix, self.maxshift)

    @cached_property
    def levels(self) -> LevelPlan:
        return self.plan.levels(int(min(round(self.grid.ring(self.targetres)), self.grid.nx // 2 - 1)))

    @cached_property
    def references(self) -> tuple[int, int]:
        """Projections of all maps on the coarse and on the fine grid."""
        coarse, fine = (
            sum(len(projection_directions(name, delta)) for name in self.symmetries)
            for delta in (self.levels.coarse_delta, self.levels.fine_delta)
        )
        return coarse, fine

    @cached_property
    def polar(self) -> PolarGrid:
        """Of class sums."""
        return self.plan.averaging_grid()

    @property
    def own_particles(self) -> int:
        """Of the rank with most."""
        return max(Partition.even(self.particles, self.ranks, simmx.CHUNK).counts)

    @property
    def classes_per_block(self) -> int:
        return min(self.references[1], max(1, self.block_mb * 2**20 // ClassSums.bytes_per_class(self.polar)))

    @property
    def slab_voxels(self) -> int:
        """Of one map on the rank with most planes."""
        box = average.padded_box(self.grid.nx)
        return max(Partition.even(box, self.ranks).counts) * box * (box // 2 + 1)

    def pair_work(self, grid: PolarGrid, angles: int) -> float:
        """Flop-equivalents of one (projection, shift) pair with all in-plane angles and the mirror."""
        runs = bands(PolarGrid(grid.nx, grid.n_rings, angles), self.plan.radius)
        product = 4 * sum((run.stop - run.start) * run.n_rings for run in runs)
        return product + TRANSFORM_WEIGHT * 5 * angles * math.log2(angles) + PEAK_WEIGHT * angles

    def work(self) -> dict[str, float]:
        """Work of each step on the busiest rank, in units of its own: the machine's profile holds the seconds of one
        unit.
        """
        levels, (coarse, fine), own = self.levels, self.references, self.own_particles
        coarse_shifts, fine_shifts = (
            len(shift_disc(self.maxshift, step)) for step in (levels.coarse_step, levels.fine_step)
        )
        pixels = self.grid.nx**2
        points = coarse * np.prod(levels.coarse_grid.half_shape) + fine * np.prod(levels.fine_grid.half_shape)
        match = coarse * (coarse_shifts + 9 * SECOND_SHARE) * self.pair_work(levels.coarse_grid, levels.coarse_angles)
        match += self.surviving * fine * fine_shifts * self.pair_work(levels.fine_grid, levels.fine_angles)
        match += REFINED_PAIRS * self.pair_work(levels.fine_grid, levels.refined_angles)
        samples = sparse_rings(self.polar, self.plan.radius, self.plan.full_radius).sum()
        copies = sum(
            len(operations(name)) * len(projection_directions(name, levels.fine_delta)) for name in self.symmetries
        )
        touched = min(1.0, 1 / self.ranks + 2 / average.padded_box(self.grid.nx))
        return {
            "project": float(points) / min(self.ranks, self.per_node),
            "simmx": own * (match + PARTICLE_FLOP * pixels / 64**2),
            "average": own * self.pairs_per_particle * float(np.prod(self.polar.half_shape)),
            "insert": float(samples) * copies * touched,
            "store averages": fine * float(pixels) / self.ranks,
            "noise": min(noise.SAMPLE, self.particles) / self.ranks * pixels,
            "reconstruct": float(self.slab_voxels) * len(self.symmetries),
        }

    def bytes_sent(self) -> dict[str, float]:
        """What all ranks together hand to MPI in an iteration, by step."""
        if self.ranks == 1:
            return dict.fromkeys(("project", "average", "noise", "reconstruct"), 0.0)
        maps, nx, box = len(self.symmetries), self.grid.nx, average.padded_box(self.grid.nx)
        real = 4.0 * nx**3
        columns = 8.0 * box * nx * (box // 2 + 1)  # complex64 after the transform along ky
        return {
            "project": maps * real,
            "average": float(self.references[1]) * ClassSums.bytes_per_class(self.polar) * self.ranks,
            "noise": maps * real + 32.0 * (nx // 2 + 1) * self.ranks,
            "reconstruct": 3 * maps * (columns + real) * (1 - 1 / self.ranks),
        }

    def memory(self, base_mb: float) -> Memory:
        """Bytes of the busiest rank (rank 0, which holds the maps) and of a node."""
        levels, (coarse, fine), own, maps = self.levels, self.references, self.own_particles, len(self.symmetries)
        shifts = len(shift_disc(self.maxshift, levels.coarse_step))
        references = 4 * (
            coarse * levels.coarse_angles * levels.coarse_grid.n_rings
            + fine * (levels.fine_angles + 2 * len(NORM_ORDERS)) * levels.fine_grid.n_rings
        )
        voxels, nx = self.slab_voxels, self.grid.nx
        group = max(average.INSERT_SAMPLES, voxels // average.SLAB_SHARE)
        block = self.classes_per_block * ClassSums.bytes_per_class(self.polar)
        private = {
            "program": base_mb * 2**20,
            "particles": 0 if self.lowmem else 4 * own * nx**2,
            "candidates": own * self.sep * 60,
            "matching": 8 * simmx.CHUNK * shifts * (coarse + levels.coarse_angles * levels.coarse_grid.n_rings)
            + 8 * fine_search.BLOCK_VALUES * 4,
            "slab": VOXEL_BYTES * voxels * maps,
            "averaging": max(1.4 * block + VOXEL_BYTES * voxels + BYTES_PER_SAMPLE * group, 80 * voxels),
            ROOT_MAPS: 4 * nx**3 * maps * 5,
        }
        return Memory(private, references, self.per_node)


@dataclass(frozen=True)
class Memory:
    """`private` bytes of the busiest rank by purpose, `shared` bytes once per node."""

    private: dict[str, float]
    shared: float
    per_node: int
    rank: float = field(init=False)
    node: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", sum(self.private.values()))
        object.__setattr__(
            self, "node", self.rank * self.per_node - self.private[ROOT_MAPS] * (self.per_node - 1) + self.shared
        )
