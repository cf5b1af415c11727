"""What the maps at the particles' own size are made from: the images as they are in their files, read again."""

from __future__ import annotations

from dataclasses import replace

from mpirefine.data.grid import Grid
from mpirefine.maths.image.background import outside_circle
from mpirefine.maths.likelihood.search_plan import SearchPlan
from mpirefine.program.options import Options
from mpirefine.program.start.own_particles import open_on_grid
from mpirefine.steps.state import Context, RingLimits


def full_context(ctx: Context, of_file: Grid, options: Options) -> Context:
    """Collective. `ctx` with the images of the particle file on their own grid, or that of --full-box.

    Pixels are read when they are asked for. InputError when a stack cannot be read.
    """
    box = options.full_box or of_file.nx
    grid = Grid(box, of_file.length / box)
    radius, maxshift = (length * grid.nx / ctx.grid.nx for length in (ctx.plan.radius, ctx.plan.maxshift))
    outside = None if options.no_normalise else outside_circle(grid.nx, radius + maxshift)
    particles = open_on_grid(ctx.team, ctx.particles.table, of_file, grid, keep_pixels=False, outside=outside)
    plan = SearchPlan(grid.nx, radius, maxshift, ctx.plan.delta)
    return replace(ctx, grid=grid, particles=particles, plan=plan, limits=RingLimits(grid.nx // 2 - 1), masks=None)
