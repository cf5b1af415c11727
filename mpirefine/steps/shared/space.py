"""What an iteration will take on the disk."""

from __future__ import annotations

from mpirefine.steps.state import Context, State
from mpirefine.storage.run import schema

FIXED_BYTES, SHARE = 4 << 20, 1.02  # for the layout of HDF5 files, curves, table and report
PLANES = 7  # of EMAN2's classification matrix and of its result
PARTICLE_BYTES = 1000  # of a particle's row, once in the file of all and once in a set
HEADER_BYTES, ROW_BYTES = 4096, 8  # of an image in EMAN2's HDF files; of a particle in the list of its class


def iteration_bytes(state: State, ctx: Context) -> int:
    """Bytes of the iteration in the run file, with as many projections as the state has, and of the maps and files
    beside it.
    """
    nx, classes, places = ctx.grid.nx, len(state.orientations or ()), ctx.options.sep
    axes = {
        "particle": ctx.partition.n,
        "place": places,
        "map": ctx.models,
        "half": 2,
        "x": nx,
        "y": nx,
        "z": nx,
        "class": classes,
        "group": len(ctx.particles.table.group_names),
        "shell": nx // 2 + 1,
        "coarse projection": ctx.simmx.shape[1] if ctx.simmx is not None else 0,
    }
    needed = schema.stored_bytes(axes) + ctx.models * nx**3 * 4
    if ctx.method is not None:  # projections and class averages, which are not in the run file, and two matrices
        needed += classes * (nx**2 * 4 + 2 * HEADER_BYTES) + ctx.partition.n * places * (2 * PLANES * 4 + ROW_BYTES)
    needed += (
        3 * ctx.models * nx**3 * 4 + ctx.partition.n * PARTICLE_BYTES
    )  # after the last one: halves, hard maps, particles and sets
    return int(SHARE * needed) + FIXED_BYTES
