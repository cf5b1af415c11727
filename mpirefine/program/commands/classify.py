"""The best references of each particle: what e2classify does."""

from __future__ import annotations

import argparse

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.likelihood.posterior import best_references
from mpirefine.program import logs
from mpirefine.program.eman2 import support
from mpirefine.program.launcher import launched_rank
from mpirefine.storage.images import check_writable, write_images


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Files and --sep."""
    parser.add_argument("simmx", help="similarity matrix, of 'simmx'")
    parser.add_argument(
        "output", help="classification matrix that is written (.hdf): class, weight, dx, dy, dalpha, mirror, scale"
    )
    parser.add_argument("--sep", type=int, default=1, help="references that each particle is given to (default 1)")


def main(args: argparse.Namespace) -> int:
    """No MPI: the work is reading the file, which the first rank does. ParameterError for a --sep that cannot be."""
    if launched_rank() > 0:
        return 0
    check_writable(args.output, headers=True)
    planes = support.read_matrix(args.simmx, 1)
    if not 1 <= args.sep <= planes.shape[2]:
        raise ParameterError(f"--sep {args.sep}: must be 1 to {planes.shape[2]}, the number of references")
    best = best_references(planes[0], sep=args.sep)
    row = np.arange(len(best))[:, None]
    images = [best.astype(np.float32), np.ones(best.shape, np.float32), *(plane[row, best] for plane in planes[1:6])]
    write_images(args.output, images, 1.0)
    logs.say(f"{len(best)} particles, {args.sep} of {planes.shape[2]} classes each, in {args.output}")
    return 0
