"""Say before a run what it will need: memory of a rank and of a node, blocks, messages, and seconds per iteration.
Needs no MPI and no data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mpirefine.data.grid import Grid
from mpirefine.errors import ParameterError
from mpirefine.program import logs
from mpirefine.program.options import Options
from mpirefine.program.performance.cost_model import Job
from mpirefine.program.performance.machine import Machine
from mpirefine.program.performance.plan_report import describe_plan
from mpirefine.program.start import defaults

RADIUS_SHARE = 0.36  # particle radius as a share of the box, when it is not given


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Sizes of the run."""
    add = parser.add_argument
    add("--particles", type=int, required=True)
    add("--box", type=int, required=True, help="pixels")
    add("--models", type=int, default=2, help="number of maps (default 2)")
    add("--ranks", type=int, default=1, help="(default 1)")
    add("--per-node", type=int, help="ranks on one node (default: all)")
    add("--apix", type=float, default=1.0, help="Å per pixel (default 1)")
    add("--targetres", type=float, help="Å (default: as a run would choose)")
    add("--radius", type=float, help=f"particle radius in Å (default: {RADIUS_SHARE:g} of the box)")
    add("--maxshift", type=float, help="pixels (default: as a run would choose)")
    add("--sym", default="c1", help="one for all maps or one each (default c1)")
    add("--block-mb", type=int, default=64, help="memory of one block of class sums (default 64)")
    add("--lowmem", action="store_true", help="as in the run")
    add("--machine", type=Path, help="profile made by 'bench': makes the seconds")


def main(args: argparse.Namespace) -> int:
    """No MPI. ParameterError for sizes that cannot be."""
    for name in ("particles", "box", "models", "ranks", "apix"):
        if getattr(args, name) <= 0:
            raise ParameterError(f"--{name} {getattr(args, name)}: must be more than 0")
    grid = Grid(args.box, args.apix)
    chosen = defaults.resolve(
        Options(sym=args.sym, targetres=args.targetres, maxshift=args.maxshift), grid, args.models
    )
    radius = args.radius or RADIUS_SHARE * grid.length
    per_node = min(args.per_node or args.ranks, args.ranks)
    job = Job(
        args.particles,
        grid,
        chosen.symmetries,
        radius,
        chosen.targetres,
        chosen.maxshift,
        args.ranks,
        per_node,
        block_mb=args.block_mb,
        lowmem=args.lowmem,
    )
    profile = None
    if args.machine:
        profile = Machine.read(args.machine)
    logs.say(describe_plan(job, profile))
    return 0
