"""Project maps over their asymmetric units: what e2project3d does. All projections of all maps in one stack, with their
views and maps.
"""

from __future__ import annotations

import argparse

import numpy as np

from mpirefine.distribution.team import Team
from mpirefine.distribution.window import Window
from mpirefine.errors import InputError
from mpirefine.maths.geometry.symmetry import elements
from mpirefine.program import defaults, logs
from mpirefine.program.catalogue import build, build_optional
from mpirefine.program.eman2 import support
from mpirefine.program.launcher import check_launcher
from mpirefine.program.setup import read_maps
from mpirefine.steps.eman2.choices import Views
from mpirefine.steps.eman2.files import projection_headers
from mpirefine.steps.eman2.views import directions, project
from mpirefine.storage.images import check_writable


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


def main(args: argparse.Namespace) -> int:
    """Collective."""
    with Team.world() as team:
        check_launcher(team.size)
        logs.start(team.rank, team.size, 0)
        volumes, apix, symmetries, views = support.from_root(team, prepare, args)
        orientations = team.from_root(directions, views, symmetries)
        nx = volumes.shape[-1]
        with Window(team, (len(orientations), nx, nx), np.float32) as window:
            made = project(team, window, orientations, volumes, views, apix)
            support.write(
                team,
                args.outfile,
                list(made.images) if team.is_root else None,
                apix,
                projection_headers(orientations, args.maps),
            )
        logs.say(f"{len(orientations)} projections of {len(volumes)} maps in {args.outfile}")
    return 0


def prepare(args: argparse.Namespace) -> tuple[np.ndarray, float, tuple[str, ...], Views]:
    """On rank 0. Maps (m, z, y, x), Å per voxel, symmetries, and how to project."""
    check_writable(args.outfile, headers=True)
    problems: list[str] = []
    maps, apix, names = read_maps(",".join(args.maps), problems)
    if len({len(volume) for volume in maps}) > 1:
        problems.append(
            "maps of different boxes: " + ", ".join(f"{name} {len(volume)}" for name, volume in zip(names, maps))
        )
    if problems:
        raise InputError(*problems)
    symmetries = tuple(name.lower() for name in defaults.per_model(args.sym, len(maps), "--sym"))
    for name in symmetries:
        elements(name)  # a helix has views too
    views = Views(
        build("projectors", args.projector),
        build("orientgens", args.orientgen),
        args.prethreshold,
        postprocess=build_optional("processors", args.postprocess),
    )
    return np.stack(maps), args.apix or apix[0] or 1.0, symmetries, views
