"""Estimate what a run will need: memory of a rank and of a node, messages, and seconds per iteration.

Needs no MPI and no data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mpirefine.data.grid import Grid
from mpirefine.errors import ParameterError
from mpirefine.program import logs
from mpirefine.program.eman2.cost_model import ClassJob
from mpirefine.program.eman2.plan_report import describe_class_plan
from mpirefine.program.options import Options
from mpirefine.program.performance.cost_model import Job
from mpirefine.program.performance.machine import Machine
from mpirefine.program.performance.plan_report import describe_plan
from mpirefine.program.start import defaults

RADIUS_SHARE = 0.36  # particle radius as a share of the box, when it is not given


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare the sizes of the run."""
    add = parser.add_argument
    add("--particles", type=int, required=True, help="number of particles")
    add("--box", type=int, required=True, help="box of the particle images, px")
    add("--models", type=int, default=2, help="number of maps (default 2)")
    add("--ranks", type=int, default=1, help="number of MPI ranks (default 1)")
    add("--per-node", type=int, help="ranks per node (default: all on one)")
    add("--apix", type=float, default=1.0, help="Å per pixel (default 1)")
    add("--targetres", type=float, help="target resolution in Å (default: as a run chooses it)")
    add("--radius", type=float, help=f"particle radius in Å (default: {RADIUS_SHARE:g} of the box)")
    add("--maxshift", type=float, help="largest shift in px (default: as a run chooses it)")
    add("--sym", default="c1", help="symmetry, one for all maps or one each (default c1)")
    add("--block-mb", type=int, default=64, help="memory of one block of class sums, MB (default 64)")
    add("--lowmem", action="store_true", help="keep particles in files on the nodes' disks, as in the run")
    add("--preset", choices=["eman2"], help="plan for EMAN2's way, which scores by comparators and uses class averages")
    add("--machine", type=Path, help="profile made by 'bench --out', for the seconds")


def main(args: argparse.Namespace) -> int:
    """Print the estimate. ParameterError for sizes that are not positive, InputError for a wrong profile."""
    for name in ("particles", "box", "models", "ranks", "apix"):
        if getattr(args, name) <= 0:
            raise ParameterError(f"--{name} {getattr(args, name)}: must be more than 0")
    grid = Grid(args.box, args.apix)
    chosen = defaults.resolve(
        Options(sym=args.sym, targetres=args.targetres, maxshift=args.maxshift), grid, args.models
    )
    profile = Machine.read(args.machine) if args.machine else None
    per_node = min(args.per_node or args.ranks, args.ranks)
    if args.preset:
        class_job = ClassJob(
            args.particles, grid, chosen.symmetries, chosen.targetres, args.ranks, per_node, lowmem=args.lowmem
        )
        logs.say(describe_class_plan(class_job, profile))
        return 0
    working = chosen.working_grid(grid)
    job = Job(
        args.particles,
        working,
        chosen.symmetries,
        args.radius or RADIUS_SHARE * grid.length,
        chosen.targetres,
        chosen.working_shift(grid),
        args.ranks,
        per_node,
        block_mb=args.block_mb,
        lowmem=args.lowmem,
        full=None if working.nx == grid.nx else grid,
    )
    logs.say(describe_plan(job, profile))
    return 0
