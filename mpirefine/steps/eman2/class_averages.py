"""Class averages: the particles of each class come together on one rank, which averages it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.partition import Block, Partition
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.maths.eman2.class_averaging import ClassAverage, ClassMembers, Rounds, average_class
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.steps.eman2.scores import FlippedParticles
from mpirefine.steps.eman2.views import Projections

EXCHANGED_MB = 256  # of images that a rank sends at a time, about


@dataclass(frozen=True)
class Membership:
    """(particle, class) pairs of own particles, arrays (n,): row of the own block, row of the whole input, class
    from 0,
    half-set.
    """

    own: np.ndarray
    row: np.ndarray
    number: np.ndarray
    half: np.ndarray

    @classmethod
    def of(cls, classes: np.ndarray, used: np.ndarray, first: int, half: np.ndarray) -> Membership:
        """From classes (p, sep), −1 for none, and half-sets (p,) of a block that begins at row `first`.

        Particles that are not `used` (p,) are left out; each particle is in a class once.
        """
        own, place = np.nonzero((classes >= 0) & used[:, None])
        number, own = np.unique(np.stack([classes[own, place], own]), axis=1)
        return cls(own, own + first, number, half[own])


@dataclass(frozen=True)
class ClassResult:
    """A finished class: its number, the rows (n,) of its particles in the whole input, and its average.

    There is no average without particles, or of a constant projection.
    """

    number: int
    rows: np.ndarray
    average: ClassAverage | None


@dataclass(frozen=True)
class Arrivals:
    """Particles (n) that came together on a rank: class, row of the whole input, half-set, images (n, y, x), filtered
    twins where there are some, and CTFs.
    """

    number: np.ndarray
    row: np.ndarray
    half: np.ndarray
    images: np.ndarray
    twins: np.ndarray | None
    ctfs: list[EmanCTF] | None

    def members(self, number: int) -> tuple[np.ndarray, ClassMembers]:
        """Rows of the whole input and particles of one class, in order of row: sums do not depend on the ranks."""
        at = np.flatnonzero(self.number == number)
        at = at[np.argsort(self.row[at], kind="stable")]
        images = self.images[at]
        twins = images if self.twins is None else self.twins[at]
        ctfs = [self.ctfs[i] for i in at] if self.ctfs else None
        return self.row[at], ClassMembers(images, twins, ctfs, self.half[at])


@dataclass(frozen=True)
class ParticleSet:
    """Own particles that are averaged, and their filtered twins, by which they are aligned and scored, if any."""

    particles: FlippedParticles
    twins: FlippedParticles | None = None

    @property
    def scored(self) -> FlippedParticles:
        """What is aligned and scored."""
        return self.twins or self.particles


def average_classes(
    team: Team,
    members: Membership,
    images: ParticleSet,
    projections: Projections,
    how: Rounds,
    progress: Callable[[int], object],
) -> list[ClassResult]:
    """Collective. The classes this rank owns, in order; every class of the projections has one owner."""
    found: list[ClassResult] = []
    classes, box = len(projections.images), projections.images.shape[-1]
    per_block = classes_at_once(team, members, classes, box, 2 if images.twins else 1)
    for block in Block(0, classes).chunks(per_block):
        part = Partition.even(block.size, team.size)
        arrived = bring_together(team, members, images, block, part, box)
        mine = part[team.rank]
        with team.together("averaging"):
            for number in range(block.start + mine.start, block.start + mine.stop):
                rows, group = arrived.members(number)
                average = average_of(group, projections.images[number], how, images.particles.apix)
                found.append(ClassResult(number, rows, average))
        progress(block.size)
    return found


def bring_together(
    team: Team, members: Membership, images: ParticleSet, block: Block, part: Partition, box: int
) -> Arrivals:
    """Collective. The particles of this rank's classes, from all ranks; `part` deals the classes of `block` to
    ranks.
    """
    owner = np.searchsorted(np.array(part.bounds[1:]) + block.start, members.number, side="right")
    inside = (members.number >= block.start) & (members.number < block.stop)
    picked = [np.flatnonzero(inside & (owner == rank)) for rank in range(team.size)]

    def exchanged(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(reduce.exchange(team, [np.ascontiguousarray(part) for part in values]))

    number, row, half = (
        exchanged([values[p] for p in picked]) for values in (members.number, members.row, members.half)
    )
    of_ranks = team.alltoall([images.particles.ctfs(members.own[p]) for p in picked])
    ctfs = [ctf for part in of_ranks for ctf in part or ()]
    pixels = exchanged([read_images(images.particles, members.own[p], box) for p in picked])
    twins = exchanged([read_images(images.twins, members.own[p], box) for p in picked]) if images.twins else None
    return Arrivals(number, row, half, pixels, twins, ctfs or None)


def classes_at_once(team: Team, members: Membership, classes: int, box: int, twins: int) -> int:
    """Collective. How many classes fit into a block of the exchange; `twins` images are sent for each particle."""
    most = max(team.allgather(len(members.own)))
    share = EXCHANGED_MB * 2**20 / max(1, most * box * box * 4 * twins)
    return max(team.size, int(classes * min(1.0, share)))


def read_images(particles: FlippedParticles, rows: np.ndarray, box: int) -> np.ndarray:
    """(n, y, x) float32, contiguous."""
    return np.ascontiguousarray(particles.images(rows)) if len(rows) else np.zeros((0, box, box), np.float32)


def average_of(members: ClassMembers, reference: np.ndarray, how: Rounds, apix: float) -> ClassAverage | None:
    """A class's average; None for no particles or a constant `reference` (y, x)."""
    if not len(members.images) or not np.ptp(reference):
        return None
    box = len(reference)
    about = About(apix) if members.ctfs is None else About.of(members.ctfs, box, apix)
    return average_class(members, reference, how, about)
