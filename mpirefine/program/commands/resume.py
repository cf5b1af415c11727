"""Continue an interrupted refinement from its last complete iteration, on any number of ranks."""

from __future__ import annotations

import argparse
from pathlib import Path

from mpirefine.distribution.team import Team
from mpirefine.program import run
from mpirefine.program.options import add_to

CHANGEABLE = ("iter", "threads", "lowmem", "scratch", "patience", "verbose")


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare the folder, and the options that may change between start and resume."""
    parser.add_argument("folder", type=Path, help="folder of the run, such as multi_01")
    add_to(parser, full=True, only=CHANGEABLE)


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective. InputError when the folder holds no run, or when an input file has changed."""
    run.resume(args.folder, team, {name: value for name, value in vars(args).items() if name != "folder"})
    return 0
