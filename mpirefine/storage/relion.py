"""RELION particle files: STAR 3.1 with optics groups, and the older single table; and the same file written back with
classes and poses.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpirefine.data.aberrations import Aberrations
from mpirefine.data.grid import Grid
from mpirefine.data.keys import halves, image_keys
from mpirefine.data.particles import ParticleTable
from mpirefine.data.rotations import euler_from_rotation, rotation_from_euler
from mpirefine.errors import PROBLEMS_SHOWN, InputError, Problems
from mpirefine.storage import optics as optical
from mpirefine.storage.aberrations import aberrations
from mpirefine.storage.images import StackHeader, stack_header
from mpirefine.storage.places import Place, find, shortened
from mpirefine.storage.star import StarTable, read_star, write_star

log = logging.getLogger(__name__)
MOST_DEGREES = 3600.0  # of an angle
INDEX = re.compile("[0-9]{1,15}")  # of an image; no file holds more


@dataclass(frozen=True)
class ParticleInput:
    """A particle file without its pixels: the table, the grid of the images, and the parsed file for writing back."""

    path: Path
    table: ParticleTable
    grid: Grid
    tables: dict[str, StarTable]
    name: str  # of the block that holds the particles
    pixel_source: str = ""  # where the pixel size came from, in words
    aberrations: Aberrations | None = None

    @property
    def particles(self) -> StarTable:
        return self.tables[self.name]

    suffix = ".star"

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        model: np.ndarray,
        posterior: np.ndarray,
        rotation: np.ndarray,
        shift_xy: np.ndarray,
        half: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        """As `write_particles`."""
        write_particles(
            path, self, model=model, posterior=posterior, rotation=rotation, shift_xy=shift_xy, half=half, rows=rows
        )

    def subset(self, path: str | os.PathLike[str], rows: np.ndarray) -> None:
        """Write some rows as they came; image names resolve from the current folder."""
        table = self.particles.with_columns(_resolving_names(self)).take(rows)
        write_star(path, [table if name == self.name else other for name, other in self.tables.items()])

    def with_table(self, table: ParticleTable) -> ParticleInput:
        """The same file with what is known otherwise of its rows."""
        return replace(self, table=table)

    def image_names(self, rows: np.ndarray) -> list[str]:
        """index@stack of some rows, as written."""
        cells = self.particles.column("rlnImageName")
        return [cells[row] for row in rows]


def read_particles(
    path: str | os.PathLike[str],
    apix: float | None = None,
    *,
    ctf: bool = True,
    poses: bool = False,
    ctf_needed: bool = True,
) -> ParticleInput:
    """On rank 0. Read and check a particle file and the headers of its stacks; `apix` (Å) overrides what the files say.

    `ctf=False` takes the images as free of contrast transfer, and so does `ctf_needed=False` where columns are missing,
    which is a complaint
    otherwise; `poses=True` reads angles and origins, which must be there.
    Raises InputError with every problem found, each naming file, row and column.
    """
    path, problems = Path(path), Problems(PROBLEMS_SHOWN)
    tables = read_star(path)
    name = next((n for n, table in tables.items() if "rlnImageName" in table), None)
    if name is None:
        raise InputError(
            f"{path}: no table has a column _rlnImageName: this is not a particle file (of RELION 3.0 or later)"
        )
    particles, optics = tables[name], tables.get("optics")
    if not len(particles):
        raise InputError(f"{path}: table '{name}' holds no particles")
    if optics is not None and not len(optics):
        raise InputError(f"{path}: table 'optics' has no rows, so no optics group: the file was not written whole")
    places, file, image = _image_names(path, particles, problems)
    optics_group, optics_names = optical.groups(path, particles, optics, problems)
    micrographs = particles.column("rlnMicrographName") if "rlnMicrographName" in particles else None
    group, names, optics_of = optical.noise_groups(micrographs, optics_group, optics_names)
    headers = _headers(path, places, file, problems)
    _check_indices(path, headers, file, image, problems)
    box = _box(path, headers, problems)
    optical.check_image_size(path, optics, optics_group, file, headers, problems)
    pixel, source = (
        (apix, "--apix") if apix else optical.pixel_size(path, particles, optics, optics_group, headers, problems)
    )
    params = optical.ctf(path, particles, optics, optics_group, problems, needed=ctf_needed) if ctf else None
    lens = aberrations(path, particles, optics, optics_group, problems)
    rotation, shift = _poses(path, particles, Grid(box, pixel), problems) if poses else (None, None)
    problems.raise_if_any()
    for note in (*(place.note for place in places), *(header.note for header in headers if header is not None)):
        if note:
            log.warning("%s", note)
    stacks = tuple(str(place.path.resolve()) for place in places)
    table = ParticleTable(
        stacks,
        file,
        image,
        np.arange(len(particles)),
        group,
        names,
        halves(image_keys(stacks, file, image)),
        params,
        rotation,
        shift,
        optics_of,
        subset=_subset(particles),
    )
    return ParticleInput(path, table, Grid(box, float(pixel)), tables, name, source, lens)


def _image_names(path: Path, particles: StarTable, problems: Problems) -> tuple[list[Place], np.ndarray, np.ndarray]:
    """Stacks, which of them each row lies in, and the index there (from 0)."""
    count = len(particles)
    file, image = np.zeros(count, np.int32), np.zeros(count, np.int64)
    known: dict[str, int] = {}
    wrong = []
    cells = particles.column("rlnImageName")
    for row, cell in enumerate(cells):
        index, at, stack = cell.partition("@")
        if not at or not stack or not INDEX.fullmatch(index) or int(index) < 1:
            wrong.append(row)
            file[row] = -1
            continue
        file[row] = known.setdefault(stack, len(known))
        image[row] = int(index) - 1
    if wrong:
        problems.add_rows(
            path,
            np.array(wrong),
            "column _rlnImageName: an image is named index@stack.mrcs, with an index from 1, "
            f"not '{shortened(cells[wrong[0]])}'",
        )
    return [find(stack, path) for stack in known], file, image


def _headers(path: Path, places: list[Place], file: np.ndarray, problems: Problems) -> list[StackHeader | None]:
    headers: list[StackHeader | None] = []
    for number, place in enumerate(places):
        try:
            if place.missing:
                raise InputError(place.missing)
            headers.append(stack_header(place.path))
        except InputError as error:
            problems.add_rows(path, np.flatnonzero(file == number), f"column _rlnImageName: {error}")
            headers.append(None)
    return headers


def _check_indices(
    path: Path, headers: list[StackHeader | None], file: np.ndarray, image: np.ndarray, problems: Problems
) -> None:
    for number, header in enumerate(headers):
        if header is not None:
            beyond = np.flatnonzero((file == number) & (image >= header.shape[0]))
            problems.add_rows(
                path,
                beyond,
                f"column _rlnImageName: image {int(image[beyond].max(initial=0)) + 1} of {header.path}, which holds "
                f"{header.shape[0]}: wrong stack, or not copied whole",
            )


def _box(path: Path, headers: list[StackHeader | None], problems: Problems) -> int:
    """The common edge of all images."""
    sizes = {header.shape[1:]: header.path for header in headers if header is not None}
    if len(sizes) > 1:
        problems.add(
            f"{path}: images of different sizes: "
            + ", ".join(f"{ny} x {nx} ({where})" for (ny, nx), where in sizes.items())
            + ": bring them to one box first"
        )
    for (ny, nx), where in sizes.items():
        if ny != nx or nx % 2 or nx < 16:
            problems.add(
                f"{where}: images of {nx} x {ny} pixels, but the box must be square, even and at least 16: clip or "
                "pad them"
            )
    return next(iter(sizes), (16, 16))[1]


def _poses(path: Path, particles: StarTable, grid: Grid, problems: Problems) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (n, 3, 3), and the shift (n, 2) in pixels from the box centre to the particle: RELION's origin is the
    way back.
    """
    old = "rlnOriginX" in particles and "rlnOriginXAngst" not in particles
    names = (
        "rlnAngleRot",
        "rlnAngleTilt",
        "rlnAnglePsi",
        *(("rlnOriginX", "rlnOriginY") if old else ("rlnOriginXAngst", "rlnOriginYAngst")),
    )
    missing = [name for name in names if name not in particles]
    if missing:
        problems.add(
            f"{path}: --fixed-poses needs the columns "
            + ", ".join("_" + name for name in missing)
            + ": refine the particles first"
        )
        return np.zeros((0, 3, 3)), np.zeros((0, 2))
    with problems.collect():
        rot, tilt, psi, x, y = (particles.floats(name) for name in names)
        return _checked_poses(
            path, names, np.stack([rot, tilt, psi, x, y]), 1.0 if old else grid.apix, grid.nx, problems
        )
    return np.zeros((0, 3, 3)), np.zeros((0, 2))


def _checked_poses(
    path: Path, names: tuple[str, ...], values: np.ndarray, unit: float, box: int, problems: Problems
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and shift of angles and origins, after a look at their ranges."""
    rot, tilt, psi, x, y = values
    for column, values, most, what in zip(
        names,
        (rot, tilt, psi, x, y),
        3 * [MOST_DEGREES] + 2 * [box * unit],
        3 * ["no angle in degrees"] + 2 * ["farther from the centre than the box is wide"],
    ):
        wrong = np.flatnonzero(~(np.abs(values) <= most))
        if len(wrong):
            problems.add_rows(path, wrong, f"column _{column}: {values[wrong[0]]:g} is {what}")
    return rotation_from_euler(rot, tilt, psi), -np.stack([x, y], -1) / unit


def _subset(particles: StarTable) -> np.ndarray | None:
    """Half-set of each row as the file has it, from 0; -1 where it is neither 1 nor 2."""
    if "rlnRandomSubset" not in particles:
        return None
    known = {"1": 0, "2": 1, **{f"{n}.{'0' * zeros}": n - 1 for n in (1, 2) for zeros in range(1, 7)}}
    return np.array([known.get(cell, -1) for cell in particles.column("rlnRandomSubset")], np.int8)


def write_particles(
    path: str | os.PathLike[str],
    source: ParticleInput,
    *,
    model: np.ndarray,
    posterior: np.ndarray,
    rotation: np.ndarray,
    shift_xy: np.ndarray,
    half: np.ndarray | None = None,
    rows: np.ndarray | None = None,
) -> None:
    """Write the input back, every column kept and every row in its order, with class, angles, origins and posterior.

    `model` (n,) from 0, −1 for particles set aside (class 0); `rotation` (n, 3, 3) map to image; `shift_xy` (n, 2)
    pixels from the centre to
    the particle, RELION's origin is the way back; `half` (n,) the half-sets that were used, from 0. `rows` writes only
    some.
    """
    rot, tilt, psi = euler_from_rotation(rotation)
    old = "rlnOriginX" in source.particles and "rlnOriginXAngst" not in source.particles
    unit = 1.0 if old else source.grid.apix
    names = ("rlnOriginX", "rlnOriginY") if old else ("rlnOriginXAngst", "rlnOriginYAngst")
    columns = {
        "rlnAngleRot": rot,
        "rlnAngleTilt": tilt,
        "rlnAnglePsi": psi,
        names[0]: -shift_xy[:, 0] * unit,
        names[1]: -shift_xy[:, 1] * unit,
    }
    cells = {name: [f"{value:.6f}" for value in values + 0.0] for name, values in columns.items()}
    cells["rlnClassNumber"] = [str(m + 1) for m in model.tolist()]
    cells["rlnMaxValueProbDistribution"] = [f"{value:.6f}" for value in posterior]
    if half is not None:
        cells["rlnRandomSubset"] = [str(h + 1) for h in half.tolist()]
    cells.update(_resolving_names(source))
    table = source.particles.with_columns(cells)
    if rows is not None:
        table = table.take(rows)
    write_star(path, [table if name == source.name else other for name, other in source.tables.items()])


def _resolving_names(source: ParticleInput) -> dict[str, list[str]]:
    """Image names that still resolve from the current folder: absolute where they were relative to the STAR file."""
    cells, files = source.particles.column("rlnImageName"), source.table.files
    moved = {
        stack: str(files[f])
        for stack, f in ((cell.partition("@")[2], int(f)) for cell, f in zip(cells, source.table.file))
        if not Path(stack).exists()
    }
    if not moved:
        return {}
    return {
        "rlnImageName": [
            f"{index}@{moved.get(stack, stack)}" for index, _, stack in (cell.partition("@") for cell in cells)
        ]
    }
