"""Find the best references of each particle in a similarity matrix, as e2classify does."""

from __future__ import annotations

import argparse

from mpirefine.program.eman2 import support
from mpirefine.program.eman2.classify import classify_particles
from mpirefine.program.launcher import launched_rank


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare files and --sep."""
    parser.add_argument("simmx", help="similarity matrix, made by 'simmx'")
    parser.add_argument(
        "output", help="output classification matrix (.hdf): class, weight, dx, dy, dalpha, mirror, scale"
    )
    parser.add_argument("--sep", type=int, default=1, help="references that each particle is assigned to (default 1)")
    parser.add_argument(
        "--simvec",
        action="store_true",
        help="classes by the pattern of a particle's scores, not by the best one",
    )
    parser.add_argument("--noalign", action="store_true", help="write class and weight only, without the poses")
    support.add_idle(parser)


def main(args: argparse.Namespace) -> int:
    """On the first rank, without MPI. InputError or ParameterError for files or options that cannot be used."""
    if launched_rank() == 0:
        support.tell_idle(args)
        classify_particles(args.simmx, args.output, args.sep, by_pattern=args.simvec, poses=not args.noalign)
    return 0
