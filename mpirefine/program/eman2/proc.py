"""The command `proc`: apply processors to the images of a file, as e2proc2d and e2proc3d do."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.eman2.processors.catalogue import apply
from mpirefine.maths.fourier.filters import in_box
from mpirefine.program import logs
from mpirefine.program.catalogue import build
from mpirefine.program.eman2 import support
from mpirefine.registry import Component
from mpirefine.storage.images import check_writable, open_images


def process_images(args: argparse.Namespace, team: Team) -> None:
    """Collective. Write the processed images to --output; each rank processes its share.

    InputError or ParameterError for files or options it cannot use.
    """
    logs.set_up(team.rank, team.size, 1)
    processors, count, apix = team.from_root(prepare_proc, args)
    partition = Partition.even(count, team.size)
    mine = partition[team.rank]
    with team.together("processing"):
        with open_images(args.input) as file:
            results = [
                apply_all(file.read([args.first + i])[0], apix, processors, args.clip)
                for i in range(mine.start, mine.stop)
            ]
            headers = [file.header(args.first + i) for i in range(mine.start, mine.stop)]
    formats = team.allgather([(image.shape, pixel) for image, pixel in results])
    shape, pixel = next(form for rank in formats for form in rank)
    images = np.stack([image for image, _ in results]) if results else np.zeros((0, *shape), np.float32)
    whole = reduce.gather_rows(team, images, partition)
    all_headers = [head for rank in team.allgather(headers) for head in rank]
    support.write_from_root(team, Path(args.output), None if whole is None else list(whole), pixel, all_headers)
    logs.say(f"{count} image{'s' * (count != 1)} in {args.output}")


def prepare_proc(args: argparse.Namespace) -> tuple[list[Component], int, float]:
    """On rank 0. The processors, the number of images, and Å per pixel.

    InputError or ParameterError for files or options that cannot be used.
    """
    check_writable(args.output)
    processors = [build("processors", text) for text in args.process]
    if args.clip is not None:
        support.check_positive("clip", args.clip)
    with open_images(args.input) as file:
        if file.value(0, "is_complex"):
            raise InputError(f"{args.input}: holds Fourier transforms: give real images")
        last = file.count - 1 if args.last is None else args.last
        if not 0 <= args.first <= last < file.count:
            raise ParameterError(f"--first {args.first} --last {last}: {args.input} holds images 0 to {file.count - 1}")
        return processors, last - args.first + 1, args.apix or file.apix or 1.0


def apply_all(
    image: np.ndarray, apix: float, processors: list[Component], clip: int | None
) -> tuple[np.ndarray, float]:
    """Apply all processors to an image (yx) or map (zyx), then clip to a box; the result and its Å per pixel."""
    for processor in processors:
        image, apix = apply(processor, image, apix)
    return in_box(image, clip) if clip else image, apix
