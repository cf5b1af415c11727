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
PER_ROUND, LAST = 2, 8  # comparisons of each pair in a round; the last 8 are one in a round
SHRINK = 0.75  # factor of the steps from round to round
LARGEST_MOVE, FAR_MOVE = 1.5, 1.499  # in steps
ASIDE = 0.7  # steps between half the move to a surface's minimum and the second point of a round
RIDGE = 1e-6  # added to the squares of a fit, relatively, so that points in a plane give a surface too
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
    scorer: PoseScorer, start: Alignment, limit: np.ndarray, steps: tuple[float, ...], precision: float, most: int
) -> Alignment:
    """Poses of all pairs with scores not worse than those of `start`, after at most `most` comparisons of each (more if
    those of the survey are more).

    The start and points one step away on all axes and diagonals are scored first. Then in each round a quadratic
    surface is fitted to all scores of the pair, those near its best point counting most, and its minimum and a point
    beside it are scored. Distances from the best point to which points count, and to which a round looks, become
    smaller. So scores that ripple from pixel to pixel, as those of noisy images do, are smoothed, and no comparison is
    forgotten. A pair is finished when steps and its last move are below `precision` (pixels, degrees).
    """
    poses, step, d = PoseParameters(start, limit, len(steps) > 3), np.array(steps, np.float64), len(steps)
    every, survey = np.arange(len(start)), survey_points(d)
    done, total = len(survey), max(most, len(survey) + PER_ROUND)
    rows, values = np.empty((len(start), total, d)), np.full((len(start), total), np.inf)
    first = poses.bounded(poses.rows, every)[:, None] + survey * step
    rows[:, :done], values[:, :done] = try_points(scorer, poses, first, every)
    size, todo, beside = np.ones(len(start)), every, directions(total, d)
    while done < total and len(todo):
        best = values[todo, :done].argmin(axis=1)
        centre, value, scale = rows[todo, best], values[todo, best], size[todo, None, None] * step
        away = (rows[todo, :done] - centre[:, None]) / scale
        move = downhill(*fit_surface(away, values[todo, :done] - value[:, None]))
        offsets = np.stack([move, ASIDE * beside[done] + move / 2], axis=1)
        offsets = offsets[:, : 1 if total - done <= LAST else PER_ROUND]
        part = slice(done, done + offsets.shape[1])
        there = try_points(scorer, poses, centre[:, None] + offsets * scale, todo)
        rows[todo, part], values[todo, part] = there
        new = there[1].argmin(axis=1)
        better = there[1][every[: len(todo)], new] < value
        # while the minimum is still far away the steps are not made smaller
        far = better & (new == 0) & (np.abs(move).max(axis=1) >= FAR_MOVE)
        size[todo] *= np.where(far, 1, SHRINK)
        moved = np.where(better, np.abs(there[0][every[: len(todo)], new] - centre).max(axis=1), 0)
        todo, done = todo[(size[todo] * step.max() > precision) | (moved > precision)], part.stop
    return poses.alignment(rows[every, values.argmin(axis=1)], every)


def survey_points(d: int) -> np.ndarray:
    """Points (m, d), in steps: the centre, +1 and −1 on each axis, and +1 on each two axes."""
    unit = np.eye(d)
    first, second = np.triu_indices(d, 1)
    return np.concatenate([np.zeros((1, d)), unit, -unit, unit[first] + unit[second]])


def directions(count: int, d: int) -> np.ndarray:
    """Unit vectors (count, d) in all directions, always the same."""
    vectors = np.random.default_rng(0).standard_normal((count, d))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


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


def fit_surface(away: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (n, d) and curvatures (n, d, d) at 0 of quadratic surfaces through values (n, m) at points (n, m, d), by
    least squares; a point at distance r counts 1 / (1 + r²)⁴. Values that are not finite do not count.
    """
    count, m, d = away.shape
    first, second = np.triu_indices(d)
    known = np.isfinite(values)
    weight = np.where(known, 1 / (1 + (away * away).sum(axis=2)) ** 2, 0)
    terms = np.empty((count, m, 1 + d + len(first)))
    terms[..., 0] = weight
    linear = np.multiply(away, weight[..., None], out=terms[..., 1 : 1 + d])
    np.multiply(linear[..., first], away[..., second], out=terms[..., 1 + d :])
    across = terms.transpose(0, 2, 1)
    square = across @ terms
    diagonal = np.arange(terms.shape[2])
    square[:, diagonal, diagonal] = (1 + RIDGE) * square[:, diagonal, diagonal] + RIDGE**2
    found = np.linalg.solve(square, across @ (np.where(known, values, 0) * weight)[..., None])[..., 0]
    bend = np.zeros((count, d, d))
    bend[:, first, second] = found[:, 1 + d :]
    return found[:, 1 : 1 + d], bend + bend.transpose(0, 2, 1)


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
