"""The command `classaverage`: average the particles of each class, as e2classaverage does."""

from __future__ import annotations

import argparse

import numpy as np

from mpirefine.data.partition import Block
from mpirefine.data.poses import Orientations
from mpirefine.distribution.team import Team
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.eman2.class_averaging import Rounds
from mpirefine.program import logs
from mpirefine.program.catalogue import build, build_optional
from mpirefine.program.eman2 import support
from mpirefine.program.validation import check_share
from mpirefine.steps.eman2.class_averages import ClassResult, Membership, ParticleSet, average_classes
from mpirefine.steps.eman2.scores import FlippedParticles
from mpirefine.steps.eman2.stacks import class_results, gather_class_averages
from mpirefine.steps.eman2.views import Projections
from mpirefine.storage.images import check_writable

NO_CLASS = -1  # in a matrix of classes


def make_class_averages(args: argparse.Namespace, team: Team) -> None:
    """Collective. Write class averages to --output; InputError or ParameterError for files or options it cannot use."""
    logs.set_up(team.rank, team.size, 1)
    support.tell_idle(args)
    planes, images, orientations, rounds, focused = support.prepare_on_root(team, prepare_classaverage, args)
    particles, partition = support.read_flipped(team, args.input, args.apix, images.shape[-1])
    twins = support.read_flipped(team, args.usefilt, args.apix, images.shape[-1])[0] if args.usefilt else None
    with team.together("reading the matrix"):
        if planes.shape[1] != partition.n:
            raise InputError(f"{args.classmx}: {planes.shape[1]} rows for {partition.n} particles of {args.input}")
    members = own_members(args, planes, particles, partition[team.rank])
    projections = Projections(orientations, images, focused)
    with logs.progress(len(images), "averaging") as bar:
        averages = average_classes(team, members, ParticleSet(particles, twins), projections, rounds, bar.update)
    write_averages(team, averages, args, planes, projections, particles.apix)


def own_members(args: argparse.Namespace, planes: np.ndarray, particles: FlippedParticles, block: Block) -> Membership:
    """Which own particles are averaged in which class: by the matrix, --even, --odd, --oneclass and --resample."""
    classes = np.rint(planes[0]).astype(int)
    if args.even or args.odd:
        classes = np.where((np.arange(len(classes)) % 2 == int(args.odd))[:, None], classes, NO_CLASS)
    if args.oneclass is not None:
        classes = np.where(classes == args.oneclass, classes, NO_CLASS)
    members = Membership.of(
        classes[block.as_slice],
        ~particles.particles.set_aside,
        block.start,
        particles.particles.table.half,
    )
    return members.repeated(times_drawn(classes, args.seed)) if args.resample else members


def times_drawn(classes: np.ndarray, seed: int) -> dict[tuple[int, int], int]:
    """How often each particle of each class, (row, class), is drawn of as many draws as the class has particles.

    The same on every rank; the draws of a class depend on its number and the seed.
    """
    drawn: dict[tuple[int, int], int] = {}
    for number in np.unique(classes[classes >= 0]):
        rows = np.flatnonzero((classes == number).any(axis=1))
        chosen, counts = np.unique(np.random.default_rng([seed, number]).choice(rows, len(rows)), return_counts=True)
        drawn.update({(int(row), int(number)): int(count) for row, count in zip(chosen, counts)})
    return drawn


def prepare_classaverage(
    args: argparse.Namespace,
) -> tuple[np.ndarray, np.ndarray, Orientations, Rounds, np.ndarray | None]:
    """On rank 0. Read the classification matrix (plane, p, column) and the stacks of --ref and --focused, and build the
    components.

    InputError or ParameterError for files or options that cannot be used.
    """
    for name in (args.output, *([args.resultmx] if args.resultmx else [])):
        check_writable(name, headers=True)
    if args.iter < 0:
        raise ParameterError(f"--iter {args.iter}: must be 0 or more")
    check_share("--keep", args.keep, args.keepsig)
    if args.even and args.odd:
        raise ParameterError("--even and --odd exclude each other")
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
    if args.oneclass is not None and not 0 <= args.oneclass < len(images):
        raise ParameterError(f"--oneclass {args.oneclass}: {args.ref} holds classes 0 to {len(images) - 1}")
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
        args.decayedge,
    )
    return planes, images, orientations, rounds, focused_images(args, images)


def focused_images(args: argparse.Namespace, images: np.ndarray) -> np.ndarray | None:
    """On rank 0. The images of --focused; InputError when they are not like the projections, ParameterError without
    --ralign.
    """
    if not args.focused:
        return None
    if not args.ralign:
        raise ParameterError("--focused is what --ralign aligns to: give --ralign refine")
    focused, _, _ = support.read_projections(args.focused)
    if focused.shape != images.shape:
        sizes = " and ".join(" x ".join(map(str, stack.shape)) for stack in (focused, images))
        raise InputError(f"--focused {args.focused}: not like the projections of --ref: {sizes}")
    return focused


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
    if stack and args.oneclass is not None:
        stack = [stack[0][args.oneclass]], [stack[1][args.oneclass]]
    support.write_from_root(team, args.output, stack[0] if stack else None, apix, stack[1] if stack else None)
    if stack:
        filled = sum(header["ptcl_repr"] != 0 for header in stack[1])
        logs.say(f"{filled} class averages for {len(stack[1])} projections in {args.output}")
    if args.resultmx:
        support.write_from_root(team, args.resultmx, class_results(team, averages, planes), 1.0)
