"""Projections of every map on the coarse and the fine grid of directions, prepared for scores, once per node."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.poses import Orientations
from mpirefine.distribution.window import Window
from mpirefine.maths.fourier.polar import PolarGrid
from mpirefine.maths.geometry.directions import nearest_cells, projection_directions
from mpirefine.maths.likelihood.central_slices import POINTS_PER_CALL, polar_slices
from mpirefine.maths.likelihood.correlation import NORM_ORDERS, norm_matrices, reference_matrices
from mpirefine.maths.likelihood.references import PreparedLevel, References
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.shared.maps import broadcast_map, reach_along_axis, symmetries_of
from mpirefine.steps.shared.projections import spans_of_rank, views_of_maps
from mpirefine.steps.state import Context
from mpirefine.steps.workspace import Workspace


def grid_of_directions(ctx: Context, delta: float, iteration: int, dropped: tuple[int, ...] = ()) -> Orientations:
    """Orientations of all maps in one list, every `delta` degrees over the asymmetric unit; none of `dropped` maps.

    The grid is turned at random, but equally for all maps: the rotation depends on seed and iteration only.
    """

    def views(symmetry: str) -> np.ndarray:
        rng = np.random.default_rng([ctx.settings.seed, iteration])
        return projection_directions(symmetry, delta, rng=rng)

    return views_of_maps(ctx.symmetries, dropped, views)


def children_of_coarse(fine: Orientations, coarse: Orientations, symmetries: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """For each coarse projection, the fine projections of its map that it is the nearest coarse one of; maybe none."""
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


@dataclass(frozen=True)
class LevelWindows:
    """Shared windows of a level while they are filled; fields as in PreparedLevel."""

    orientations: Orientations
    grid: PolarGrid
    matrices: Window
    power: Window
    uneven: Window

    @classmethod
    def make(
        cls, ctx: Context, work: Workspace, orientations: Orientations, grid: PolarGrid, shape: tuple[int, int]
    ) -> LevelWindows:
        """Collective. Open the windows; `shape` is the number of in-plane angles and that of orders of norm terms."""
        (angles, orders), count, rings = shape, len(orientations), grid.n_rings
        shapes = (count, angles, rings), (count, rings), (count, orders, rings)
        return cls(orientations, grid, *(work.window(ctx.team, shape) for shape in shapes))

    def sealed(self, along: tuple[float, ...]) -> PreparedLevel:
        """Collective. The level, read-only; `along` (m,) is that of the references of each map."""
        for window in (self.matrices, self.power, self.uneven):
            window.seal()
        matrices = self.matrices.array
        return PreparedLevel(
            self.orientations,
            self.grid,
            matrices.shape[1],
            matrices,
            self.power.array,
            self.uneven.array,
            np.array(along)[self.orientations.model],
        )


def project_maps(state: LikelihoodState, ctx: Context, work: Workspace) -> LikelihoodState:
    """Collective. The state with projections of the maps of rank 0 on both levels, in windows that `work` frees."""
    levels = ctx.plan.sampling(state.finest)
    deltas = levels.fine_delta, levels.coarse_delta
    fine, coarse = (
        ctx.team.from_root(grid_of_directions, ctx, delta, state.iteration, state.dropped) for delta in deltas
    )
    orders = 2 * len(NORM_ORDERS) if ctx.particles.table.ctf is not None else 0
    windows = [
        LevelWindows.make(ctx, work, coarse, levels.coarse_grid, (levels.coarse_angles, 0)),
        LevelWindows.make(ctx, work, fine, levels.fine_grid, (levels.fine_angles, orders)),
    ]
    for m in range(ctx.models):
        volume = broadcast_map(state, ctx, m)
        for level in windows:
            project_into_windows(ctx, volume, state.last_rings[m], m, level)
    along = tuple(reach_along_axis(name, ctx.grid.apix) for name in symmetries_of(state, ctx))
    ready = [level.sealed(along) for level in windows]
    references = References(ready[0], ready[1], children_of_coarse(fine, coarse, ctx.symmetries))
    return replace(state, orientations=fine, levels_sampled=levels, references=references)


def project_into_windows(ctx: Context, volume: np.ndarray, rings: int, model: int, level: LevelWindows) -> None:
    """Project a map (z, y, x) into this rank's share of the node's windows; 0 beyond `rings`, the map's outermost."""
    batch = max(1, POINTS_PER_CALL // int(np.prod(level.grid.half_shape)))
    matrices, power, uneven = level.matrices.writable, level.power.writable, level.uneven.writable
    for span in spans_of_rank(ctx.team, level.orientations, model, batch):
        half = polar_slices(volume, level.orientations.rotation[span], level.grid, ctx.settings.threads)
        half[:, level.grid.radii > rings] = 0
        power[span] = reference_matrices(half, matrices[span])
        if uneven.shape[1]:
            norm_matrices(half, uneven[span])
