"""What the commands that stand for EMAN2's programs share: their options, their files, and the layouts of EMAN2's
matrices.
"""

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
from mpirefine.program.catalogue import build, build_optional
from mpirefine.program.start.own_particles import read_own
from mpirefine.steps.eman2.scores import FlippedParticles
from mpirefine.storage.eman2.hdf_header import ENOUGH_FOR_INT, matrix_of, number_of
from mpirefine.storage.images import open_images, write_images
from mpirefine.storage.particle_file import ParticleInput, read_particles
from mpirefine.storage.places import shortened


def add_matching(parser: argparse.ArgumentParser) -> None:
    """--cmp, --align, --aligncmp, --ralign, --raligncmp."""
    parser.add_argument("--cmp", default=CCC, help="comparator of the score, see 'help cmps' (default ccc)")
    parser.add_argument("--align", default=FLIP, help=f"aligner, see 'help aligners' (default {FLIP})")
    parser.add_argument("--aligncmp", default=CCC, help="its comparator (default ccc)")
    parser.add_argument("--ralign", help="aligner that refines it, like refine (default: none)")
    parser.add_argument("--raligncmp", default=CCC, help="its comparator (default ccc)")


def components_of(args: argparse.Namespace) -> Comparison:
    """The components of these options."""
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
    """Collective. The own part of a particle file; InputError when its images have another box than `box`."""
    source = None
    with team.together("reading the particles"):
        if team.is_root:
            source = read_any(name, apix)
            if box and source.grid.nx != box:
                raise InputError(
                    f"{name}: images of {source.grid.nx} px, the references have {box}: bring them to one box first"
                )
    grid, count = team.bcast((source.grid, len(source.table)) if source else None)
    partition = Partition.even(count, team.size)
    return FlippedParticles(read_own(team, source, partition, grid.nx, keep_pixels=False), grid.apix), partition


def prepare_on_root(team: Team, func: Callable[..., tuple], *args: Any) -> tuple:
    """Collective. What rank 0 makes, on every rank: arrays travel as buffers of any size, the rest as small objects."""
    made: tuple | None = None
    with team.together(func.__name__):
        if team.is_root:
            made = func(*args)
    kinds = team.bcast([isinstance(one, np.ndarray) for one in made] if made is not None else None)
    return tuple(
        reduce.bcast_array(team, made[i] if made else None) if array else team.bcast(made[i] if made else None)
        for i, array in enumerate(kinds)
    )


def read_any(name: str, apix: float | None) -> ParticleInput:
    """On rank 0. A particle file with CTF where it has one."""
    return read_particles(name, apix, ctf_needed=False)


def read_projections(name: str) -> tuple[np.ndarray, Orientations, float]:
    """On rank 0. Images (r, y, x), their views and maps (model_id, from 1 in the file), and Å per pixel.

    InputError for a file of maps, or headers that cannot be used.
    """
    with open_images(name) as file:
        if len(file.shape) != 2:
            raise InputError(f"{name}: holds maps, not projections: make them with 'project'")
        images = file.read(range(file.count))
        matrices = [file.value(i, "xform.projection") for i in range(file.count)]
        models = [file.value(i, "model_id") for i in range(file.count)]
        apix = file.apix
    matrices = [
        np.eye(3, 4) if m is None else checked(name, i, "xform.projection", m, matrix_of(m))
        for i, m in enumerate(matrices)
    ]
    rotation = np.array(matrices, np.float64).reshape(-1, 3, 4)[:, :, :3]
    number = np.array(
        [0 if m is None else checked(name, i, "model_id", m, number_of(m)) for i, m in enumerate(models)]
    ).astype(int)
    first = 1 if len(number) and number.min() > 0 else 0  # EMAN2 counted from 0 until 2013
    return images, Orientations(rotation, (number - first).astype(np.int32)), apix or 1.0


def checked(name: str, index: int, key: str, value: Any, found: Any) -> Any:
    """What was `found` in a header value; InputError when it is None, or a number that no 32-bit integer holds."""
    if found is None or np.ndim(found) == 0 and not abs(found) < ENOUGH_FOR_INT:
        raise InputError(f"{name}: image {index} (from 0), header {key}: {shortened(value)} is not what is kept there")
    return found


def read_matrix(name: str, least: int) -> np.ndarray:
    """On rank 0. The planes (n, rows, columns) of a matrix file; InputError when there are fewer than `least`."""
    with open_images(name) as file:
        if file.count < least or len(file.shape) != 2:
            raise InputError(
                f"{name}: {file.count} images of shape {file.shape}: this is no matrix with {least} planes"
            )
        return file.read(range(file.count))


def gathered(team: Team, columns: Sequence[np.ndarray], partition: Partition) -> list[np.ndarray] | None:
    """Collective. Whole columns on rank 0 from the ranks' rows; None elsewhere."""
    whole = [reduce.gather_rows(team, np.ascontiguousarray(column), partition) for column in columns]
    return [column for column in whole if column is not None] if team.is_root else None


def write_from_root(
    team: Team,
    path: Path | str,
    images: Sequence[np.ndarray] | None,
    apix: float,
    headers: Sequence[dict[str, Any]] | None = None,
) -> None:
    """Collective. Rank 0's images."""
    with team.together(f"writing {path}"):
        if team.is_root and images is not None:
            write_images(path, images, apix, headers)


def check_positive(name: str, value: float) -> None:
    """ParameterError when an option is not positive."""
    if not value > 0:
        raise ParameterError(f"--{name} {value}: must be more than 0")


def check_share(name: str, value: float, sigma: bool) -> None:
    """ParameterError when an option that is a share, or with `sigma` counts standard deviations, is none."""
    if not sigma and not 0 < value <= 1:
        raise ParameterError(
            f"--{name} {value:g}: a share is more than 0 and at most 1; with --{name}sig it counts sigma"
        )
