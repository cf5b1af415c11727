"""Class averages, as e2classaverage makes them."""

from __future__ import annotations

import argparse

import numpy as np

from mpirefine.data.poses import Orientations
from mpirefine.distribution.team import Team
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.eman2.class_averaging import Rounds
from mpirefine.program import logs
from mpirefine.program.catalogue import build, build_optional
from mpirefine.program.eman2 import support
from mpirefine.steps.eman2.class_averages import ClassResult, Membership, ParticleSet, average_classes
from mpirefine.steps.eman2.stacks import class_results, gather_class_averages
from mpirefine.steps.eman2.views import Projections
from mpirefine.storage.images import check_writable


def make_class_averages(args: argparse.Namespace, team: Team) -> None:
    """Collective. What the command of the same name does; InputError or ParameterError for what it cannot use."""
    logs.set_up(team.rank, team.size, 1)
    planes, images, orientations, rounds = support.prepare_on_root(team, prepare_classaverage, args)
    particles, partition = support.read_flipped(team, args.input, args.apix, images.shape[-1])
    twins = support.read_flipped(team, args.usefilt, args.apix, images.shape[-1])[0] if args.usefilt else None
    with team.together("reading the matrix"):
        if planes.shape[1] != partition.n:
            raise InputError(f"{args.classmx}: {planes.shape[1]} rows for {partition.n} particles of {args.input}")
    block = partition[team.rank]
    members = Membership.of(
        np.rint(planes[0][block.as_slice]).astype(int),
        ~particles.particles.set_aside,
        block.start,
        particles.particles.table.half,
    )
    with logs.progress(len(images), "averaging") as bar:
        found = average_classes(
            team, members, ParticleSet(particles, twins), Projections(orientations, images), rounds, bar.update
        )
    collect(team, found, args, planes, Projections(orientations, images), particles.apix)


def prepare_classaverage(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, Orientations, Rounds]:
    """On rank 0. The matrix, the references, and how to average.

    InputError or ParameterError for what cannot be used.
    """
    for name in (args.output, *([args.resultmx] if args.resultmx else [])):
        check_writable(name, headers=True)
    if args.iter < 0:
        raise ParameterError(f"--iter {args.iter}: must be 0 or more")
    support.check_share("keep", args.keep, args.keepsig)
    planes = support.read_matrix(args.classmx, 1)
    images, orientations, _ = support.read_projections(args.ref)
    odd = planes[0][planes[0] != np.rint(planes[0])]
    if len(odd):
        raise InputError(
            f"{args.classmx}: class {odd[0]:g} is no whole number: is this the matrix that 'classify' writes?"
        )
    highest = int(planes[0].max(initial=-1))
    if highest >= len(images):
        raise InputError(
            f"{args.classmx}: class {highest}, but {args.ref} holds {len(images)} projections (counted from 0)"
        )
    rounds = Rounds(
        support.components_of(args),
        build("averagers", args.averager),
        args.iter,
        args.keep,
        args.keepsig,
        build_optional("processors", args.normproc),
        args.automask,
        args.setsfref,
        args.prefilt,
    )
    return planes, images, orientations, rounds


def collect(
    team: Team, found: list[ClassResult], args: argparse.Namespace, planes: np.ndarray, views: Projections, apix: float
) -> None:
    """Collective. Write averages and, if asked for, the matrix of results."""
    made = gather_class_averages(team, found, args.input, args.ref, views.orientations, views.images.shape[-1])
    support.write_from_root(team, args.output, made[0] if made else None, apix, made[1] if made else None)
    if made:
        filled = sum(header["ptcl_repr"] != 0 for header in made[1])
        logs.say(f"{filled} class averages of {len(made[1])} projections in {args.output}")
    if args.resultmx:
        support.write_from_root(team, args.resultmx, class_results(team, found, planes), 1.0)
