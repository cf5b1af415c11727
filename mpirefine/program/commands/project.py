"""Project maps over their asymmetric units: what e2project3d does. All projections of all maps in one stack, with their
views and maps.
"""

from __future__ import annotations

import argparse

from mpirefine.distribution.team import Team
from mpirefine.program.eman2.project import project_maps_to_stack


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Maps, views, projector."""
    parser.add_argument("maps", nargs="+", help="maps (MRC or HDF), all of one box")
    parser.add_argument(
        "--outfile", "--output", default="projections.hdf", help="stack that is written (default projections.hdf)"
    )
    parser.add_argument(
        "--orientgen",
        default="eman:delta=5",
        help="orientation generator, see 'help orientgens' (default eman:delta=5)",
    )
    parser.add_argument("--sym", default="c1", help="symmetry, one for all maps or one each (default c1)")
    parser.add_argument("--projector", default="standard", help="projector, see 'help projectors' (default standard)")
    parser.add_argument("--postprocess", help="processor of each projection, like normalize.circlemean (default: none)")
    parser.add_argument(
        "--prethreshold",
        action="store_true",
        help="zero what is below half the sigma of the map's nonzero voxels, before",
    )
    parser.add_argument("--apix", type=float, help="Å per voxel, instead of what the first map says")


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective."""
    project_maps_to_stack(args, team)
    return 0
