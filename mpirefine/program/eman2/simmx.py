"""The command `simmx`: score particles against projections, as e2simmx does."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mpirefine.data.partition import Block
from mpirefine.distribution.team import Team
from mpirefine.errors import FormatError, InputError, ParameterError
from mpirefine.maths.eman2.similarity import FAILED, ReferenceStack, Scores, Search
from mpirefine.program import logs
from mpirefine.program.catalogue import load
from mpirefine.program.eman2 import support
from mpirefine.registry import keyword_parameters
from mpirefine.steps.eman2.scores import FlippedParticles, score_rows
from mpirefine.storage.images import check_writable, open_images

PLANES = 6  # of a matrix with poses: score, dx, dy, dalpha, mirror, scale


def make_similarity_matrix(args: argparse.Namespace, team: Team) -> None:
    """Collective. Write the similarity matrix to the output; InputError or ParameterError for files or options."""
    logs.set_up(team.rank, team.size, 1)
    support.tell_idle(args)
    images, search = support.prepare_on_root(team, prepare_simmx, args)
    particles, partition = support.read_flipped(team, args.particles, args.apix, images.shape[-1])
    (whole,) = support.prepare_on_root(team, known_planes, args, partition.n, len(images))
    planes = np.ascontiguousarray(whole[:, partition[team.rank].as_slice])
    del whole
    if not args.init:
        fill_planes(planes, cells_to_fill(args, planes[0], partition[team.rank]), particles, images, search, team)
    gathered = support.gather_columns(team, list(planes), partition)
    header = {"projection_file": args.references, "particle_file": args.particles}
    support.write_from_root(team, args.output, gathered, 1.0, [header] * len(gathered) if gathered else None)
    logs.say(f"{partition.n} particles against {len(images)} references in {args.output}")


def fill_planes(
    planes: np.ndarray, wanted: np.ndarray, particles: FlippedParticles, images: np.ndarray, search: Search, team: Team
) -> None:
    """Collective. Calculate the cells that are `wanted` (own rows, r) of the planes (6 or 1, own rows, r), in place."""
    rows, references = np.flatnonzero(wanted.any(axis=1)), ReferenceStack(images, search)
    planes[0][wanted] = FAILED  # of particles that are set aside

    def keep(row: int, match: Scores) -> None:
        pose, some = match.alignment, wanted[row]
        score = np.where(np.isfinite(match.score), match.score, FAILED)
        for plane, values in zip(planes, (score, pose.tx, pose.ty, pose.alpha, pose.mirror, pose.scale)):
            plane[row, some] = values[some]

    with logs.progress(len(rows), "scoring") as bar, team.together("scoring"):
        score_rows(particles, rows, references, images.shape[-1], bar.update, keep, wanted=wanted)


def known_planes(args: argparse.Namespace, particles: int, references: int) -> tuple[np.ndarray]:
    """On rank 0. The planes (plane, particle, reference) before the calculation: those of the output where it is
    completed, else zeros.

    InputError when the file that is completed has another size.
    """
    shape = (PLANES if args.saveali else 1, particles, references)
    partial = (args.range or args.fillzero) and not args.init
    if not partial or not Path(args.output).exists():
        if args.fillzero and not args.init:
            raise InputError(f"--fillzero: there is no {args.output} to fill: leave it out, or start with --init")
        return (np.zeros(shape, np.float32),)
    with open_images(args.output) as file:
        if (file.count, *file.shape) != shape:
            raise InputError(
                f"{args.output}: {file.count} planes of {' x '.join(map(str, file.shape))}, not "
                f"{shape[0]} of {particles} x {references}: start with --init"
            )
        return (file.read(range(file.count)),)


def cells_to_fill(args: argparse.Namespace, score: np.ndarray, block: Block) -> np.ndarray:
    """Which cells (own rows, r) are calculated. ParameterError or InputError for a range or an excluded row outside."""
    wanted = score == 0 if args.fillzero else np.ones(score.shape, bool)
    rows = np.arange(block.start, block.stop)
    if args.range:
        first, top, last, bottom = parse_range(args.range)
        wanted &= ((rows >= top) & (rows < bottom))[:, None]
        wanted &= (np.arange(score.shape[1]) >= first) & (np.arange(score.shape[1]) < last)
    if args.exclude:
        wanted[np.isin(rows, read_numbers(args.exclude))] = False
    return wanted


def parse_range(text: str) -> tuple[int, ...]:
    """C0,R0,C1,R1 as numbers; ParameterError when they are none, or the range is empty."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdigit() for part in parts):
        raise ParameterError(f"--range {text}: give C0,R0,C1,R1: references C0 to C1 - 1, particles R0 to R1 - 1")
    numbers = tuple(map(int, parts))
    if numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
        raise ParameterError(f"--range {text}: holds no cell: C0 must be below C1, R0 below R1")
    return numbers


def read_numbers(name: str) -> list[int]:
    """Whole numbers of a text file; InputError when it cannot be read, FormatError for anything else in it."""
    try:
        words = Path(name).read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if bad := [word for word in words if not word.isdigit()]:
        raise FormatError(f"{name}: '{bad[0]}' is no number of a particle")
    return [int(word) for word in words]


def prepare_simmx(args: argparse.Namespace) -> tuple[np.ndarray, Search]:
    """On rank 0. The references (ryx), and the components that score; InputError or ParameterError for the options."""
    check_writable(args.output, headers=True)
    for name in ("shrink", "kept"):
        support.check_positive(name, getattr(args, name))
    if args.twostage < 0:
        raise ParameterError(f"--twostage {args.twostage:g}: must be 0 or more")
    if args.range:
        parse_range(args.range)
    if args.exclude:
        read_numbers(args.exclude)
    images, _, _ = support.read_projections(args.references)
    mask = load(args.mask) if args.mask else None
    if mask is not None and mask.shape != images.shape[1:]:
        raise InputError(
            f"--mask {args.mask}: {' x '.join(map(str, mask.shape[::-1]))} pixels, the references have "
            f"{' x '.join(map(str, images.shape[:0:-1]))}"
        )
    comparison, masks = support.components_of(args), read_column_masks(args.colmasks, images)
    ralign = comparison.ralign
    if masks is not None and (ralign is None or "mask" not in keyword_parameters(ralign.function)):
        raise ParameterError("--colmasks are used by --ralign refine or refinecg: give one of them")
    search = Search(
        comparison, mask, args.prefilt, args.shrink, args.twostage, args.kept, prectf=args.prectf, column_masks=masks
    )
    return images, search


def read_column_masks(name: str | None, images: np.ndarray) -> np.ndarray | None:
    """On rank 0. One mask for each projection (r, y, x); InputError when there are not as many of the same box."""
    if not name:
        return None
    with open_images(name) as file:
        if (file.count, *file.shape) != images.shape:
            raise InputError(
                f"--colmasks {name}: {file.count} images of {' x '.join(map(str, file.shape))}, the references are "
                f"{len(images)} of {' x '.join(map(str, images.shape[1:]))}"
            )
        return file.read(range(file.count))
