"""Reconstruct a map from class averages, as e2make3d does.

Averages that disagree with the map of the first pass are left out of the later ones.
"""

from __future__ import annotations

import argparse
from typing import Any

from mpirefine.distribution.team import Team
from mpirefine.program.eman2 import support
from mpirefine.program.eman2.make3d import make_map_of_averages


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare files and components of the reconstruction."""
    add = parser.add_argument
    add("--input", required=True, help="class averages (.hdf) with their views in the headers")
    add("--output", default="threed.hdf", help="output map (default threed.hdf)")
    add("--sym", default="c1", help="symmetry (default c1)")
    add(
        "--helical-z",
        type=float,
        default=0.3,
        help="central share of a helical map's height, from which its symmetry is imposed; 0: it is not (default 0.3)",
    )
    add("--iter", type=int, default=2, help="passes; 1: nothing is left out (default 2)")
    add(
        "--keep",
        type=float,
        default=1.0,
        help="share of the averages that is kept; with --keepsig standard deviations (default 1)",
    )
    add("--keepsig", action="store_true", help="--keep counts standard deviations")
    add("--keepabs", action="store_true", help="--keep counts qualities as they are, not relative to similar averages")
    add("--recon", default="fourier", help="see 'help reconstructors' (default fourier)")
    box = support.box_size
    add("--pad", type=box, default=0, help="box that averages are padded to, px (default: that of the images)")
    add("--padvol", type=box, default=0, help="box of the reconstruction, px (default: that of the padded images)")
    add("--outsize", type=box, help="box of the output map, px (default: that of the images)")
    add("--start", metavar="MAP", help="map that is in the reconstruction before the averages are inserted")
    add("--startweight", type=float, default=1.0, help="weight of --start at each Fourier coefficient (default 1)")
    several: dict[str, Any] = {"action": "append", "metavar": "NAME:KEY=VALUE"}
    add(
        "--preprocess",
        **several,
        help="processor of each average, or none; can be given more than once (default normalize.edgemean)",
    )
    add("--postprocess", **several, default=[], help="processor of the map; can be given more than once")
    add("--setsf", help="structure factor file: two columns, 1/Å and intensity; auto: strucfac.txt; or none")
    add("--input_model", type=int, help="only averages with this model_id (from 1)")
    add("--no_wt", action="store_true", help="give all averages the same weight, instead of their number of particles")
    add("--apix", type=float, help="Å per pixel, instead of the value in the file of averages")
    support.add_idle(parser, "lowmem")


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective. InputError or ParameterError for files or options that cannot be used."""
    make_map_of_averages(args, team)
    return 0
