"""Average the particles of each class: what e2classaverage does, with its rounds of alignment."""

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
from mpirefine.program.launcher import check_launcher
from mpirefine.steps.eman2.class_averages import Membership, OneClass, average_classes
from mpirefine.steps.eman2.files import results, stack_of
from mpirefine.steps.eman2.views import Projections
from mpirefine.storage.images import check_writable


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


def main(args: argparse.Namespace) -> int:
    """Collective."""
    with Team.world() as team:
        check_launcher(team.size)
        logs.start(team.rank, team.size, 1)
        planes, images, orientations, rounds = support.from_root(team, prepare, args)
        particles, partition = support.own_particles(team, args.input, args.apix, images.shape[-1])
        twins = support.own_particles(team, args.usefilt, args.apix, images.shape[-1])[0] if args.usefilt else None
        with team.together("reading the matrix"):
            if planes.shape[1] != partition.n:
                raise InputError(f"{args.classmx}: {planes.shape[1]} rows for {partition.n} particles of {args.input}")
        block = partition[team.rank]
        members = Membership.of(
            np.rint(planes[0][block.as_slice]).astype(int), ~particles.particles.set_aside, block.start
        )
        with logs.progress(len(images), "averaging") as bar:
            found = average_classes(
                team, members, particles, twins, Projections(orientations, images), rounds, bar.update
            )
        collect(team, found, args, planes, Projections(orientations, images), particles.apix)
    return 0


def prepare(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, Orientations, Rounds]:
    """On rank 0. The matrix, the references, and how to average."""
    for name in (args.output, *([args.resultmx] if args.resultmx else [])):
        check_writable(name, headers=True)
    if args.iter < 0:
        raise ParameterError(f"--iter {args.iter}: must be 0 or more")
    support.share("keep", args.keep, args.keepsig)
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
        support.matching(args),
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
    team: Team, found: list[OneClass], args: argparse.Namespace, planes: np.ndarray, views: Projections, apix: float
) -> None:
    """Collective. Write averages and, if asked for, the matrix of results."""
    made = stack_of(team, found, args.input, args.ref, views.orientations, views.images.shape[-1])
    support.write(team, args.output, made[0] if made else None, apix, made[1] if made else None)
    if made:
        filled = sum(header["ptcl_repr"] > 0 for header in made[1])
        logs.say(f"{filled} class averages of {len(made[1])} projections in {args.output}")
    if args.resultmx:
        support.write(team, args.resultmx, results(team, found, planes), 1.0)
