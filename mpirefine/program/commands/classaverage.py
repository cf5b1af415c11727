"""Average the particles of each class: what e2classaverage does, with its rounds of alignment."""

from __future__ import annotations

import argparse

from mpirefine.distribution.team import Team
from mpirefine.program.eman2 import support
from mpirefine.program.eman2.classaverage import make_class_averages


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Files and rounds."""
    add = parser.add_argument
    add("--input", required=True, help="particle file: STAR, list, or stack")
    add("--classmx", required=True, help="classification matrix, of 'classify'")
    add("--ref", required=True, help="stack of projections")
    add("--output", default="classes.hdf", help="class averages that are written (default classes.hdf)")
    add("--resultmx", help="matrix of final poses that is written, with 0 for particles that were left out")
    add("--usefilt", help="filtered twins of the particles, for alignment")
    add("--iter", type=int, default=1, help="rounds; 0: align to the reference only (default 1)")
    add("--keep", type=float, default=1.0, help="share that is kept, or with --keepsig how many sigma (default 1)")
    add("--keepsig", action="store_true", help="--keep counts standard deviations")
    add("--averager", default="mean", help="see 'help averagers' (default mean)")
    add(
        "--normproc",
        default="normalize.edgemean",
        help="processor of each particle (default normalize.edgemean), or none",
    )
    add("--setsfref", action="store_true", help="give averages the structure factor of their reference")
    add("--automask", action="store_true", help="mask the average between rounds by its own density")
    add(
        "--prefilt",
        action="store_true",
        help="match the power spectrum of what particles are aligned to to each particle's first",
    )
    add("--apix", type=float, help="Å per pixel, instead of what the particles say")
    support.add_matching(parser)


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective."""
    make_class_averages(args, team)
    return 0
