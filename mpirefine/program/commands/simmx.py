"""Score every particle against every reference: what e2simmx and e2simmx2stage do. The poses take the particle onto the
reference.
"""

from __future__ import annotations

import argparse

import numpy as np

from mpirefine.distribution.team import Team
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.eman2.similarity import FAILED, ReferenceStack, Search
from mpirefine.program import logs
from mpirefine.program.catalogue import load
from mpirefine.program.eman2 import support
from mpirefine.program.launcher import check_launcher
from mpirefine.steps.eman2.scores import score_rows
from mpirefine.storage.images import check_writable


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Files, components, samplings."""
    parser.add_argument("references", help="stack of projections")
    parser.add_argument("particles", help="particle file: STAR, list, or stack")
    parser.add_argument(
        "output", help="matrix that is written (.hdf): a column for each reference, a row for each particle"
    )
    parser.add_argument("--saveali", action="store_true", help="also write dx, dy, dalpha, mirror and scale")
    support.add_matching(parser)
    parser.add_argument("--mask", help="0/1 image, multiplied in before the score")
    parser.add_argument(
        "--prefilt", action="store_true", help="match each reference's power spectrum to the particle's first"
    )
    parser.add_argument("--shrink", type=float, default=1.0, help="factor by which both are shrunk (default 1)")
    parser.add_argument(
        "--twostage",
        type=float,
        default=0.0,
        help="search all references at this shrink factor first; 0: no such search",
    )
    parser.add_argument(
        "--kept", type=int, default=32, help="references of a particle that the first search leaves (default 32)"
    )
    parser.add_argument("--apix", type=float, help="Å per pixel, instead of what the particles say")


def main(args: argparse.Namespace) -> int:
    """Collective."""
    with Team.world() as team:
        check_launcher(team.size)
        logs.start(team.rank, team.size, 1)
        images, search = support.from_root(team, prepare, args)
        particles, partition = support.own_particles(team, args.particles, args.apix, images.shape[-1])
        count = partition[team.rank].size
        score = np.full((count, len(images)), FAILED, np.float32)
        poses = [np.zeros((count, len(images)), np.float32) for _ in range(5 if args.saveali else 0)]
        references = ReferenceStack(images, search)
        with logs.progress(count, "scoring") as bar, team.together("scoring"):
            for row, found in score_rows(particles, np.arange(count), references, images.shape[-1], bar.update):
                one = found.alignment
                score[row] = np.where(np.isfinite(found.score), found.score, FAILED)
                for plane, values in zip(poses, (one.tx, one.ty, one.alpha, one.mirror, one.scale)):
                    plane[row] = values
        planes = support.gathered(team, [score, *poses], partition)
        header = {"projection_file": args.references, "particle_file": args.particles}
        support.write(team, args.output, planes, 1.0, [header] * len(planes) if planes else None)
        logs.say(f"{partition.n} particles against {len(images)} references in {args.output}")
    return 0


def prepare(args: argparse.Namespace) -> tuple[np.ndarray, Search]:
    """On rank 0. The references, and how to score."""
    check_writable(args.output, headers=True)
    for name in ("shrink", "kept"):
        support.positive(name, getattr(args, name))
    if args.twostage < 0:
        raise ParameterError(f"--twostage {args.twostage:g}: must be 0 or more")
    images, _, _ = support.read_projections(args.references)
    mask = load(args.mask) if args.mask else None
    if mask is not None and mask.shape != images.shape[1:]:
        raise InputError(
            f"--mask {args.mask}: {' x '.join(map(str, mask.shape[::-1]))} pixels, the references have "
            f"{' x '.join(map(str, images.shape[:0:-1]))}"
        )
    return images, Search(support.matching(args), mask, args.prefilt, args.shrink, args.twostage, args.kept)
