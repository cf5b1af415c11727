"""How well a map agrees with its own symmetrised copy, and the turn that brings its symmetry axes to those of the
group.

A turn Q is tried by sampling the map at points around its centre, and at those to which the group's operations, turned
back by Q, take them. First an axis of the highest order is searched over all directions, then the turn about it; the
best of both are refined together, with the position of the axis. The mean on each sphere is left out: rotations about
the centre keep it, so that it says nothing about symmetry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.rotations import spin_from_rotation
from mpirefine.maths.geometry.align_maps import MOST_BOX, STILL, Move, PaddedMap, maximise, reduce_map
from mpirefine.maths.geometry.coverage import half_sphere
from mpirefine.maths.geometry.symmetry import operations, parse

LEAST_BOX, VOXELS = 24, 3.0  # of the small map: voxels of its box, voxels for each resolution element
COARSE_POINTS, POINTS = 2500, 6000  # in the particle, at which a map is compared with its copies
COARSE_PARTS = 5  # the search begins with features of a fifth of the particle's diameter
FEW = 5  # operations that are compared in the search, besides the identity
DIRECTIONS, TURN_STEP = 900, 4.0  # of the axis, 4.8 degrees apart; degrees between turns about it
AXES, STARTS = 8, 6  # best directions of the axis for which turns are tried, best turns that are refined
EVALUATIONS, LAST = 60, 160  # of the agreement: for each start, and for the best of them
CORE_SIGMA = 2.0  # standard deviations above the mean, from which density counts for the centre of mass
FREE_OF = 0.2  # voxels; smaller shifts of the axis are left out


@dataclass(frozen=True)
class Turn:
    """Agreement of a map with its symmetrised copy as it is, and after a move."""

    before: float
    after: float
    move: Move


def copies_agree(volume: np.ndarray, grid: Grid, symmetry: str, radius: float, resolution: float) -> float:
    """Correlation of a map (z, y, x) with its mean over a group of rotations, within a radius (Å) of the centre,
    low-passed to a resolution (Å); without the mean on each sphere.
    """
    return SampledMap(volume, grid, radius, resolution).agreement(operations(symmetry), np.eye(3), np.zeros(3))


def best_turn(volume: np.ndarray, grid: Grid, symmetry: str, radius: float, resolution: float) -> Turn:
    """The move, with a small shift, after which a map agrees best with its symmetrised copy; see `copies_agree`. A move
    that gains nothing is left out.
    """
    group = operations(symmetry)
    coarse = SampledMap(volume, grid, radius, max(resolution, 2 * radius / COARSE_PARTS), COARSE_POINTS)
    near, fine = (SampledMap(volume, grid, radius, resolution, points) for points in (POINTS, None))
    few = group[np.unique(np.linspace(0, len(group) - 1, FEW + 1).round().astype(int))]
    free, still = free_directions(group), (np.eye(3), np.zeros(3))
    found = [
        refine_turn(coarse, few, free, start[0], start[1], EVALUATIONS) for start in search_turns(coarse, group, few)
    ]
    _, rotation, centre = max(found, key=lambda start: start[0])
    found = [
        refine_turn(near, few, free, start[0], start[1], LAST)
        for start in ((rotation, centre * near.box / coarse.box), still)
    ]
    _, rotation, centre = max(found, key=lambda start: start[0])
    rotation = least_turn(rotation, symmetry)
    shift = free @ free.T @ (-rotation @ centre)
    shift = shift if np.linalg.norm(shift) * grid.nx / fine.box > FREE_OF else np.zeros(3)
    before, after = fine.agreement(group, *still), fine.agreement(group, rotation, -rotation.T @ shift)
    return (
        Turn(before, after, Move(rotation, shift * grid.nx / fine.box))
        if after > before
        else Turn(before, before, STILL)
    )


class SampledMap:
    """A small map, and the points within the particle at which it is compared with its copies."""

    def __init__(self, volume: np.ndarray, grid: Grid, radius: float, resolution: float, points: int | None = None):
        nx = grid.nx // 2 * 2
        self.box = min(nx, MOST_BOX, max(LEAST_BOX, int(np.ceil(VOXELS * grid.length / resolution)) // 2 * 2))
        voxel = grid.length / self.box
        small = reduce_map(volume, grid, self.box, max(resolution, VOXELS * voxel if self.box < nx else 0))
        self._map = PaddedMap(small)
        at = np.indices(small.shape, np.float32)[::-1].reshape(3, -1) - self.box // 2
        inside = (at**2).sum(axis=0) <= min(radius / voxel, self.box / 2 - 1) ** 2
        at = at[:, inside]
        core = np.maximum(small.ravel()[inside] - small.mean() - CORE_SIGMA * small.std(), 0)
        self.centre = (at @ core / core.sum()).astype(np.float64) if core.sum() > 0 else np.zeros(3)
        self._points = at if points is None else at[:, :: max(1, at.shape[1] // points)]
        self._shell = np.rint(np.sqrt((self._points**2).sum(axis=0))).astype(int)
        self._count = np.maximum(np.bincount(self._shell), 1)

    def at(self, centre: np.ndarray) -> np.ndarray:
        """The map (n,) at the points around a centre (x, y, z, voxels of the small box from its middle)."""
        return self._map(self._points, np.eye(3), -centre)

    def agreement(
        self, group: np.ndarray, rotation: np.ndarray, centre: np.ndarray, own: np.ndarray | None = None
    ) -> float:
        """Correlation of the map, turned by `rotation` about a centre, with its mean over operations, identity first.

        `own`: the values from `at` for this centre, if they are known.
        """
        own = self.at(centre) if own is None else own
        mean = own + sum(self._map(self._points, rotation.T @ operation @ rotation, -centre) for operation in group[1:])
        own, mean = self._uneven(own), self._uneven(mean)
        return float(own @ mean / max(np.linalg.norm(own) * np.linalg.norm(mean), 1e-30))

    def _uneven(self, values: np.ndarray) -> np.ndarray:
        """Values at the points without their mean on each sphere, which every group keeps."""
        return values - (np.bincount(self._shell, values) / self._count)[self._shell]


def search_turns(scene: SampledMap, group: np.ndarray, few: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rotations and centres from which the refinement starts; `few` are operations of the group."""
    order, axis, about = main_axis(group)
    ring = np.stack([np.eye(3), about[0], about[(order - 1) // 2]] if order > 3 else [np.eye(3), about[0]])
    directions = [shortest_turn(direction, axis) for direction in half_sphere(DIRECTIONS)]
    found = []
    for centre in [np.zeros(3)] + ([scene.centre] if np.linalg.norm(scene.centre) > 1 else []):
        own = scene.at(centre)
        found += [(scene.agreement(ring, rotation, centre, own), rotation, centre, own) for rotation in directions]
    best = sorted(found, key=lambda start: -start[0])[:AXES]
    if len(group) == order:
        return [start[1:3] for start in best]
    turns = turns_about(axis, np.arange(0, 360 / order, TURN_STEP))
    both = [
        (scene.agreement(few, turn @ rotation, centre, own), turn @ rotation, centre)
        for _, rotation, centre, own in best
        for turn in turns
    ]
    return [start[1:] for start in sorted(both, key=lambda start: -start[0])[:STARTS]]


def main_axis(group: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """The highest order of the axes of a group, one such axis (3,), and the turns about it (order − 1, 3, 3) by
    increasing angle.
    """
    angle, axis = spin_from_rotation(group[1:])
    smallest = int(np.argmin(angle))
    same = np.abs(np.abs(axis @ axis[smallest]) - 1) < 1e-6
    order = int(round(360 / angle[smallest]))
    return order, axis[smallest], group[1:][same][np.argsort(angle[same], kind="stable")]


def shortest_turn(direction: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that takes a direction, or its opposite, to an axis."""
    direction = direction if direction @ axis >= 0 else -direction
    across, cosine = np.cross(direction, axis), float(direction @ axis)
    skew = np.array([[0, -across[2], across[1]], [across[2], 0, -across[0]], [-across[1], across[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def turns_about(axis: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Rotations (n, 3, 3) about an axis by `degrees` (n,)."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(np.radians(degrees)[:, None] * axis).as_matrix()


def free_directions(group: np.ndarray) -> np.ndarray:
    """Directions (3, n) along which a shift, or about which a turn, changes the action of a group: across the axis of a
    cyclic group, else all.
    """
    still = np.linalg.eigh(group.mean(axis=0))
    return still[1][:, still[0] < 0.5]


def refine_turn(
    scene: SampledMap, group: np.ndarray, free: np.ndarray, rotation: np.ndarray, centre: np.ndarray, most: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """The best agreement near a rotation and a centre in at most `most` evaluations, with its rotation and centre."""
    from scipy.spatial.transform import Rotation

    count = free.shape[1]

    def pose(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turned = Rotation.from_rotvec(free @ y[:count]).as_matrix() @ rotation
        return turned, centre + turned.T @ (free @ y[count:])

    steps = np.repeat([np.radians(TURN_STEP), 1.0], count)
    value, y = maximise(lambda y: scene.agreement(group, *pose(y)), np.zeros(2 * count), steps, most)
    return (value, *pose(y))


def least_turn(rotation: np.ndarray, symmetry: str) -> np.ndarray:
    """The smallest of the rotations that bring the map's axes to the same place."""
    family, n = parse(symmetry)
    same = operations(f"d{2 * n}" if family == "d" else f"d{n}" if family == "c" else symmetry) @ rotation
    return same[np.trace(same, axis1=1, axis2=2).argmax()]
