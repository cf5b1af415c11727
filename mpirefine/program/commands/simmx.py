"""Score every particle against every reference, as e2simmx and e2simmx2stage do.

The poses move the particle onto the reference.
"""

from __future__ import annotations

import argparse

from mpirefine.distribution.team import Team
from mpirefine.program.eman2 import support
from mpirefine.program.eman2.simmx import make_similarity_matrix


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare files, components and the two searches."""
    parser.add_argument("references", help="stack of projections")
    parser.add_argument("particles", help="particle file: STAR, list, or stack")
    parser.add_argument("output", help="output matrix (.hdf): a column for each reference, a row for each particle")
    parser.add_argument("--saveali", action="store_true", help="also write dx, dy, dalpha, mirror and scale")
    support.add_matching(parser)
    add_partial(parser)
    parser.add_argument("--mask", help="image of 0 and 1 that both are multiplied by before the score")
    parser.add_argument(
        "--prefilt", action="store_true", help="first match each reference's power spectrum to the particle's"
    )
    parser.add_argument("--prectf", action="store_true", help="first multiply each reference by the particle's |CTF|")
    parser.add_argument(
        "--colmasks", help="stack with a mask for each reference, which --ralign multiplies the moved particle by"
    )
    parser.add_argument(
        "--shrink", type=float, default=1.0, help="factor by which particles and references are shrunk (default 1)"
    )
    parser.add_argument(
        "--twostage",
        type=float,
        default=0.0,
        help="first search all references at this shrink factor; 0: no first search (default 0)",
    )
    parser.add_argument(
        "--kept", type=int, default=32, help="references of a particle that the first search passes on (default 32)"
    )
    parser.add_argument("--apix", type=float, help="Å per pixel, instead of the value in the particle file")
    support.add_idle(parser)


def add_partial(parser: argparse.ArgumentParser) -> None:
    """Declare which cells of the matrix are calculated."""
    parser.add_argument(
        "--range",
        metavar="C0,R0,C1,R1",
        help="only references C0 to C1 - 1 and particles R0 to R1 - 1, from 0; other cells of an existing matrix stay",
    )
    parser.add_argument("--init", action="store_true", help="only write a matrix of zeros, to be filled by parts")
    parser.add_argument("--fillzero", action="store_true", help="only cells of the existing matrix that are exactly 0")
    parser.add_argument("--exclude", help="text file with particles (numbers, from 0) whose row stays 0")


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective. InputError or ParameterError for files or options that cannot be used."""
    make_similarity_matrix(args, team)
    return 0
