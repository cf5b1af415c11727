"""What the commands named after EMAN2's programs share: options, reading of particles, projections and matrices."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mpirefine.data.partition import Partition
from mpirefine.data.poses import Orientations
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.eman2.similarity import CCC, FLIP, Comparison
from mpirefine.program import logs
from mpirefine.program.catalogue import build, build_optional
from mpirefine.program.start.own_particles import read_own
from mpirefine.registry import Component
from mpirefine.steps.eman2.scores import FlippedParticles
from mpirefine.storage.eman2.hdf_header import ENOUGH_FOR_INT, matrix_of, number_of
from mpirefine.storage.images import open_images, write_images
from mpirefine.storage.particle_file import ParticleInput, read_particles
from mpirefine.storage.places import shortened

# options of EMAN2's programs that are accepted and have no effect: spellings, what argparse takes, and the reason
IDLE: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "parallel": (("--parallel",), {}, "mpirun sets the number of ranks"),
    "force": (("-f", "--force"), {"action": "store_true"}, "files that are there are always overwritten"),
    "verbose": (("-v", "--verbose"), {"type": int}, "every command says the same"),
    "ppid": (("--ppid",), {"type": int}, "no graphical window started this command"),
    "nofilecheck": (("--nofilecheck",), {"action": "store_true"}, "files are always checked"),
    "storebad": (("--storebad",), {"action": "store_true"}, "a blank image is always written for an empty class"),
    "bootstrap": (("--bootstrap",), {"action": "store_true"}, "it has no effect in EMAN2 either"),
    "idxcache": (("--idxcache",), {"action": "store_true"}, "it has no effect in EMAN2 either"),
    "dbpath": (("--dbpath",), {}, "it has no effect in EMAN2 either"),
    "lowmem": (("--lowmem",), {"action": "store_true"}, "each rank holds its own share of the averages only"),
}
EVERYWHERE = ("parallel", "force", "verbose", "ppid", "nofilecheck")


def add_idle(parser: argparse.ArgumentParser, *more: str) -> None:
    """Declare options of EMAN2 that have no effect: those of every command, and `more`."""
    for name in (*EVERYWHERE, *more):
        spellings, kind, reason = IDLE[name]
        parser.add_argument(*spellings, **kind, help=f"no effect, accepted for EMAN2: {reason}")


def tell_idle(args: argparse.Namespace) -> None:
    """Say in a line for each such option that was given that it does nothing."""
    for name, (spellings, _, reason) in IDLE.items():
        if getattr(args, name, None) not in (None, False):
            logs.say(f"{spellings[-1]} does nothing: {reason}")


def box_size(text: str) -> int:
    """The box that is typed as one number or, as EMAN2 takes it, as two or three equal ones.

    ArgumentTypeError, which argparse turns into its own message, when they differ or are no numbers.
    """
    sizes = {int(part) for part in text.split(",")}
    if len(sizes) != 1:
        raise argparse.ArgumentTypeError(f"{text}: boxes are square and cubic: give one number")
    return sizes.pop()


def build_several(kind: str, texts: Sequence[str]) -> tuple[Component, ...]:
    """Build components that are applied one after the other, without those that are none; ParameterError."""
    return tuple(component for text in texts if (component := build_optional(kind, text)) is not None)


def add_matching(parser: argparse.ArgumentParser) -> None:
    """Declare --cmp, --align, --aligncmp, --ralign and --raligncmp."""
    parser.add_argument("--cmp", default=CCC, help="comparator of the score, see 'help cmps' (default ccc)")
    parser.add_argument("--align", default=FLIP, help=f"aligner, see 'help aligners' (default {FLIP})")
    parser.add_argument("--aligncmp", default=CCC, help="comparator of --align (default ccc)")
    parser.add_argument("--ralign", help="aligner that refines the alignment, such as refine (default: none)")
    parser.add_argument("--raligncmp", default=CCC, help="comparator of --ralign (default ccc)")


def components_of(args: argparse.Namespace) -> Comparison:
    """Build the components that the options of `add_matching` name; ParameterError for unknown ones."""
    return Comparison(
        build("cmps", args.cmp),
        build("aligners", args.align),
        build("cmps", args.aligncmp),
        build_optional("aligners", args.ralign),
        build("cmps", args.raligncmp),
    )


def read_flipped(
    team: Team, name: str, apix: float | None, box: int | None = None
) -> tuple[FlippedParticles, Partition]:
    """Collective. The own particles of a file, phase-flipped when read, and how particles are divided over ranks.

    InputError when the file cannot be read, or its images have another box than `box`.
    """
    source = None
    with team.together("reading the particles"):
        if team.is_root:
            source = read_any(name, apix)
            if box and source.grid.nx != box:
                raise InputError(
                    f"{name}: images of {source.grid.nx} px, the references have {box}: bring both to the same box"
                )
    grid, count = team.bcast((source.grid, len(source.table)) if source else None)
    partition = Partition.even(count, team.size)
    return FlippedParticles(read_own(team, source, partition, grid), grid.apix), partition


def prepare_on_root(team: Team, func: Callable[..., tuple], *args: Any) -> tuple:
    """Collective. Call `func` on rank 0, and return its result, a tuple, on every rank; its errors too.

    Arrays are broadcast as buffers of any size, everything else as small objects.
    """
    result: tuple | None = None
    with team.together(func.__name__):
        if team.is_root:
            result = func(*args)
    is_array = team.bcast([isinstance(item, np.ndarray) for item in result] if result is not None else None)
    return tuple(
        reduce.bcast_array(team, result[i] if result else None) if array else team.bcast(result[i] if result else None)
        for i, array in enumerate(is_array)
    )


def read_any(name: str, apix: float | None) -> ParticleInput:
    """On rank 0. Read a particle file with or without CTF; InputError when it cannot be read."""
    return read_particles(name, apix, ctf_required=False)


def read_projections(name: str) -> tuple[np.ndarray, Orientations, float]:
    """On rank 0. Read projections (ryx), their views and maps (model_id, from 1 in the file), and Å per pixel.

    InputError for a file of maps, or invalid header values.
    """
    with open_images(name) as file:
        if len(file.shape) != 2:
            raise InputError(f"{name}: holds maps: give projections, made with 'project'")
        images = file.read(range(file.count))
        matrices = [file.value(i, "xform.projection") for i in range(file.count)]
        models = [file.value(i, "model_id") for i in range(file.count)]
        apix = file.apix
    matrices = [
        np.eye(3, 4) if m is None else check_header(name, i, "xform.projection", m, matrix_of(m))
        for i, m in enumerate(matrices)
    ]
    rotation = np.array(matrices, np.float64).reshape(-1, 3, 4)[:, :, :3]
    number = np.array(
        [0 if m is None else check_header(name, i, "model_id", m, number_of(m)) for i, m in enumerate(models)]
    ).astype(int)
    first = 1 if len(number) and number.min() > 0 else 0  # EMAN2 counted from 0 until 2013
    return images, Orientations(rotation, (number - first).astype(np.int32)), apix or 1.0


def check_header(name: str, index: int, key: str, value: Any, converted: Any) -> Any:
    """Return the header value in its `converted` form; InputError when it is None or too large for a 32-bit integer."""
    if converted is None or np.ndim(converted) == 0 and not abs(converted) < ENOUGH_FOR_INT:
        raise InputError(f"{name}: image {index} (from 0), header {key}: invalid value {shortened(value)}")
    return converted


def read_matrix(name: str, least: int) -> np.ndarray:
    """On rank 0. Read the planes (plane, row, column) of a matrix; InputError when there are fewer than `least`."""
    with open_images(name) as file:
        if file.count < least or len(file.shape) != 2:
            raise InputError(
                f"{name}: {file.count} images of shape {file.shape}: give a matrix of at least {least} planes"
            )
        return file.read(range(file.count))


def gather_columns(team: Team, columns: Sequence[np.ndarray], partition: Partition) -> list[np.ndarray] | None:
    """Collective. Gather arrays from the ranks' own rows on rank 0; None on other ranks."""
    whole = [reduce.gather_rows(team, np.ascontiguousarray(column), partition) for column in columns]
    return [column for column in whole if column is not None] if team.is_root else None


def write_from_root(
    team: Team,
    path: Path | str,
    images: Sequence[np.ndarray] | None,
    apix: float,
    headers: Sequence[dict[str, Any]] | None = None,
) -> None:
    """Collective. Write images that rank 0 holds; InputError or RankFailure on all ranks when that fails."""
    with team.together(f"writing {path}"):
        if team.is_root and images is not None:
            write_images(path, images, apix, headers)


def check_positive(name: str, value: float) -> None:
    """ParameterError when the value of option `name` is not positive."""
    if not value > 0:
        raise ParameterError(f"--{name} {value}: must be more than 0")
