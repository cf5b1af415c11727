"""The command `project`: project maps over their asymmetric units, as e2project3d does."""

from __future__ import annotations

import argparse

import numpy as np

from mpirefine.distribution.team import Team
from mpirefine.distribution.window import Window
from mpirefine.errors import Problems
from mpirefine.maths.geometry.symmetry import elements
from mpirefine.program import logs
from mpirefine.program.catalogue import build
from mpirefine.program.eman2 import support
from mpirefine.program.start import defaults
from mpirefine.program.start.inputs import read_maps
from mpirefine.steps.eman2.choices import Views
from mpirefine.steps.eman2.stacks import projection_headers
from mpirefine.steps.eman2.views import generate_views, project
from mpirefine.storage.images import check_writable


def project_maps_to_stack(args: argparse.Namespace, team: Team) -> None:
    """Collective. Write projections to --outfile; InputError or ParameterError for files or options it cannot use."""
    logs.set_up(team.rank, team.size, 0)
    support.tell_idle(args)
    volumes, apix, symmetries, views = support.prepare_on_root(team, prepare_project, args)
    orientations = team.from_root(generate_views, views, symmetries)
    nx = volumes.shape[-1]
    with Window(team, (len(orientations), nx, nx), np.float32) as window:
        projections = project(team, window, orientations, volumes, views, apix)
        support.write_from_root(
            team,
            args.outfile,
            list(projections.images) if team.is_root else None,
            apix,
            projection_headers(orientations, args.maps),
        )
    logs.say(f"{len(orientations)} projections of {len(volumes)} maps in {args.outfile}")


def prepare_project(args: argparse.Namespace) -> tuple[np.ndarray, float, tuple[str, ...], Views]:
    """On rank 0. Maps (mzyx), Å per voxel, their symmetries, and the components that project them.

    InputError or ParameterError for files or options that cannot be used.
    """
    check_writable(args.outfile, headers=True)
    problems = Problems()
    maps, apix, names = read_maps(",".join(args.maps), problems)
    if len({len(volume) for volume in maps}) > 1:
        problems.add(
            "maps of different boxes: " + ", ".join(f"{name} {len(volume)}" for name, volume in zip(names, maps))
        )
    problems.raise_if_any()
    symmetries = tuple(name.lower() for name in defaults.per_model(args.sym, len(maps), "--sym"))
    for name in symmetries:
        elements(name)  # refuses unknown symmetries, but not a helix: it has views too
    views = Views(
        build("projectors", args.projector),
        build("orientgens", args.orientgen),
        args.prethreshold,
        postprocess=support.build_several("processors", args.postprocess),
    )
    return np.stack(maps), args.apix or apix[0] or 1.0, symmetries, views
