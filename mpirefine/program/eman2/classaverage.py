"""The command `classaverage`: average the particles of each class, as e2classaverage does."""

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
from mpirefine.program.validation import check_share
from mpirefine.steps.eman2.class_averages import ClassResult, Membership, ParticleSet, average_classes
from mpirefine.steps.eman2.stacks import class_results, gather_class_averages
from mpirefine.steps.eman2.views import Projections
from mpirefine.storage.images import check_writable


def make_class_averages(args: argparse.Namespace, team: Team) -> None:
    """Collective. Write class averages to --output; InputError or ParameterError for files or options it cannot use."""
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
        averages = average_classes(
            team, members, ParticleSet(particles, twins), Projections(orientations, images), rounds, bar.update
        )
    write_averages(team, averages, args, planes, Projections(orientations, images), particles.apix)


def prepare_classaverage(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, Orientations, Rounds]:
    """On rank 0. Read the classification matrix (plane, p, column) and the projections, and build the components.

    InputError or ParameterError for files or options that cannot be used.
    """
    for name in (args.output, *([args.resultmx] if args.resultmx else [])):
        check_writable(name, headers=True)
    if args.iter < 0:
        raise ParameterError(f"--iter {args.iter}: must be 0 or more")
    check_share("--keep", args.keep, args.keepsig)
    planes = support.read_matrix(args.classmx, 1)
    images, orientations, _ = support.read_projections(args.ref)
    fractions = planes[0][planes[0] != np.rint(planes[0])]
    if len(fractions):
        raise InputError(
            f"{args.classmx}: class {fractions[0]:g} is no whole number: give the matrix that 'classify' writes"
        )
    highest = int(planes[0].max(initial=-1))
    if highest >= len(images):
        raise InputError(f"{args.classmx}: class {highest} (from 0), but {args.ref} holds {len(images)} projections")
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


def write_averages(
    team: Team,
    averages: list[ClassResult],
    args: argparse.Namespace,
    planes: np.ndarray,
    views: Projections,
    apix: float,
) -> None:
    """Collective. Write the averages, and with --resultmx the matrix of their poses. RankFailure on a full disk."""
    stack = gather_class_averages(team, averages, args.input, args.ref, views.orientations, views.images.shape[-1])
    support.write_from_root(team, args.output, stack[0] if stack else None, apix, stack[1] if stack else None)
    if stack:
        filled = sum(header["ptcl_repr"] != 0 for header in stack[1])
        logs.say(f"{filled} class averages for {len(stack[1])} projections in {args.output}")
    if args.resultmx:
        support.write_from_root(team, args.resultmx, class_results(team, averages, planes), 1.0)
