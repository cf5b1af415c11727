"""Apply processors to maps or stacks, one after the other: what e2proc3d and e2proc2d do; also a way from one format to
another.
"""

from __future__ import annotations

import argparse

from mpirefine.distribution.team import Team
from mpirefine.program.eman2.proc import process_images


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Files and processors."""
    add = parser.add_argument
    add("input", help="map or stack: MRC, HDF, or list")
    add("output", help="map or stack that is written: .mrc, .mrcs, .hdf")
    add(
        "--process",
        action="append",
        default=[],
        metavar="NAME:KEY=VALUE",
        help="a processor, see 'help processors'; may be given several times",
    )
    add("--apix", type=float, help="Å per pixel, instead of what the input says")
    add("--first", type=int, default=0, help="first image (from 0)")
    add("--last", type=int, help="last image")
    add("--clip", type=int, help="cut or pad to this box at the end")


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective."""
    process_images(args, team)
    return 0
