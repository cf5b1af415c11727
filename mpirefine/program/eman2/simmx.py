"""The command `simmx`: score particles against projections, as e2simmx does."""

from __future__ import annotations

import argparse

import numpy as np

from mpirefine.distribution.team import Team
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.eman2.similarity import FAILED, ReferenceStack, Search
from mpirefine.program import logs
from mpirefine.program.catalogue import load
from mpirefine.program.eman2 import support
from mpirefine.steps.eman2.scores import score_rows
from mpirefine.storage.images import check_writable


def make_similarity_matrix(args: argparse.Namespace, team: Team) -> None:
    """Collective. Write the similarity matrix to the output; InputError or ParameterError for files or options."""
    logs.set_up(team.rank, team.size, 1)
    images, search = support.prepare_on_root(team, prepare_simmx, args)
    particles, partition = support.read_flipped(team, args.particles, args.apix, images.shape[-1])
    count = partition[team.rank].size
    score = np.full((count, len(images)), FAILED, np.float32)
    poses = [np.zeros((count, len(images)), np.float32) for _ in range(5 if args.saveali else 0)]
    references = ReferenceStack(images, search)
    with logs.progress(count, "scoring") as bar, team.together("scoring"):
        for row, match in score_rows(particles, np.arange(count), references, images.shape[-1], bar.update):
            pose = match.alignment
            score[row] = np.where(np.isfinite(match.score), match.score, FAILED)
            for plane, values in zip(poses, (pose.tx, pose.ty, pose.alpha, pose.mirror, pose.scale)):
                plane[row] = values
    planes = support.gather_columns(team, [score, *poses], partition)
    header = {"projection_file": args.references, "particle_file": args.particles}
    support.write_from_root(team, args.output, planes, 1.0, [header] * len(planes) if planes else None)
    logs.say(f"{partition.n} particles against {len(images)} references in {args.output}")


def prepare_simmx(args: argparse.Namespace) -> tuple[np.ndarray, Search]:
    """On rank 0. The references (ryx), and the components that score; InputError or ParameterError for the options."""
    check_writable(args.output, headers=True)
    for name in ("shrink", "kept"):
        support.check_positive(name, getattr(args, name))
    if args.twostage < 0:
        raise ParameterError(f"--twostage {args.twostage:g}: must be 0 or more")
    images, _, _ = support.read_projections(args.references)
    mask = load(args.mask) if args.mask else None
    if mask is not None and mask.shape != images.shape[1:]:
        raise InputError(
            f"--mask {args.mask}: {' x '.join(map(str, mask.shape[::-1]))} pixels, the references have "
            f"{' x '.join(map(str, images.shape[:0:-1]))}"
        )
    return images, Search(support.components_of(args), mask, args.prefilt, args.shrink, args.twostage, args.kept)
