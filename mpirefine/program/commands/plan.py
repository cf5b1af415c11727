"""Say before a run what it will need: memory of a rank and of a node, blocks, messages, and seconds per iteration.
Needs no MPI and no data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mpirefine.data.grid import Grid
from mpirefine.errors import ParameterError
from mpirefine.program import defaults, logs
from mpirefine.program.options import Options

BASE_MB = 190.0  # of a rank before it holds anything, where no profile tells it
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
    """No MPI."""
    from mpirefine.program.performance.cost_model import Job

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
        chosen.options.targetres,
        chosen.options.maxshift,
        args.ranks,
        per_node,
        block_mb=args.block_mb,
        lowmem=args.lowmem,
    )
    profile = None
    if args.machine:
        from mpirefine.program.performance.benchmark import Machine

        profile = Machine.read(args.machine)
    logs.say("\n".join([*sizes(job), *memory(job, profile), *messages(job), *seconds(job, profile)]))
    return 0


def mb(count: float) -> str:
    """Bytes in MB or GB."""
    return f"{count / 2**20:,.1f} MB" if count < 2**30 else f"{count / 2**30:,.2f} GB"


def sizes(job) -> list[str]:
    """What the job consists of."""
    levels, (coarse, fine) = job.levels, job.references
    return [
        f"{job.particles} particles of {job.grid.nx} px, {job.grid.apix:g} Å/px, {len(job.symmetries)} maps, on "
        f"{job.ranks} ranks, "
        f"{job.per_node} per node",
        f"search      directions every {levels.coarse_delta:.2f}° then {levels.fine_delta:.2f}°: {coarse} then "
        f"{fine} projections; rings to "
        f"{job.grid.resolution(levels.fine_grid.n_rings):.1f} Å, {levels.fine_angles} in-plane angles",
        f"blocks      {job.own_particles} particles per rank, {job.classes_per_block} classes per block of sums",
    ]


def memory(job, profile) -> list[str]:
    """Bytes per rank and node."""
    found = job.memory(profile.base_mb if profile else BASE_MB)
    parts = ", ".join(f"{name} {mb(size)}" for name, size in found.private.items() if size)
    return [
        f"memory      {mb(found.rank + found.shared)} seen by a rank: {mb(found.rank)} its own ({parts})",
        f"            and {mb(found.shared)} of references, once per node: {mb(found.node)} per node",
    ]


def messages(job) -> list[str]:
    """Bytes between ranks."""
    sent = job.bytes_sent()
    total = sum(sent.values())
    return [
        f"messages    {mb(total)} per iteration over all ranks, {mb(total / job.ranks)} per rank: "
        + ", ".join(f"{name} {mb(size)}" for name, size in sent.items())
        + "; class sums in pieces of 4 MB"
    ]


def seconds(job, profile) -> list[str]:
    """Seconds per iteration, when a profile is given."""
    if profile is None:
        return [
            "seconds     give --machine profile.json, made by 'mpirun -n N python -m mpirefine bench --out "
            "profile.json'"
        ]
    steps = {name: amount * profile.seconds_per_unit[name] for name, amount in job.work().items()}
    if job.ranks > 1 and profile.allreduce_gb_s:
        steps["Allreduce"] = job.bytes_sent()["average"] / job.ranks / 1e9 / profile.allreduce_gb_s
    return [
        f"seconds     {sum(steps.values()):.1f} per iteration: "
        + ", ".join(f"{name} {value:.1f}" for name, value in steps.items())
    ]
