"""Class averages: the particles of each class are sent to one rank, which aligns and averages them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.partition import Block
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.maths.eman2.class_averaging import ClassAverage, ClassMembers, Rounds, average_class
from mpirefine.maths.eman2.comparators.base import About, Along
from mpirefine.steps.eman2.scores import FlippedParticles
from mpirefine.steps.eman2.views import Projections
from mpirefine.steps.threads import run_in_threads

EXCHANGED_MB = 256  # size of the images that a rank sends at a time, about


@dataclass(frozen=True)
class Membership:
    """Which own particles belong to which class: (particle, class) pairs, as arrays (n,)."""

    own: np.ndarray  # row in the own block
    row: np.ndarray  # row in the whole input
    number: np.ndarray  # class, from 0
    half: np.ndarray  # half-set

    @classmethod
    def of(cls, classes: np.ndarray, used: np.ndarray, first: int, half: np.ndarray) -> Membership:
        """Pairs from classes (p, sep), −1 for none, and half-sets (p,) of a block that begins at row `first`.

        Particles that are not `used` (p,) are left out. Each particle is in a class at most once.
        """
        own, place = np.nonzero((classes >= 0) & used[:, None])
        number, own = np.unique(np.stack([classes[own, place], own]), axis=1)
        return cls(own, own + first, number, half[own])

    def repeated(self, times: Mapping[tuple[int, int], int]) -> Membership:
        """Each pair as often as `times` says of its row in the whole input and its class; 0 where it says nothing."""
        again = np.array([times.get(pair, 0) for pair in zip(self.row.tolist(), self.number.tolist())], int)
        return Membership(*(np.repeat(values, again) for values in (self.own, self.row, self.number, self.half)))


@dataclass(frozen=True)
class ClassResult:
    """A finished class: its number, the rows (n,) of its particles in the whole input, and its average.

    There is no average where a class has no particles or its projection is constant.
    """

    number: int
    rows: np.ndarray
    average: ClassAverage | None


@dataclass(frozen=True)
class Arrivals:
    """Particles (n) that a rank received to average them."""

    number: np.ndarray  # (n,) class
    row: np.ndarray  # (n,) row in the whole input
    half: np.ndarray  # (n,) half-set
    images: np.ndarray  # (n, y, x) float32
    twins: np.ndarray | None  # (n, y, x) float32, filtered images of --usefilt
    ctfs: list[EmanCTF] | None

    def members(self, number: int) -> tuple[np.ndarray, ClassMembers]:
        """Rows in the whole input (n,) and particles of one class, sorted by row: sums do not depend on the ranks."""
        at = np.flatnonzero(self.number == number)
        at = at[np.argsort(self.row[at], kind="stable")]
        images = self.images[at]
        twins = images if self.twins is None else self.twins[at]
        ctfs = [self.ctfs[i] for i in at] if self.ctfs else None
        return self.row[at], ClassMembers(images, twins, ctfs, self.half[at])


@dataclass(frozen=True)
class ParticleSet:
    """Own particles that are averaged; `twins` are filtered images of them (--usefilt) for alignment and scores."""

    particles: FlippedParticles
    twins: FlippedParticles | None = None

    @property
    def scored(self) -> FlippedParticles:
        """The images that are aligned and scored."""
        return self.twins or self.particles


def average_classes(
    team: Team,
    members: Membership,
    images: ParticleSet,
    projections: Projections,
    how: Rounds,
    progress: Callable[[int], object],
    *,
    along: np.ndarray | None = None,
    threads: int = 1,
) -> list[ClassResult]:
    """Collective. The classes that this rank owns, in order; each class (projection) is owned by one rank.

    `along` (classes,) is how far, in pixels, particles may be shifted along the axes of helices; infinite for others.
    """
    results: list[ClassResult] = []
    classes, box = len(projections.images), projections.images.shape[-1]
    per_block = classes_at_once(team, members, classes, box, 2 if images.twins else 1)
    counts = np.bincount(members.number, minlength=classes)
    reduce.sum_in_place(team, counts)
    for block in Block(0, classes).chunks(per_block):
        owner = owners_of_classes(counts[block.as_slice], team.size)
        arrived = bring_together(team, members, images, block, owner, box)
        mine = block.start + np.flatnonzero(owner == team.rank)
        with team.together("averaging"):
            results += average_own(arrived, mine.tolist(), projections, how, images.particles.apix, along, threads)
        progress(block.size)
    return results


def average_own(
    arrived: Arrivals,
    numbers: list[int],
    projections: Projections,
    how: Rounds,
    apix: float,
    along: np.ndarray | None,
    threads: int,
) -> list[ClassResult]:
    """The classes `numbers`, in this order, of the particles that arrived; `along` as in `average_classes`."""
    made: dict[int, ClassResult] = {}
    left = iter(numbers)

    def work(thread: int) -> None:
        for number in left:
            rows, group = arrived.members(number)
            focus = None if projections.focused is None else projections.focused[number]
            limit = None
            if along is not None and np.isfinite(along[number]):
                limit = Along(along[number : number + 1], False)
            average = average_of(group, projections.images[number], how, apix, focus, limit)
            made[number] = ClassResult(number, rows, average)

    run_in_threads(work, range(threads), left)
    return [made[number] for number in numbers]


def owners_of_classes(counts: np.ndarray, ranks: int) -> np.ndarray:
    """The rank (c,) that averages each class of `counts` (c,) particles: from the largest class on, each goes to the
    rank that has fewest particles, then fewest classes, so far.
    """
    owner, load = np.zeros(len(counts), int), np.zeros((ranks, 2), np.int64)
    for number in np.argsort(-counts, kind="stable"):
        rank = int(np.lexsort((load[:, 1], load[:, 0]))[0])
        owner[number] = rank
        load[rank] += counts[number], 1
    return owner


def bring_together(
    team: Team, members: Membership, images: ParticleSet, block: Block, owner: np.ndarray, box: int
) -> Arrivals:
    """Collective. The particles of this rank's classes, from all ranks.

    `owner` (c,) is the rank of each class of `block`.
    """
    inside = np.flatnonzero((members.number >= block.start) & (members.number < block.stop))
    rank_of_pair = owner[members.number[inside] - block.start]
    picked = [inside[rank_of_pair == rank] for rank in range(team.size)]

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
    """Contiguous images (n, y, x) float32 of own `rows`, which may be none."""
    return np.ascontiguousarray(particles.images(rows)) if len(rows) else np.zeros((0, box, box), np.float32)


def average_of(
    members: ClassMembers,
    reference: np.ndarray,
    how: Rounds,
    apix: float,
    focus: np.ndarray | None = None,
    along: Along | None = None,
) -> ClassAverage | None:
    """The average of a class; None without particles or where its projection `reference` (y, x) is constant. `focus`
    as of `average_class`, `along` as in `About`.
    """
    if not len(members.images) or not np.ptp(reference):
        return None
    box = len(reference)
    about = About(apix) if members.ctfs is None else About.of(members.ctfs, box, apix)
    return average_class(members, reference, how, replace(about, along=along), focus)
