"""Project maps over their asymmetric units, as e2project3d does.

Writes the projections of all maps to one stack, with view and map in each header.
"""

from __future__ import annotations

import argparse

from mpirefine.distribution.team import Team
from mpirefine.program.eman2 import support
from mpirefine.program.eman2.project import project_maps_to_stack


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare files and components."""
    parser.add_argument("maps", nargs="+", help="maps (MRC or HDF), all of one box")
    parser.add_argument(
        "--outfile", "--output", default="projections.hdf", help="output stack (default projections.hdf)"
    )
    parser.add_argument(
        "--orientgen",
        default="eman:delta=5",
        help="orientation generator, see 'help orientgens' (default eman:delta=5)",
    )
    parser.add_argument("--sym", default="c1", help="symmetry, one for all maps or one each (default c1)")
    parser.add_argument("--projector", default="standard", help="projector, see 'help projectors' (default standard)")
    parser.add_argument(
        "--postprocess",
        action="append",
        default=[],
        metavar="NAME:KEY=VALUE",
        help="processor of each projection, such as normalize.circlemean; can be given more than once (default: none)",
    )
    parser.add_argument(
        "--prethreshold",
        action="store_true",
        help="before projecting, zero voxels below half the standard deviation of the map's nonzero voxels",
    )
    parser.add_argument("--apix", type=float, help="Å per voxel, instead of the value in the first map")
    support.add_idle(parser)


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective. InputError or ParameterError for files or options that cannot be used."""
    project_maps_to_stack(args, team)
    return 0
