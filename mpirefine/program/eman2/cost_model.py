"""Memory and messages of a refinement by class averages, estimated from its sizes without MPI or data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mpirefine.data.grid import Grid
from mpirefine.data.partition import Partition
from mpirefine.maths.image.resampling import good_box
from mpirefine.program.catalogue import build
from mpirefine.program.eman2 import presets
from mpirefine.program.performance.cost_model import ROOT_MAPS, Memory
from mpirefine.steps.eman2.class_averages import EXCHANGED_MB
from mpirefine.steps.likelihood.search.particle_side import CHUNK

VOXEL_BYTES = 24  # complex128 sum and float64 weight of a Fourier coefficient
VOLUMES = 3  # Fourier volumes of a rank: a map's sums, those of the compared image, a copy to add Friedel mates
ROOT_COPIES = 8  # volumes of each map on rank 0: map, half-maps, and those of the iteration before
PASSES = 2 + 2  # reconstructions of a map: its two passes, and one for each half-map
IMAGES_OF_CLASS = 3  # the average of a class and those of its halves
CANDIDATE_BYTES = 60  # of a particle and projection


@dataclass(frozen=True)
class ClassJob:
    """Sizes of a refinement with --preset eman2; `targetres` in Å, one symmetry per map."""

    particles: int
    grid: Grid
    symmetries: tuple[str, ...]
    targetres: float
    ranks: int = 1
    per_node: int = 1
    sep: int = 1
    speed: int = presets.DEFAULT_SPEED
    lowmem: bool = False

    @property
    def step(self) -> float:
        """Degrees between views: e2refinemulti's automatic value."""
        return presets.angular_step(self.grid.nx, self.grid.apix, self.targetres, self.speed)

    @cached_property
    def projections(self) -> int:
        """Number of projections of all maps; each is a class."""
        views = build("orientgens", f"eman:delta={self.step:.5f}:inc_mirror=0:perturb=0")
        return sum(len(views(symmetry)) for symmetry in self.symmetries)

    @property
    def own_particles(self) -> int:
        """Particles of the rank that has most."""
        return max(Partition.even(self.particles, self.ranks, CHUNK).counts)

    @property
    def voxels(self) -> int:
        """Coefficients of the padded Fourier volume, which every rank holds in full."""
        box = good_box(presets.PADDING * self.grid.nx)
        return box * box * (box // 2 + 1)

    def memory(self, base_mb: float) -> Memory:
        """Memory of rank 0, which also holds the maps, and of its node; `base_mb` is that of a rank without data."""
        nx, image = self.grid.nx, 4 * self.grid.nx**2
        small = 4 * (nx // presets.first_shrink(nx)) ** 2
        classes = -(-self.projections // self.ranks)
        private = {
            "program": base_mb * 2**20,
            "particles": 0 if self.lowmem else self.own_particles * image,
            "candidates": self.own_particles * self.sep * CANDIDATE_BYTES,
            # the shrunk copies of the own share of them, and the polar rings of these at all in-plane angles
            "projections": -(-self.projections // self.per_node) * 4 * small,
            "class averages": classes * image * IMAGES_OF_CLASS,
            "exchange": min(EXCHANGED_MB * 2**20, self.own_particles * self.sep * image),
            "Fourier volumes": VOLUMES * VOXEL_BYTES * self.voxels,
            ROOT_MAPS: 4 * nx**3 * len(self.symmetries) * ROOT_COPIES,
        }
        # each projection, and the polar rings of its shrunk copy
        return Memory(private, self.projections * (image + 3 * small), self.per_node)

    def bytes_sent(self) -> dict[str, float]:
        """Bytes that all ranks together send by MPI in an iteration, by step."""
        if self.ranks == 1:
            return dict.fromkeys(("project", "average", "reconstruct"), 0.0)
        maps, nx = len(self.symmetries), self.grid.nx
        return {
            "project": maps * 4.0 * nx**3,
            "average": self.particles * self.sep * 4.0 * nx**2 * (1 - 1 / self.ranks),
            "reconstruct": maps * PASSES * float(VOXEL_BYTES) * self.voxels * self.ranks,
        }
