"""Class averages: the particles of each class come together on one rank, which averages it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    """Own particles (rows of the own block) and the class of each, from 0; a particle may be there more than once.
    `row` counts the whole input.
    """

    own: np.ndarray
    row: np.ndarray
    number: np.ndarray

    @classmethod
    def of(cls, classes: np.ndarray, used: np.ndarray, first: int) -> Membership:
        """From classes (p, sep), −1 for none, of a block that begins at row `first`; each particle is in a class
        once.
        """
        own, place = np.nonzero((classes >= 0) & used[:, None])
        pairs = np.unique(np.stack([classes[own, place], own]), axis=1)
        return cls(pairs[1], pairs[1] + first, pairs[0])


@dataclass(frozen=True)
class OneClass:
    """A finished class: its number, the rows of its particles (of the whole input), and the average; None where it
    failed or has none.
    """

    number: int
    rows: np.ndarray
    average: ClassAverage | None


def average_classes(
    team: Team,
    members: Membership,
    particles: FlippedParticles,
    scored: FlippedParticles | None,
    projections: Projections,
    how: Rounds,
    progress: Callable[[int], Any],
) -> list[OneClass]:
    """Collective. The classes this rank owns, in order; every class of the projections has one owner. `scored` are the
    particles' filtered twins.
    """
    found: list[OneClass] = []
    box = projections.images.shape[-1]
    per_block = classes_at_once(team, members, len(projections.images), box, 2 if scored else 1)
    for block in Block(0, len(projections.images)).chunks(per_block):
        part = Partition.even(block.size, team.size)
        owner = np.searchsorted(np.array(part.bounds[1:]) + block.start, members.number, side="right")
        inside = (members.number >= block.start) & (members.number < block.stop)
        picked = [np.flatnonzero(inside & (owner == rank)) for rank in range(team.size)]
        number, row = (
            np.concatenate(reduce.exchange(team, [np.ascontiguousarray(v[p]) for p in picked]))
            for v in (members.number, members.row)
        )
        half = np.concatenate(reduce.exchange(team, [particles.particles.table.half[members.own[p]] for p in picked]))
        ctfs = [
            ctf for told in team.alltoall([particles.ctfs(members.own[p]) for p in picked]) for ctf in told or ()
        ] or None
        images = np.concatenate(reduce.exchange(team, [read(particles, members.own[p], box) for p in picked]))
        twins = (
            images
            if scored is None
            else np.concatenate(reduce.exchange(team, [read(scored, members.own[p], box) for p in picked]))
        )
        mine = part[team.rank]
        with team.together("averaging"):
            for at in range(block.start + mine.start, block.start + mine.stop):
                rows = np.flatnonzero(number == at)
                rows = rows[np.argsort(row[rows], kind="stable")]  # so that sums do not depend on the number of ranks
                own = [ctfs[i] for i in rows] if ctfs else None
                group = images[rows]
                gathered = ClassMembers(group, group if scored is None else twins[rows], own, half[rows])
                found.append(OneClass(at, row[rows], one(gathered, projections.images[at], how, particles.apix)))
        progress(block.size)
    return found


def classes_at_once(team: Team, members: Membership, classes: int, box: int, twins: int) -> int:
    """Collective. How many classes' images fit into a block of the exchange."""
    most = max(team.allgather(len(members.own)))
    share = EXCHANGED_MB * 2**20 / max(1, most * box * box * 4 * twins)
    return max(team.size, int(classes * min(1.0, share)))


def read(particles: FlippedParticles, rows: np.ndarray, box: int) -> np.ndarray:
    """(n, y, x) float32, contiguous."""
    return np.ascontiguousarray(particles.images(rows)) if len(rows) else np.zeros((0, box, box), np.float32)


def one(members: ClassMembers, reference: np.ndarray, how: Rounds, apix: float) -> ClassAverage | None:
    """A class's average; None for no particles or a constant reference."""
    if not len(members.images) or not np.ptp(reference):
        return None
    box = len(reference)
    about = About(apix) if members.ctfs is None else About.of(members.ctfs, box, apix)
    return average_class(members, reference, how, about)
