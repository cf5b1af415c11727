"""Step: central slices of every map on both grids of directions, prepared for matching, once per node."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.partition import Partition
from mpirefine.data.poses import Orientations
from mpirefine.distribution import reduce
from mpirefine.distribution.window import Window
from mpirefine.maths.fourier.polar import PolarGrid
from mpirefine.maths.geometry.directions import nearest_cells, projection_directions
from mpirefine.maths.likelihood.central_slices import POINTS_PER_CALL, polar_slices
from mpirefine.maths.likelihood.correlation import NORM_ORDERS, norm_matrices, reference_matrices
from mpirefine.steps.state import Context, State


@dataclass(frozen=True)
class PreparedLevel:
    """References of one level, in windows of the node, float32: `matrices` (r, T, k) for T in-plane angles, ring powers
    (r, k).

    `uneven` (r, o, k) holds what their norm terms need where the CTF is astigmatic; its o is 0 on the coarse grid and
    without CTF.
    """

    orientations: Orientations
    grid: PolarGrid
    angles: int
    matrices: np.ndarray
    power: np.ndarray
    uneven: np.ndarray


@dataclass(frozen=True)
class References:
    """Both levels, and for each coarse projection the fine ones in its cell (`children[i]` are rows of the fine
    list).
    """

    coarse: PreparedLevel
    fine: PreparedLevel
    children: tuple[np.ndarray, ...]


def of_map(references: References, model: int) -> References:
    """What belongs to one map, as views: the references of a refinement of this map alone."""
    coarse, fine = references.coarse, references.fine
    rows, near = coarse.orientations.of_model(model), fine.orientations.of_model(model)
    return References(
        part_of(coarse, rows), part_of(fine, near), tuple(own - near.start for own in references.children[rows])
    )


def part_of(level: PreparedLevel, rows: slice) -> PreparedLevel:
    """Some rows of a level, as the only map's."""
    own = Orientations(level.orientations.rotation[rows], np.zeros(rows.stop - rows.start, np.int32))
    return replace(
        level, orientations=own, matrices=level.matrices[rows], power=level.power[rows], uneven=level.uneven[rows]
    )


def directions(ctx: Context, delta: float, iteration: int, dropped: tuple[int, ...] = ()) -> Orientations:
    """Orientations of all maps, one list; the grid is turned at random, by seed and iteration alone: maps are compared
    on the same views.
    """
    rotation, model = [], []
    for m, symmetry in enumerate(ctx.symmetries):
        views = projection_directions(symmetry, delta, rng=np.random.default_rng([ctx.options.seed, iteration]))[
            : 0 if m in dropped else None
        ]
        rotation.append(views)
        model.append(np.full(len(views), m, np.int32))
    return Orientations(np.concatenate(rotation), np.concatenate(model))


def cells(fine: Orientations, coarse: Orientations, symmetries: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """For each coarse projection, the fine projections of its map that lie nearest to it; possibly none."""
    children = []
    for m, symmetry in enumerate(symmetries):
        f, c = fine.of_model(m), coarse.of_model(m)
        if f.start == f.stop:
            continue
        cell = nearest_cells(fine.rotation[f], coarse.rotation[c], symmetry)
        order = np.argsort(cell, kind="stable")
        bounds = np.searchsorted(cell[order], np.arange(c.stop - c.start + 1))
        children += [order[lo:hi] + f.start for lo, hi in zip(bounds[:-1], bounds[1:])]
    return tuple(children)


class Project:
    """Maps on rank 0 to prepared references in the windows of each node."""

    name = "project"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        levels = ctx.plan.levels(state.finest)
        deltas = levels.fine_delta, levels.coarse_delta
        fine, coarse = (ctx.team.from_root(directions, ctx, delta, state.iteration, state.dropped) for delta in deltas)
        uneven = 2 * len(NORM_ORDERS) if ctx.particles.table.ctf is not None else 0
        prepared = [
            self._windows(ctx, coarse, levels.coarse_grid, levels.coarse_angles, 0),
            self._windows(ctx, fine, levels.fine_grid, levels.fine_angles, uneven),
        ]
        for m in range(ctx.models):
            volume = reduce.bcast_array(ctx.team, state.volumes[m] if ctx.team.is_root else None)
            for level, windows in zip((coarse, fine), prepared):
                fill(ctx, volume, state.rings[m], level.of_model(m), level, windows)
        for windows in prepared:
            for window in windows[1:]:
                window.seal()
        ready = [
            PreparedLevel(level, grid, matrices.array.shape[1], matrices.array, power.array, uneven.array)
            for level, (grid, matrices, power, uneven) in zip((coarse, fine), prepared)
        ]
        ctx.references = References(ready[0], ready[1], cells(fine, coarse, ctx.symmetries))
        return replace(state, orientations=fine, levels=levels)

    @staticmethod
    def _windows(
        ctx: Context, orientations: Orientations, grid: PolarGrid, angles: int, uneven: int
    ) -> tuple[PolarGrid, Window, Window, Window]:
        count, rings = len(orientations), grid.n_rings
        matrices, power, orders = (
            ctx.resources.enter_context(Window(ctx.team, shape, np.float32))
            for shape in ((count, angles, rings), (count, rings), (count, uneven, rings))
        )
        return grid, matrices, power, orders


def fill(
    ctx: Context,
    volume: np.ndarray,
    rings: int,
    rows: slice,
    level: Orientations,
    windows: tuple[PolarGrid, Window, Window, Window],
) -> None:
    """Project one map on this rank's share of the node's rows; nothing beyond `rings`, which its own half-maps do not
    support.
    """
    grid, matrices, power, uneven = windows
    batch = max(1, POINTS_PER_CALL // int(np.prod(grid.half_shape)))
    share = Partition.even(rows.stop - rows.start, ctx.team.node.size)[ctx.team.node.rank]
    for part in share.chunks(batch):
        span = slice(rows.start + part.start, rows.start + part.stop)
        half = polar_slices(volume, level.rotation[span], grid, ctx.options.threads)
        half[:, grid.radii > rings] = 0
        power.writable[span] = reference_matrices(half, matrices.writable[span])
        if uneven.writable.shape[1]:
            norm_matrices(half, uneven.writable[span])
