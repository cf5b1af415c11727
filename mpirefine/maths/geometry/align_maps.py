"""Two maps brought to one frame and one hand: by rotation, shift, and mirroring where that fits better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.rotations import rotation_from_eman
from mpirefine.maths.geometry.even_views import even_views
from mpirefine.maths.geometry.symmetry import parse
from mpirefine.maths.image.interpolation import Trilinear

LOWPASS = 20.0  # Å; maps are low-passed to it for alignment, as in e2refinemulti
GRID_BOX, SEARCH_BOX, MOST_BOX = 18, 24, 48  # voxels: of the search over all rotations, of its refinement, of the last
FINE_VOXEL = LOWPASS / 3  # Å; the last refinement has about this voxel size, in at most MOST_BOX voxels
SAME_FRAME = 0.8  # correlation from which on two maps need only small turns and shifts
SEARCH_STEP = 20.0  # degrees
REFINED = 6  # starts of each hand that are refined; the best of them is refined once more
EVALUATIONS, LAST = 12, 200  # of the correlation: for each free number of a start, and in the last refinement
GAIN = 0.02  # of the correlation; with less a map stays where it is
HAND = np.diag([1.0, 1.0, -1.0])  # the mirror along z


@dataclass(frozen=True)
class Move:
    """A move of a map: the moved density at r is the old one at Qᵀ (F r − shift), Q a rotation, F the mirror along z or
    the identity.
    """

    rotation: np.ndarray  # (3, 3)
    shift: np.ndarray  # (3,) voxels, x y z
    flipped: bool = False

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return not self.flipped and np.allclose(self.rotation, np.eye(3)) and np.allclose(self.shift, 0)

    def __call__(self, volume: np.ndarray, order: int = 1) -> np.ndarray:
        """The moved map (z, y, x), float32, by splines of the given order (1: trilinear)."""
        from scipy.ndimage import affine_transform

        if self.still:
            return volume
        back = self.rotation.T @ (HAND if self.flipped else np.eye(3))
        centre = np.full(3, len(volume) // 2, float)
        matrix = back[::-1, ::-1]  # ndimage counts z, y, x
        offset = centre - matrix @ centre - (self.rotation.T @ self.shift)[::-1]
        return affine_transform(volume.astype(np.float32), matrix, offset, order=order)

    def views(self, rotations: np.ndarray) -> np.ndarray:
        """Rotations (n, 3, 3) to the images, from the moved map's coordinates instead of the old map's."""
        turned = rotations @ self.rotation.T
        return HAND @ turned @ HAND if self.flipped else turned

    @property
    def origin(self) -> np.ndarray:
        """Where the old origin lies in the moved map, (3,) voxels x y z. Its projection is to be subtracted from the
        shifts of images.
        """
        return (HAND if self.flipped else np.eye(3)) @ self.shift


STILL = Move(np.eye(3), np.zeros(3))


def freedom(symmetry: str, other: str) -> str:
    """How a map may be moved: "all" for c1 onto c1; "z", a turn about z and a shift, for cyclic or mixed symmetry, as
    e2refinemulti decides; "none" for dihedral, platonic or helical symmetry, whose axes must stay in place.
    """
    (family, n), (other_family, other_n) = parse(symmetry), parse(other)
    if family != "c":
        return "none"
    return "all" if (n, other_family, other_n) == (1, "c", 1) else "z"


def free_numbers(symmetry: str, kind: str) -> list[int]:
    """Which of the three angles and three shifts may vary; a map with cyclic symmetry stays on its axis."""
    return [0, 1, 2, 3, 4, 5] if kind == "all" else [0, 3, 4, 5] if parse(symmetry)[1] == 1 else [0, 5]


def onto(volume: np.ndarray, target: np.ndarray, grid: Grid, symmetry: str, other: str) -> Move:
    """The move that brings a map (z, y, x) best onto another, of either hand; STILL when that gains little.

    `symmetry` is that of the map, `other` that of the target.
    """
    kind = freedom(symmetry, other)
    if kind == "none" or not volume.any() or not target.any():
        return STILL
    free, nx = free_numbers(symmetry, kind), grid.nx // 2 * 2
    boxes = [
        min(box, nx)
        for box in (GRID_BOX, SEARCH_BOX, max(SEARCH_BOX, min(MOST_BOX, int(grid.length / FINE_VOXEL) // 2 * 2)))
    ]
    fine = MapScorer(volume, target, grid, boxes[2])
    start, x, hand = fine(np.zeros(6), False), np.zeros(6), False
    if start < SAME_FRAME:
        coarse, middle = (MapScorer(volume, target, grid, box) for box in boxes[:2])
        starts = search_starts(coarse, kind, free, boxes[1])
        found = [(*refine_move(middle, x, hand, free, EVALUATIONS * len(free)), hand) for x, hand in starts]
        _, x, hand = max(found, key=lambda start: start[0])
        x = x * np.repeat([1, boxes[2] / boxes[1]], 3)
    value, x = refine_move(fine, x, hand, free, LAST)
    if value < start + GAIN:
        return STILL
    return Move(matrix_of(x), x[3:] * grid.nx / boxes[2], hand)


def reduce_map(volume: np.ndarray, grid: Grid, box: int, lowpass: float = LOWPASS) -> np.ndarray:
    """A map low-passed to a resolution (Å) in a small box of the same length in Å; its mean is 0."""
    from scipy import fft

    half, nx = box // 2, grid.nx
    spectrum = fft.fftshift(fft.fftn(fft.ifftshift(volume)))
    part = slice(nx // 2 - half, nx // 2 + half)
    spectrum = spectrum[part, part, part]
    axis = np.arange(-half, half) / grid.length
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    small = fft.fftshift(fft.ifftn(fft.ifftshift(spectrum * np.exp(-((radius * lowpass) ** 2))))).real
    return (small - small.mean()).astype(np.float32)


class PaddedMap:
    """A map (z, y, x) between its voxels, falling to 0 within one voxel outside the box."""

    def __init__(self, volume: np.ndarray):
        self.box, self._map = len(volume), Trilinear(np.pad(volume, 1))

    def __call__(self, points: np.ndarray, back: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """The map (m,) at `back` @ points − shift; points (3, m) and shift (3,) are x, y, z voxels from the centre."""
        where = back.astype(np.float32) @ points + (self.box // 2 + 1 - shift).astype(np.float32)[:, None]
        np.clip(where, 0, self.box + 0.999, out=where)  # positions outside are interpolated in the padding
        return self._map(where)


class MapScorer:
    """Correlation of a moved map with a fixed one, in small boxes, within the largest sphere in the box."""

    def __init__(self, volume: np.ndarray, target: np.ndarray, grid: Grid, box: int):
        from scipy import fft

        self.box, moving, fixed = box, reduce_map(volume, grid, box), reduce_map(target, grid, box)
        self._moving = PaddedMap(moving)
        self._spectrum = fft.rfftn(fixed).conj()
        self._points = np.indices(fixed.shape, np.float32)[::-1].reshape(3, -1) - box // 2
        inside = (self._points**2).sum(axis=0) < (box / 2) ** 2
        self._inner, self._fixed = self._points[:, inside], fixed.ravel()[inside]
        self.norm = float(np.linalg.norm(moving.ravel()[inside]) * np.linalg.norm(self._fixed)) or 1.0

    def __call__(self, x: np.ndarray, hand: bool) -> float:
        """The correlation for three Euler angles (radians) and a shift in voxels, x (6,); `hand`: mirrored."""
        rotation = matrix_of(x)
        back = rotation.T @ (HAND if hand else np.eye(3))
        return float(np.vdot(self._moving(self._inner, back, rotation.T @ x[3:]), self._fixed)) / self.norm

    def best_shifts(self, rotation: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """For each hand the highest correlation over shifts by whole voxels, and that shift (3,)."""
        from scipy import fft

        turned, out = self._moving(self._points, rotation.T, np.zeros(3)).reshape((self.box,) * 3), []
        for hand in (np.eye(3), HAND):
            handed = turned if hand is not HAND else np.roll(turned[::-1], 1, axis=0)
            peaks = fft.irfftn(fft.rfftn(handed) * self._spectrum, s=handed.shape)
            place = np.array(np.unravel_index(peaks.argmax(), peaks.shape))
            place = np.where(place > self.box // 2, place - self.box, place)
            out.append((float(peaks.max()) / self.norm, -hand @ place[::-1]))
        return out


def matrix_of(x: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) of three Euler angles in radians."""
    return rotation_from_eman(*np.degrees(x[:3]))


def search_starts(scorer: MapScorer, kind: str, free: list[int], box: int) -> list[tuple[np.ndarray, bool]]:
    """The best poses (6,) of either hand, True for mirrored, from a grid over all rotations; shifts are in voxels of
    `box`, 0 where they are not free.
    """
    turns = np.arange(0, 360, SEARCH_STEP)
    if kind == "all":
        angles = [(az, alt, phi) for az, alt, _ in even_views("c1", SEARCH_STEP, mirror=True) for phi in turns]
    else:
        angles = [(az, 0.0, 0.0) for az in np.arange(0, 360, SEARCH_STEP / 4)]
    grid, starts = np.radians(angles), []
    for hand, tried in enumerate(zip(*(scorer.best_shifts(matrix_of(x)) for x in grid))):
        for at in np.argsort([-value for value, _ in tried], kind="stable")[:REFINED]:
            x = np.concatenate([grid[at], tried[at][1] * box / scorer.box])
            starts.append((np.where(np.isin(np.arange(6), free), x, 0), bool(hand)))
    return starts


def refine_move(scorer: MapScorer, x: np.ndarray, hand: bool, free: list[int], most: int) -> tuple[float, np.ndarray]:
    """The best correlation near a pose (6,) in at most `most` evaluations, and its pose."""

    def whole(y: np.ndarray) -> np.ndarray:
        out = x.copy()
        out[free] = y
        return out

    steps = np.array([np.radians(SEARCH_STEP / 2)] * 3 + [1.0] * 3)[free]
    value, y = maximise(lambda y: scorer(whole(y), hand), x[free], steps, most)
    return value, whole(y)


def maximise(
    function: Callable[[np.ndarray], float], start: np.ndarray, steps: np.ndarray, most: int
) -> tuple[float, np.ndarray]:
    """The largest value of a function near a point (d,), and where it is, by a Nelder-Mead simplex of at most `most`
    evaluations.
    """
    from scipy.optimize import minimize

    simplex = np.vstack([start, start + np.diag(steps)])
    found = minimize(
        lambda y: -function(y),
        start,
        method="Nelder-Mead",
        options=dict(initial_simplex=simplex, maxfev=most, xatol=1e-3, fatol=1e-5),
    )
    return -float(found.fun), found.x
