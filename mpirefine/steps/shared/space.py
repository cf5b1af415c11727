"""How many bytes an iteration takes on the disk."""

from __future__ import annotations

from mpirefine.steps.state import Context, State
from mpirefine.storage.run import schema

FIXED_BYTES, SHARE = 4 << 20, 1.02  # added for the layout of HDF5 files, curves, tables and the report
PARTICLE_BYTES = 1000  # of a particle's rows in the file of all particles and in that of its map's set


def iteration_bytes(state: State, ctx: Context, stacks: int = 0) -> int:
    """Bytes of an iteration with as many projections as `state` has: in the run file, and of the files beside it.

    `stacks` are the bytes of the method's image stacks. What is written after the last iteration is included.
    """
    nx, maps = ctx.grid.nx, ctx.models
    axes = {
        "particle": ctx.partition.n,
        "place": ctx.settings.sep,
        "map": maps,
        "half": 2,
        "x": nx,
        "y": nx,
        "z": nx,
        "class": len(state.orientations),
        "group": len(ctx.particles.table.group_names),
        "shell": nx // 2 + 1,
        "coarse projection": 0 if state.simmx is None else state.simmx.shape[1],
    }
    of_iteration = schema.stored_bytes(axes) + maps * nx**3 * 4 + stacks
    after_the_last = 3 * maps * nx**3 * 4 + ctx.partition.n * PARTICLE_BYTES  # half-maps, hard maps, particles and sets
    return int(SHARE * (of_iteration + after_the_last)) + FIXED_BYTES
