"""Helical symmetry of maps: imposed from their central part, and its twist and rise found from the map itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpirefine.maths.geometry.align_maps import PaddedMap, maximise
from mpirefine.maths.geometry.helix import Helix

MOST_COPIES = 48  # of the unit, that are averaged; with smaller rises these are spread over the central part
MARGIN = 2  # planes beyond the unit that cubic interpolation needs
LEAST_COPIES = 2  # steps along the helix that the sphere must hold for a search
POINTS = 6000  # at which a map is compared with its copies
FEW = 8  # copies that are compared in each round
# the search: in each round this share of twist and rise either way, in so many steps, and copies up to so many units
# away; farther copies tell more, but only of twist and rise that are nearly right
ROUNDS = (0.05, 5, 8), (0.01, 3, 24), (0.003, 3, 72)
KEPT, LAST = 5, 80  # best pairs that go into the next round, evaluations that refine the best of the last


def impose(volume: np.ndarray, coil: Helix, rise: float, share: float) -> np.ndarray:
    """A map (z, y, x) float32 with helical symmetry, made from the central `share` of its height.

    `rise` is in voxels. The unit (one rise high) is the mean of all copies in the central part (He and Scheres 2017);
    it is then laid along the whole axis. Beyond the largest cylinder in the box the map stays as it is.
    """
    from scipy import ndimage

    nx = len(volume)
    spline = ndimage.spline_filter(volume.astype(np.float32), order=3, output=np.float32)
    y, x = np.indices((nx, nx)) - nx // 2
    inside = x**2 + y**2 < (nx // 2 - 1) ** 2
    points = np.stack([x[inside], y[inside]]).astype(np.float64)
    high = int(np.ceil(abs(rise) / 2)) + MARGIN
    unit = np.zeros((2 * high + 1, nx, nx), np.float32)
    for plane, z in enumerate(range(-high, high + 1)):
        unit[plane][inside] = _mean_of_copies(spline, points, z, coil, rise, share * nx / 2)
    unit = ndimage.spline_filter(unit, order=3, output=np.float32)
    out = volume.astype(np.float32)
    for plane in range(nx):
        step = round((plane - nx // 2) / rise)
        turned = _turn(-step * coil.daz) @ points + nx // 2
        height = np.full(points.shape[1], plane - nx // 2 - step * rise + high)
        out[plane][inside] = ndimage.map_coordinates(unit, [height, *turned[::-1]], order=3, prefilter=False)
    return out


def _mean_of_copies(
    spline: np.ndarray, points: np.ndarray, z: int, coil: Helix, rise: float, reach: float
) -> np.ndarray:
    """Mean (m,) over copies of the unit within `reach` voxels of the middle, at points (2, m) of its plane z."""
    from scipy import ndimage

    nx = len(spline)
    last = max(0, int((reach - abs(z)) / abs(rise)))
    steps = np.unique(np.linspace(-last, last, min(2 * last + 1, max(1, MOST_COPIES // coil.nstart))).round())
    total = np.zeros(points.shape[1])
    for step in steps:
        for start in range(coil.nstart):
            turned = _turn(step * coil.daz + start * 360 / coil.nstart) @ points + nx // 2
            height = np.full(points.shape[1], z + step * rise + nx // 2)
            total += ndimage.map_coordinates(spline, [height, *turned[::-1]], order=3, prefilter=False)
    return total / (len(steps) * coil.nstart)


def _turn(degrees: float) -> np.ndarray:
    """Turn (2, 2) of x, y about z by EMAN2's az."""
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@dataclass(frozen=True)
class Found:
    """Twist (degrees) and rise (voxels) of a helical map, and how well it agrees with its copies by them."""

    twist: float
    rise: float
    agreement: float


class HelicalAgreement:
    """How well a map (z, y, x) agrees with itself, turned and shifted along its axis, where a sphere of `radius` voxels
    moved by `moved` along the axis, either way, overlaps. What has no direction about the axis and no place along it
    says nothing, and is left out.
    """

    def __init__(self, volume: np.ndarray, radius: float, moved: float = 0.0):
        nx = len(volume)
        self.radius, self._moved = radius, moved
        at = np.indices(volume.shape, np.float32)[::-1].reshape(3, -1) - nx // 2
        at = at[:, self._within(at)]
        ring = np.rint(np.hypot(at[0], at[1])).astype(int)
        where = tuple((at[::-1] + nx // 2).astype(int))
        values = volume[where].astype(np.float32)
        uneven = np.zeros(volume.shape, np.float32)
        uneven[where] = values - (np.bincount(ring, values) / np.maximum(np.bincount(ring), 1))[ring]
        self._map = PaddedMap(uneven)
        # between voxels, so that no shift of copies meets more interpolation, which smooths noise, than another
        points = at[:, :: max(1, at.shape[1] // POINTS)]
        self._points = points + np.random.default_rng(0).uniform(-0.5, 0.5, points.shape).astype(np.float32)
        self._own = self._map(self._points, np.eye(3), np.zeros(3))

    def _within(self, points: np.ndarray) -> np.ndarray:
        """Which points (3, n) are compared."""
        return points[0] ** 2 + points[1] ** 2 + (np.abs(points[2]) + self._moved) ** 2 <= self.radius**2

    def most_steps(self, rise: float) -> int:
        """Steps of `rise` voxels after which half of the height still overlaps."""
        return int(max(self.radius - self._moved, 0) / max(abs(rise), 1e-6))

    def __call__(self, twist: float, rise: float, steps: np.ndarray) -> float:
        """Mean correlation with the copies `steps` (n,) away."""
        found = []
        for step in steps:
            turn = np.eye(3)
            turn[:2, :2] = _turn(step * twist)
            shift = np.array([0, 0, step * rise])
            within = self._within(self._points + shift[:, None].astype(np.float32))
            copy = self._map(self._points[:, within], turn, -shift)
            own = self._own[within]
            found.append(float(own @ copy) / max(float(np.linalg.norm(own) * np.linalg.norm(copy)), 1e-30))
        return float(np.mean(found)) if found else 0.0


def agreement_with_copies(volume: np.ndarray, twist: float, rise: float, radius: float) -> float:
    """Mean correlation of a map (z, y, x) with its helical copies, see `HelicalAgreement`; voxels and degrees."""
    scorer = HelicalAgreement(volume, radius)
    return scorer(twist, rise, steps_within(ROUNDS[-1][2], scorer.most_steps(rise)))


def find_helix(volume: np.ndarray, twist: float, rise: float, radius: float, moved: float = 0.0) -> Found:
    """The twist (degrees) and rise (voxels), within 5 % of those given, by which a map (z, y, x) agrees best with its
    helical copies within a sphere of `radius` voxels that is cut by `moved` at both ends.

    They stay as they are where the sphere holds fewer than three units.
    """
    scorer = HelicalAgreement(volume, radius, moved)
    most = scorer.most_steps(rise)
    if most < LEAST_COPIES:
        return Found(twist, rise, scorer(twist, rise, np.ones(min(most, 1))))
    kept = np.ones((1, 2))
    for share, steps, far in ROUNDS:
        value = _scored(scorer, twist, rise, steps_within(far, most))
        offsets = share * np.linspace(-1, 1, 2 * steps + 1)
        grid = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), -1).reshape(-1, 2)
        tried = np.unique((kept[:, None] + grid).reshape(-1, 2).round(6), axis=0)
        order = np.argsort([-value(factors) for factors in tried], kind="stable")
        kept = _apart(tried[order], share / steps)
    agreement, best = maximise(value, kept[0], np.full(2, ROUNDS[-1][0] / ROUNDS[-1][1]), LAST)
    return Found(float(twist * best[0]), float(rise * best[1]), agreement)


def _apart(points: np.ndarray, distance: float) -> np.ndarray:
    """The first KEPT of points (n, 2), by order, no two of which are neighbours on a grid of that `distance`."""
    kept: list[np.ndarray] = []
    for point in points:
        if all(np.abs(point - other).max() > 1.5 * distance for other in kept):
            kept.append(point)
        if len(kept) == KEPT:
            break
    return np.array(kept)


def _scored(scorer: HelicalAgreement, twist: float, rise: float, steps: np.ndarray) -> Callable[[np.ndarray], float]:
    """Agreement by factors (2,) of twist and rise."""
    return lambda factors: scorer(twist * factors[0], rise * factors[1], steps)


def steps_within(far: int, most: int) -> np.ndarray:
    """At most FEW numbers of steps from 1 to `far`, or to `most` if that is less."""
    return np.unique(np.linspace(1, max(1, min(far, most)), FEW).round())
