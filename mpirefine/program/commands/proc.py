"""Apply processors to maps or stacks, one after the other, as e2proc3d and e2proc2d do.

Without processors it converts from one file format to another.
"""

from __future__ import annotations

import argparse

from mpirefine.distribution.team import Team
from mpirefine.program.eman2.proc import process_images


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare files and processors."""
    add = parser.add_argument
    add("input", help="map or stack: MRC, HDF, or list")
    add("output", help="output map or stack: .mrc, .mrcs, .hdf")
    add(
        "--process",
        action="append",
        default=[],
        metavar="NAME:KEY=VALUE",
        help="a processor, see 'help processors'; can be given more than once",
    )
    add("--apix", type=float, help="Å per pixel, instead of the value in the input")
    add("--first", type=int, default=0, help="first image, counted from 0 (default 0)")
    add("--last", type=int, help="last image, counted from 0 (default: the last in the file)")
    add("--clip", type=int, help="cut or pad to this box at the end, px")


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective. InputError or ParameterError for files or options that cannot be used."""
    process_images(args, team)
    return 0
