"""Two maps brought to one frame and hand: rotation, shift, and the mirror image where that fits better."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.data.angles import rotation_from_eman
from mpirefine.data.grid import Grid
from mpirefine.maths.orientgen import eman
from mpirefine.maths.symmetry import parse

LOWPASS = 20.0             # Å; e2refinemulti aligns copies low-passed to it
SEARCH_BOX = 24            # voxels of the search over all rotations
SAME_FRAME = 0.8           # correlation of maps that are in one frame already, but for small turns and shifts
SEARCH_STEP = 20.0         # degrees
REFINED = 6                # starts that are refined
GAIN = 0.02                # of the correlation, below which a map stays where it is: it was in this frame before
HAND = np.diag([1.0, 1.0, -1.0])


@dataclass(frozen=True)
class Move:
    """A map's move: density at r comes from Qᵀ (F r − shift), Q a rotation, F the mirror along z or nothing."""

    rotation: np.ndarray         # (3, 3)
    shift: np.ndarray            # (3,) voxels, x y z
    flipped: bool = False

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return not self.flipped and np.allclose(self.rotation, np.eye(3)) and np.allclose(self.shift, 0)

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        """The moved map (z, y, x), float32, trilinear."""
        from scipy.ndimage import affine_transform
        if self.still:
            return volume
        back = self.rotation.T @ (HAND if self.flipped else np.eye(3))
        centre = np.full(3, len(volume) // 2, float)
        matrix = back[::-1, ::-1]                          # ndimage counts z, y, x
        offset = centre - matrix @ centre - (self.rotation.T @ self.shift)[::-1]
        return affine_transform(volume.astype(np.float32), matrix, offset, order=1)

    def views(self, rotations: np.ndarray) -> np.ndarray:
        """Rotations (n, 3, 3) from the map's coordinates to the images, as they are for the moved map."""
        turned = rotations @ self.rotation.T
        return HAND @ turned @ HAND if self.flipped else turned

    @property
    def origin(self) -> np.ndarray:
        """(3,) where the old origin lies in the moved map, voxels: images' shifts lessen by its projection."""
        return (HAND if self.flipped else np.eye(3)) @ self.shift


STILL = Move(np.eye(3), np.zeros(3))


def freedom(symmetry: str, other: str) -> str:
    """What a map may be moved by, as e2refinemulti decides: "none" of dihedral and platonic symmetry, "z" of cyclic or mixed, "all" of c1."""
    (family, n), (other_family, other_n) = parse(symmetry), parse(other)
    if (family, n) == (other_family, other_n) == ("c", 1):
        return "all"
    return "z" if (family, n) != (other_family, other_n) or family == "c" else "none"


def onto(volume: np.ndarray, target: np.ndarray, grid: Grid, symmetry: str, other: str) -> Move:
    """The move that brings a map (z, y, x) onto another best, either hand; none when that gains little."""
    kind = freedom(symmetry, other)
    if kind == "none" or not volume.any() or not target.any():
        return STILL
    box = min(SEARCH_BOX, grid.nx) // 2 * 2
    moving, fixed = (cropped(v, grid, box) for v in (volume, target))
    scorer = Scorer(moving, fixed)
    start = scorer(np.zeros(6), False, None)
    if start > SAME_FRAME:
        found = [(*refined(scorer, np.zeros(6), False, kind), False)]
    else:
        found = [(*one, hand) for hand in (False, True) for one in searched(scorer, hand, kind)]
    value, x, hand = max(found, key=lambda one: one[0])
    if value < start + GAIN:
        return STILL
    rotation = matrix_of(x[:3], kind)
    return Move(rotation, x[3:] * grid.nx / box * (np.array([0, 0, 1.0]) if kind == "z" and parse(symmetry)[1] > 1 else 1.0), hand)


def cropped(volume: np.ndarray, grid: Grid, box: int) -> np.ndarray:
    """A low-passed map on a small box of the same length, its mean 0."""
    from scipy import fft
    half, nx = box // 2, grid.nx
    spectrum = fft.fftshift(fft.fftn(fft.ifftshift(volume)))
    part = slice(nx // 2 - half, nx // 2 + half)
    spectrum = spectrum[part, part, part]
    axis = np.arange(-half, half) / grid.length
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis ** 2)
    small = fft.fftshift(fft.ifftn(fft.ifftshift(spectrum * np.exp(-(radius * LOWPASS) ** 2)))).real
    return (small - small.mean()).astype(np.float32)


class Scorer:
    """Correlation of a moved map with a fixed one."""

    def __init__(self, moving: np.ndarray, fixed: np.ndarray):
        from scipy import fft
        self.moving, self.fixed = moving, fixed
        self.norm = float(np.sqrt((moving.astype(float) ** 2).sum() * (fixed.astype(float) ** 2).sum())) or 1.0
        self._spectrum = fft.rfftn(fixed).conj()

    def __call__(self, x: np.ndarray, hand: bool, kind: str | None) -> float:
        """Of Euler angles (radians) or a turn about z, and a shift in voxels."""
        rotation = np.eye(3) if kind is None else matrix_of(x[:3], kind)
        return float((Move(rotation, x[3:], hand)(self.moving).astype(float) * self.fixed).sum()) / self.norm

    def best_shift(self, rotation: np.ndarray, hand: bool) -> tuple[float, np.ndarray]:
        """The highest correlation over whole voxels of shift, and where."""
        from scipy import fft
        map_ = fft.irfftn(fft.rfftn(Move(rotation, np.zeros(3), hand)(self.moving)) * self._spectrum, s=self.fixed.shape)
        place = np.array(np.unravel_index(map_.argmax(), map_.shape))
        n = np.array(map_.shape)
        place = np.where(place > n // 2, place - n, place)
        return float(map_.max()) / self.norm, -place[::-1].astype(float)


def matrix_of(angles: np.ndarray, kind: str) -> np.ndarray:
    """A rotation from three Euler angles in radians, or from the first alone about z."""
    az, alt, phi = np.degrees(angles) if kind == "all" else (np.degrees(angles[0]), 0.0, 0.0)
    return rotation_from_eman(az, alt, phi)


def searched(scorer: Scorer, hand: bool, kind: str) -> list[tuple[float, np.ndarray]]:
    """Refined poses from the best of a grid over all rotations."""
    turns = np.arange(0, 360, SEARCH_STEP)
    if kind == "all":
        views = eman("c1", delta=SEARCH_STEP, inc_mirror=True)
        grid = np.array([(az, alt, phi) for az, alt, _ in views for phi in turns])
    else:
        grid = np.array([(az, 0.0, 0.0) for az in np.arange(0, 360, SEARCH_STEP / 4)])
    tried = [scorer.best_shift(rotation_from_eman(*angles), hand) for angles in grid]
    order = np.argsort([-value for value, _ in tried], kind="stable")[:REFINED]
    starts = [np.concatenate([np.radians(grid[at]), tried[at][1] * np.diag(HAND if hand else np.eye(3))]) for at in order]
    return [refined(scorer, x, hand, kind) for x in starts]


def refined(scorer: Scorer, x: np.ndarray, hand: bool, kind: str) -> tuple[float, np.ndarray]:
    """The best correlation near a pose, and its pose."""
    from scipy.optimize import minimize
    found = minimize(lambda y: -scorer(y, hand, kind), x, method="Nelder-Mead",
                     options=dict(initial_simplex=simplex(x), maxfev=200, xatol=1e-3, fatol=1e-5))
    return -float(found.fun), found.x


def simplex(x: np.ndarray) -> np.ndarray:
    """A start simplex of half a grid step and one voxel."""
    return np.vstack([x, x + np.diag([np.radians(SEARCH_STEP / 2)] * 3 + [1.0] * 3)])
