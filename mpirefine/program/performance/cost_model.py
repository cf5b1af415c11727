"""Work, messages and memory of a refinement by likelihood, estimated from its sizes without MPI or data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.partition import Partition
from mpirefine.maths.fourier.polar import PolarGrid
from mpirefine.maths.geometry.directions import projection_directions
from mpirefine.maths.geometry.symmetry import elements
from mpirefine.maths.likelihood.class_sums import RingSamples
from mpirefine.maths.likelihood.correlation import NORM_ORDERS, bands
from mpirefine.maths.likelihood.pose_search import shift_disc
from mpirefine.maths.likelihood.search_plan import Sampling, SearchPlan
from mpirefine.steps.likelihood.estimates.noise import SAMPLE
from mpirefine.steps.likelihood.search.fine import BLOCK_VALUES
from mpirefine.steps.likelihood.search.particle_side import CHUNK
from mpirefine.steps.likelihood.volumes.full_size import SAMPLE_NUMBERS, SLAB_BYTES
from mpirefine.steps.likelihood.volumes.slabs import INSERT_SAMPLES, SLAB_SHARE, padded_box

# A pair is a (projection, shift) of a particle, with all in-plane angles and the mirror.
SURVIVING_PAIRS = 0.01  # share of all fine pairs that are compared: 0.3 % on clean data, 3 % on very noisy data
SECOND_SHARE = 0.25  # share of coarse projections compared again at 9 fine shifts: 0.1 clean, 0.4 very noisy
REFINED_PAIRS = 300  # pairs of a particle with refined shifts: 150 on clean data, 3000 on very noisy data
PAIRS_PER_PARTICLE = 2.5  # projections that a particle contributes to
TRANSFORM_WEIGHT = 3.0  # time of a flop of the FFT, in flop of the matrix product
PEAK_WEIGHT = 10.0  # time to read the result of an in-plane angle, in flop of the matrix product
PARTICLE_FLOP = 1.2e8  # work of a particle of 64 pixels besides its pairs, in flop of the matrix product
BYTES_PER_SAMPLE = 230  # temporary memory for inserting one sample into a slab
ROOT_MAPS = "maps on rank 0"
FINISHED_VOXEL_BYTES = 80  # temporary memory for a voxel of a slab while its map is made ...
FINISHED_MAPS = 8  # ... and on rank 0, in maps: half-maps, their transforms for the FSC
PASS_BYTES = 160 << 20  # temporary memory of the pass over the images
VOXEL_BYTES = 24  # a complex value and a weight, float32, for each of two half-sets


@dataclass(frozen=True)
class Job:
    """Sizes of a refinement; `radius` and `targetres` in Å, `maxshift` in pixels, one symmetry per map.

    `grid` is the one that particles are matched on, `full` that of the full-size maps (None: there are none).
    """

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
    full: Grid | None = None

    @cached_property
    def plan(self) -> SearchPlan:
        """The plan of the pose search."""
        return SearchPlan(self.grid.nx, self.radius / self.grid.apix, self.maxshift)

    @cached_property
    def sampling(self) -> Sampling:
        """Steps of directions, shifts and angles at `targetres`."""
        return self.plan.sampling(int(min(round(self.grid.ring(self.targetres)), self.grid.nx // 2 - 1)))

    @cached_property
    def references(self) -> tuple[int, int]:
        """Numbers of projections of all maps on the coarse and on the fine grid of directions."""
        coarse, fine = (
            sum(len(projection_directions(name, delta)) for name in self.symmetries)
            for delta in (self.sampling.coarse_delta, self.sampling.fine_delta)
        )
        return coarse, fine

    @cached_property
    def polar(self) -> PolarGrid:
        """The polar grid of class sums."""
        return self.plan.averaging_grid()

    @cached_property
    def samples(self) -> RingSamples:
        """The samples that class sums hold."""
        return RingSamples.for_content(self.polar, self.plan.radius, self.plan.full_radius)

    @property
    def own_particles(self) -> int:
        """Particles of the rank that has most."""
        return max(Partition.even(self.particles, self.ranks, CHUNK).counts)

    @property
    def classes_per_block(self) -> int:
        """Classes whose sums fit into --block-mb."""
        return min(self.references[1], max(1, self.block_mb * 2**20 // self.samples.bytes_per_class))

    @property
    def slab_voxels(self) -> int:
        """Voxels of a map's slab on the rank that has most planes."""
        box = padded_box(self.grid.nx)
        return max(Partition.even(box, self.ranks).counts) * box * (box // 2 + 1)

    @property
    def scratch_bytes(self) -> int:
        """Bytes of the file of a rank that --lowmem keeps particles in."""
        return 4 * self.own_particles * self.grid.nx**2

    def full_size_bytes(self, base_mb: float) -> tuple[float, float]:
        """Memory of rank 0 while full-size maps are made, and what all ranks send for all of them. Needs `full`."""
        assert self.full is not None
        large = replace(self, grid=self.full, full=None)
        voxels, maps = large.slab_voxels, len(self.symmetries)
        together = min(maps, max(1, SLAB_BYTES // (VOXEL_BYTES * voxels)))
        kept = self.memory(base_mb).private
        used = sum(kept[name] for name in ("program", "particles", "candidates", ROOT_MAPS))
        used += VOXEL_BYTES * voxels * together + max(FINISHED_VOXEL_BYTES * voxels, PASS_BYTES)
        used += 4 * self.full.nx**3 * FINISHED_MAPS
        if self.ranks == 1:
            return used, 0.0
        samples = np.pi / 8 * self.full.nx**2 * (1 + self.ranks / padded_box(self.full.nx))
        copies = sum(len(elements(name)[0]) for name in self.symmetries) / maps
        sent = self.particles * self.pairs_per_particle * samples * copies * 4 * SAMPLE_NUMBERS
        return used, sent * (1 - 1 / self.ranks) + large.bytes_sent()["reconstruct"]

    def pair_work(self, grid: PolarGrid, angles: int) -> float:
        """Work of one pair with all in-plane angles and the mirror, in flop of the matrix product."""
        runs = bands(PolarGrid(grid.nx, grid.n_rings, angles), self.plan.radius)
        product = 4 * sum((run.stop - run.start) * run.n_rings for run in runs)
        return product + TRANSFORM_WEIGHT * 5 * angles * math.log2(angles) + PEAK_WEIGHT * angles

    def work(self) -> dict[str, float]:
        """Work of each step on the busiest rank; each step has its own unit.

        `Machine.seconds_per_unit` holds the seconds that a unit takes.
        """
        sampling, (coarse, fine), own = self.sampling, self.references, self.own_particles
        coarse_shifts, fine_shifts = (
            len(shift_disc(self.maxshift, step)) for step in (sampling.coarse_step, sampling.fine_step)
        )
        pixels = self.grid.nx**2
        points = coarse * np.prod(sampling.coarse_grid.half_shape) + fine * np.prod(sampling.fine_grid.half_shape)
        match = (
            coarse * (coarse_shifts + 9 * SECOND_SHARE) * self.pair_work(sampling.coarse_grid, sampling.coarse_angles)
        )
        match += self.surviving * fine * fine_shifts * self.pair_work(sampling.fine_grid, sampling.fine_angles)
        match += REFINED_PAIRS * self.pair_work(sampling.fine_grid, sampling.refined_angles)
        copies = sum(
            len(elements(name)[0]) * len(projection_directions(name, sampling.fine_delta)) for name in self.symmetries
        )
        touched = min(1.0, 1 / self.ranks + 2 / padded_box(self.grid.nx))
        return {
            "project": float(points) / min(self.ranks, self.per_node),
            "simmx": own * (match + PARTICLE_FLOP * pixels / 64**2),
            "average": own * self.pairs_per_particle * float(np.prod(self.polar.half_shape)),
            "insert": float(len(self.samples)) * copies * touched,
            "store averages": fine * float(pixels) / self.ranks,
            "noise": min(SAMPLE, self.particles) / self.ranks * pixels,
            "reconstruct": float(self.slab_voxels) * len(self.symmetries),
        }

    def bytes_sent(self) -> dict[str, float]:
        """Bytes that all ranks together send by MPI in an iteration, by step."""
        if self.ranks == 1:
            return dict.fromkeys(("project", "average", "noise", "reconstruct"), 0.0)
        maps, nx, box = len(self.symmetries), self.grid.nx, padded_box(self.grid.nx)
        real = 4.0 * nx**3
        columns = 8.0 * box * nx * (box // 2 + 1)  # complex64 after the transform along ky
        return {
            "project": maps * real,
            "average": float(self.references[1]) * self.samples.bytes_per_class * self.ranks,
            "noise": maps * real + 32.0 * (nx // 2 + 1) * self.ranks,
            "reconstruct": 3 * maps * (columns + real) * (1 - 1 / self.ranks),
        }

    def memory(self, base_mb: float) -> Memory:
        """Memory of rank 0, which also holds the maps, and of its node; `base_mb` is that of a rank without data."""
        sampling, (coarse, fine), own, maps = self.sampling, self.references, self.own_particles, len(self.symmetries)
        shifts = len(shift_disc(self.maxshift, sampling.coarse_step))
        references = 4 * (
            coarse * sampling.coarse_angles * sampling.coarse_grid.n_rings
            + fine * (sampling.fine_angles + 2 * len(NORM_ORDERS)) * sampling.fine_grid.n_rings
        )
        voxels, nx = self.slab_voxels, self.grid.nx
        group = max(INSERT_SAMPLES, voxels // SLAB_SHARE)
        block = self.classes_per_block * self.samples.bytes_per_class
        adding = 1.4 * block + VOXEL_BYTES * voxels + BYTES_PER_SAMPLE * group
        private = {
            "program": base_mb * 2**20,
            "particles": 0 if self.lowmem else 4 * own * nx**2,
            "candidates": own * self.sep * 60,
            "matching": 8 * CHUNK * shifts * (coarse + sampling.coarse_angles * sampling.coarse_grid.n_rings)
            + 8 * BLOCK_VALUES * 4,
            "slab": VOXEL_BYTES * voxels * maps,
            "averaging": max(adding, FINISHED_VOXEL_BYTES * voxels),
            ROOT_MAPS: 4 * nx**3 * maps * 5,
        }
        return Memory(private, references, self.per_node)


@dataclass(frozen=True)
class Memory:
    """Memory in bytes: `private` of rank 0 by purpose, `shared` once per node, and the sums of a rank and a node."""

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
