"""Reconstruct a map from class averages: what e2make3d does; averages that disagree with the map are left out after the
first pass.
"""

from __future__ import annotations

import argparse

from mpirefine.distribution.team import Team
from mpirefine.program.eman2.make3d import make_map_of_averages


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Files and reconstruction."""
    add = parser.add_argument
    add("--input", required=True, help="class averages (.hdf) with their views in the headers")
    add("--output", default="threed.hdf", help="map that is written (default threed.hdf)")
    add("--sym", default="c1", help="symmetry (default c1)")
    add("--iter", type=int, default=2, help="passes; 1: nothing is left out (default 2)")
    add(
        "--keep",
        type=float,
        default=1.0,
        help="share of the averages that is kept, or with --keepsig how many sigma (default 1)",
    )
    add("--keepsig", action="store_true", help="--keep counts standard deviations")
    add("--recon", default="fourier", help="see 'help reconstructors' (default fourier)")
    add("--pad", type=int, default=0, help="box in which the map is made (default: the images')")
    add("--outsize", type=int, help="box of the map (default: the images')")
    add(
        "--preprocess",
        default="normalize.edgemean",
        help="processor of each average, or none (default normalize.edgemean)",
    )
    add("--postprocess", help="processor of the map (default: none)")
    add("--setsf", help="structure factor file: two columns, 1/Å and intensity")
    add("--input_model", type=int, help="only averages with this model_id (from 1)")
    add("--no_wt", action="store_true", help="all averages count alike, however many particles they hold")
    add("--apix", type=float, help="Å per pixel, instead of what the averages say")


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective."""
    make_map_of_averages(args, team)
    return 0
