"""How well a map agrees with its own symmetrised copy, and the turn that brings its axes to where the group has them.

A turn Q is tried by sampling the map at points round its centre, and at the points that the group's operations, turned
back by Q, take them to. An axis of the highest order is searched first, over all directions; then the turn about it;
the best of both are refined together, with the place of the axis. What all rotations about the centre keep, the mean on
each sphere, says nothing of symmetry and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.rotations import spin_from_rotation
from mpirefine.maths.geometry.align_maps import MOST_BOX, STILL, Move, PaddedMap, cropped
from mpirefine.maths.geometry.coverage import half_sphere
from mpirefine.maths.geometry.symmetry import operations, parse

LEAST_BOX, VOXELS = 24, 3.0  # of the small map; of its voxels that the resolution spans at least
COARSE_POINTS, POINTS = 2500, 6000  # in the particle, that a search looks at
COARSE_PARTS = 5  # a search begins with features of this part of the particle's diameter
FEW = 5  # operations that a search looks at, besides none
DIRECTIONS, TURN_STEP = 900, 4.0  # of an axis (4.8 degrees apart), and degrees of the turns about it
AXES, STARTS = 8, 6  # axes that are gone on with, turns that are refined
EVALUATIONS, LAST = 60, 160  # of each start, and of the best
CORE_SIGMA = 2.0  # the centre of mass is that of density so far above the mean
FREE_OF = 0.2  # voxels; a smaller shift of the axis is left alone


@dataclass(frozen=True)
class Turn:
    """How far a map agrees with its symmetrised copy as it is, and after a move."""

    before: float
    after: float
    move: Move


def copies_agree(volume: np.ndarray, grid: Grid, symmetry: str, radius: float, resolution: float) -> float:
    """Correlation, within a radius in Å, of a map (z, y, x) low-passed to a resolution in Å with its mean over a group
    of rotations.

    Without the mean on each sphere round the centre.
    """
    return Scene(volume, grid, radius, resolution).agreement(operations(symmetry), np.eye(3), np.zeros(3))


def best_turn(volume: np.ndarray, grid: Grid, symmetry: str, radius: float, resolution: float) -> Turn:
    """The move, with a small shift, after which a map agrees best with its symmetrised copy; see `copies_agree`."""
    group = operations(symmetry)
    coarse = Scene(volume, grid, radius, max(resolution, 2 * radius / COARSE_PARTS), COARSE_POINTS)
    near, fine = (Scene(volume, grid, radius, resolution, points) for points in (POINTS, None))
    few = group[np.unique(np.linspace(0, len(group) - 1, FEW + 1).round().astype(int))]
    free, still = moving(group), (np.eye(3), np.zeros(3))
    found = [
        refine_turn(coarse, few, free, start[0], start[1], EVALUATIONS) for start in search_turns(coarse, group, few)
    ]
    _, rotation, centre = max(found, key=lambda one: one[0])
    found = [
        refine_turn(near, few, free, start[0], start[1], LAST)
        for start in ((rotation, centre * near.box / coarse.box), still)
    ]
    _, rotation, centre = max(found, key=lambda one: one[0])
    rotation = least_turn(rotation, symmetry)
    shift = free @ free.T @ (-rotation @ centre)
    shift = shift if np.linalg.norm(shift) * grid.nx / fine.box > FREE_OF else np.zeros(3)
    before, after = fine.agreement(group, *still), fine.agreement(group, rotation, -rotation.T @ shift)
    return (
        Turn(before, after, Move(rotation, shift * grid.nx / fine.box))
        if after > before
        else Turn(before, before, STILL)
    )


class Scene:
    """A small map and the points within the particle at which it is looked at."""

    def __init__(self, volume: np.ndarray, grid: Grid, radius: float, resolution: float, points: int | None = None):
        nx = grid.nx // 2 * 2
        self.box = min(nx, MOST_BOX, max(LEAST_BOX, int(np.ceil(VOXELS * grid.length / resolution)) // 2 * 2))
        voxel = grid.length / self.box
        small = cropped(volume, grid, self.box, max(resolution, VOXELS * voxel if self.box < nx else 0))
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
        """(n,) the map at the points round a centre (x, y, z, voxels of the small box from its middle)."""
        return self._map(self._points, np.eye(3), -centre)

    def agreement(
        self, group: np.ndarray, rotation: np.ndarray, centre: np.ndarray, own: np.ndarray | None = None
    ) -> float:
        """Of the map, turned about a centre as in `at`, with its mean over operations, identity first; `own`: what `at`
        says, if it is known.
        """
        own = self.at(centre) if own is None else own
        mean = own + sum(self._map(self._points, rotation.T @ operation @ rotation, -centre) for operation in group[1:])
        own, mean = self._uneven(own), self._uneven(mean)
        return float(own @ mean / max(np.linalg.norm(own) * np.linalg.norm(mean), 1e-30))

    def _uneven(self, values: np.ndarray) -> np.ndarray:
        """Values at the points without their mean on each sphere, which every group keeps."""
        return values - (np.bincount(self._shell, values) / self._count)[self._shell]


def search_turns(scene: Scene, group: np.ndarray, few: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rotations and centres that a refinement may start from."""
    order, axis, about = main_axis(group)
    ring = np.stack([np.eye(3), about[0], about[(order - 1) // 2]] if order > 3 else [np.eye(3), about[0]])
    directions = [brought(direction, axis) for direction in half_sphere(DIRECTIONS)]
    found = []
    for centre in [np.zeros(3)] + ([scene.centre] if np.linalg.norm(scene.centre) > 1 else []):
        own = scene.at(centre)
        found += [(scene.agreement(ring, rotation, centre, own), rotation, centre, own) for rotation in directions]
    best = sorted(found, key=lambda one: -one[0])[:AXES]
    if len(group) == order:
        return [one[1:3] for one in best]
    turns = spun(axis, np.arange(0, 360 / order, TURN_STEP))
    both = [
        (scene.agreement(few, turn @ rotation, centre, own), turn @ rotation, centre)
        for _, rotation, centre, own in best
        for turn in turns
    ]
    return [one[1:] for one in sorted(both, key=lambda one: -one[0])[:STARTS]]


def main_axis(group: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """The highest order of a group's axes, such an axis (3,), and the turns about it (order − 1, 3, 3), the smallest
    first, by their angle.
    """
    angle, axis = spin_from_rotation(group[1:])
    smallest = int(np.argmin(angle))
    same = np.abs(np.abs(axis @ axis[smallest]) - 1) < 1e-6
    order = int(round(360 / angle[smallest]))
    return order, axis[smallest], group[1:][same][np.argsort(angle[same], kind="stable")]


def brought(direction: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that takes a direction, or its opposite, to an axis."""
    direction = direction if direction @ axis >= 0 else -direction
    across, cosine = np.cross(direction, axis), float(direction @ axis)
    skew = np.array([[0, -across[2], across[1]], [across[2], 0, -across[0]], [-across[1], across[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def spun(axis: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Rotations (n, 3, 3) about an axis."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(np.radians(degrees)[:, None] * axis).as_matrix()


def moving(group: np.ndarray) -> np.ndarray:
    """(3, n) directions along which a shift, or about which a turn, changes what a group means: across the axis of a
    cyclic one, else all.
    """
    still = np.linalg.eigh(group.mean(axis=0))
    return still[1][:, still[0] < 0.5]


def refine_turn(
    scene: Scene, group: np.ndarray, free: np.ndarray, rotation: np.ndarray, centre: np.ndarray, most: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """The best agreement near a rotation and a centre in at most so many trials, that rotation and that centre."""
    from scipy.optimize import minimize
    from scipy.spatial.transform import Rotation

    count = free.shape[1]

    def pose(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turned = Rotation.from_rotvec(free @ y[:count]).as_matrix() @ rotation
        return turned, centre + turned.T @ (free @ y[count:])

    steps = np.repeat([np.radians(TURN_STEP), 1.0], count)
    simplex = np.vstack([np.zeros(2 * count), np.diag(steps)])
    result = minimize(
        lambda y: -scene.agreement(group, *pose(y)),
        simplex[0],
        method="Nelder-Mead",
        options=dict(initial_simplex=simplex, maxfev=most, xatol=1e-3, fatol=1e-5),
    )
    return (-float(result.fun), *pose(result.x))


def least_turn(rotation: np.ndarray, symmetry: str) -> np.ndarray:
    """Of the rotations that do the same to a map's axes, the one that turns it least."""
    family, n = parse(symmetry)
    same = operations(f"d{2 * n}" if family == "d" else f"d{n}" if family == "c" else symmetry) @ rotation
    return same[np.trace(same, axis1=1, axis2=2).argmax()]
