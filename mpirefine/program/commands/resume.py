"""Take an interrupted refinement up again from its last whole iteration (or its start), on any number of ranks."""

from __future__ import annotations

import argparse
from pathlib import Path

from mpirefine.distribution.team import Team
from mpirefine.program import run
from mpirefine.program.options import add_to

CHANGEABLE = ("iter", "threads", "lowmem", "patience", "verbose")


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """The folder, and the options that may change between start and resume."""
    parser.add_argument("folder", type=Path, help="folder of the run, like multi_01")
    add_to(parser, full=True, only=CHANGEABLE)


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective."""
    run.take_up(args.folder, team, {name: value for name, value in vars(args).items() if name != "folder"})
    return 0
