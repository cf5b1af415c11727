"""Poses of many pairs of images: their scores by a comparator, and poses with better scores by quadratic models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mpirefine.maths.eman2.comparators.base import About, stack
from mpirefine.maths.eman2.poses import Alignment
from mpirefine.maths.image.interpolation import ImageMover

Comparator = Callable[[np.ndarray, np.ndarray, About], np.ndarray]
PAIRS_AT_ONCE, POSES_AT_ONCE = 64, 32  # pairs of images, and poses of them, at a time: both fit into the cache
SHRINK = 0.3  # factor of the steps from round to round
LARGEST_MOVE = 1.5  # in steps
LEAST_BEND = 0.05  # of the largest curvature; smaller ones are raised to it


class PoseScorer:
    """Scores of images that are moved (and then multiplied by `mask`) against references, one for all or one each. The
    moved image is the comparator's first, as in EMAN2's aligners.
    """

    def __init__(
        self,
        images: np.ndarray,
        reference: np.ndarray,
        comparator: Comparator,
        about: About,
        mask: np.ndarray | None = None,
    ):
        self._mover, self._references = ImageMover(images), stack(np.asarray(reference))
        self._comparator, self._about, self._mask = comparator, about, mask

    def __call__(self, poses: Alignment, which: np.ndarray) -> np.ndarray:
        """Scores (m,) of poses, each for one of the pairs, `which` (m,); infinite where the comparator gives NaN."""
        out = np.empty(len(poses))
        for start in range(0, len(poses), POSES_AT_ONCE):
            part = slice(start, start + POSES_AT_ONCE)
            rows = which[part]
            images = self._mover(poses.take(part).matrix(), rows)
            if self._mask is not None:
                images *= self._mask
            references = self._references if len(self._references) == 1 else self._references[rows]
            out[part] = self._comparator(images, references, self._about.take(rows))
        return np.where(np.isnan(out), np.inf, out)


def in_parts(
    images: np.ndarray, reference: np.ndarray, about: About
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, About]]:
    """Ranges of at most PAIRS_AT_ONCE pairs, with their images, references and what is known of them."""
    references = stack(np.asarray(reference))
    for start in range(0, len(images), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        yield part, images[part], references if len(references) == 1 else references[part], about.take(part)


class PoseParameters:
    """Poses of n pairs as vectors of the numbers that are varied: x, y, angle and, optionally, scale."""

    def __init__(self, start: Alignment, limit: np.ndarray, with_scale: bool):
        self._start, self._limit = start, limit
        columns = (start.tx, start.ty, start.alpha, start.scale)[: 4 if with_scale else 3]
        self.rows = np.stack(columns, axis=1)

    def bounded(self, rows: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Vectors (m, d) of pairs `which` (m,) within their limits: shifts by pair, scale 0.7 to 1.3."""
        rows = rows.copy()
        rows[:, :2] = np.clip(rows[:, :2], -self._limit[which, None], self._limit[which, None])
        rows[:, 3:] = np.clip(rows[:, 3:], 0.7, 1.3)
        return rows

    def alignment(self, rows: np.ndarray, which: np.ndarray) -> Alignment:
        """Vectors as transforms; what is not varied is as at the start."""
        whole = self._start.take(which)
        return replace(
            whole,
            tx=rows[:, 0],
            ty=rows[:, 1],
            alpha=rows[:, 2],
            **({"scale": rows[:, 3]} if rows.shape[1] > 3 else {}),
        )


def improve(
    scorer: PoseScorer, start: Alignment, limit: np.ndarray, steps: tuple[float, ...], precision: float, rounds: int
) -> Alignment:
    """Poses of all pairs with scores not worse than those of `start`.

    In each round the scores at points one step away on all axes (in the first round on the diagonals too; the mixed
    terms from there are kept) give a quadratic surface; the best of these points and of the surface's minimum is the
    next centre, and the steps become smaller. A pair is finished when its steps and its last move are below `precision`
    (pixels, degrees).
    """
    poses = PoseParameters(start, limit, len(steps) > 3)
    every, step, d = np.arange(len(start)), np.array(steps, np.float64), len(steps)
    centre = poses.bounded(poses.rows, every)
    value = scorer(poses.alignment(centre, every), every)
    size, mixed, todo = np.ones(len(start)), np.zeros((len(start), d, d)), every
    for number in range(rounds):
        if not len(todo):
            break
        offsets = survey_points(d, number == 0)
        scale = (size[todo, None] * step)[:, None]
        rows, values = try_points(scorer, poses, centre[todo, None] + offsets * scale, todo)
        slope, bend = fit_surface(values, value[todo], mixed[todo] * size[todo, None, None] ** 2)
        mixed[todo] = bend / size[todo, None, None] ** 2
        move = downhill(slope, bend)
        goal, there = try_points(scorer, poses, centre[todo, None] + move[:, None] * scale, todo)
        rows = np.concatenate([centre[todo, None], rows, goal], axis=1)
        values = np.concatenate([value[todo, None], values, there], axis=1)
        best = values.argmin(axis=1)
        moved = np.abs(rows[every[: len(todo)], best] - centre[todo]).max(axis=1)
        # while the minimum is still far away the steps are not made smaller
        far = (best == values.shape[1] - 1) & (np.abs(move).max(axis=1) >= LARGEST_MOVE)
        centre[todo], value[todo] = rows[every[: len(todo)], best], values[every[: len(todo)], best]
        size[todo] *= np.where(far, 1, SHRINK)
        todo = todo[(size[todo] * step.max() > precision) | (moved > precision)]
    return poses.alignment(centre, every)


def survey_points(d: int, diagonals: bool) -> np.ndarray:
    """Points (m, d) around a centre, in steps: +1 on each axis, −1 on each axis, and with `diagonals` +1 on each two
    axes.
    """
    unit = np.eye(d)
    first, second = np.triu_indices(d, 1)
    return np.concatenate([unit, -unit, *([unit[first] + unit[second]] if diagonals else [])])


def try_points(
    scorer: PoseScorer, poses: PoseParameters, points: np.ndarray, which: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, m, d) within the limits, and their scores (n, m). Those of a pair follow each other, so that its image
    stays in the cache.
    """
    count, each, d = points.shape
    repeated = np.repeat(which, each)
    rows = poses.bounded(points.reshape(-1, d), repeated)
    return rows.reshape(points.shape), scorer(poses.alignment(rows, repeated), repeated).reshape(count, each)


def fit_surface(values: np.ndarray, here: np.ndarray, mixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (n, d) and curvatures (n, d, d), in steps, from scores at `survey_points`; without diagonals the mixed
    terms are `mixed`.
    """
    d = mixed.shape[1]
    ahead, behind, both = values[:, :d], values[:, d : 2 * d], values[:, 2 * d :]
    bend = mixed.copy()
    first, second = np.triu_indices(d, 1)
    if both.shape[1]:
        bend[:, first, second] = bend[:, second, first] = both - ahead[:, first] - ahead[:, second] + here[:, None]
    axis = np.arange(d)
    bend[:, axis, axis] = ahead - 2 * here[:, None] + behind
    return (ahead - behind) / 2, bend


def downhill(slope: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Moves (n, d), in steps, to the minimum of quadratic surfaces, at most LARGEST_MOVE. Curvatures are taken to be
    positive and not too small.
    """
    usable = np.isfinite(bend).all(axis=(1, 2)) & np.isfinite(slope).all(axis=1)
    values, axes = np.linalg.eigh(np.where(usable[:, None, None], bend, np.eye(bend.shape[1])))
    values = np.abs(values)
    values = np.maximum(values, np.maximum(LEAST_BEND * values.max(axis=1, keepdims=True), np.finfo(float).tiny))
    along = np.einsum("nij,ni->nj", axes, np.where(usable[:, None], slope, 0)) / values
    move = -np.einsum("nij,nj->ni", axes, along)
    return move / np.maximum(1, np.abs(move).max(axis=1, keepdims=True) / LARGEST_MOVE)
