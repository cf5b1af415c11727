"""Average the particles of each class, with rounds of alignment, as e2classaverage does."""

from __future__ import annotations

import argparse

from mpirefine.distribution.team import Team
from mpirefine.program.eman2 import support
from mpirefine.program.eman2.classaverage import make_class_averages


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare files, rounds and components."""
    add = parser.add_argument
    add("--input", required=True, help="particle file: STAR, list, or stack")
    add("--classmx", required=True, help="classification matrix, made by 'classify'")
    add("--ref", required=True, help="stack of projections")
    add("--output", default="classes.hdf", help="output file of class averages (default classes.hdf)")
    add("--resultmx", help="output file of final poses, with weight 0 for particles that were left out")
    add("--usefilt", help="filtered particles for the alignment; those of --input are averaged")
    add("--iter", type=int, default=1, help="rounds; 0: align to the reference only (default 1)")
    add(
        "--keep",
        type=float,
        default=1.0,
        help="share of the particles that is kept; with --keepsig standard deviations (default 1)",
    )
    add("--keepsig", action="store_true", help="--keep counts standard deviations")
    add("--averager", default="mean", help="see 'help averagers' (default mean)")
    add(
        "--normproc",
        default="normalize.edgemean",
        help="processor of each particle (default normalize.edgemean), or none",
    )
    add("--setsfref", action="store_true", help="give averages the structure factor of their reference")
    add("--automask", action="store_true", help="mask the average between rounds with its own density")
    add(
        "--prefilt",
        action="store_true",
        help="before aligning, match the power spectrum of the reference to each particle's",
    )
    add("--decayedge", action="store_true", help="let averages fall off to 0 at the edge of the box")
    add("--even", action="store_true", help="average only particles of even number, from 0")
    add("--odd", action="store_true", help="average only particles of odd number, from 0")
    add("--resample", action="store_true", help="draw as many particles of each class anew, with repetition (--seed)")
    add("--seed", type=int, default=0, help="number that sets the draws of --resample (default 0)")
    add("--oneclass", type=int, help="average only this class, from 0; the output holds one image")
    add("--focused", help="stack like --ref, which --ralign aligns to instead")
    add("--apix", type=float, help="Å per pixel, instead of the value in the particle file")
    support.add_matching(parser)
    support.add_idle(parser, "storebad", "bootstrap", "idxcache", "dbpath")


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective. InputError or ParameterError for files or options that cannot be used."""
    make_class_averages(args, team)
    return 0
