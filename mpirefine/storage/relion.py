"""RELION particle files: STAR 3.1 with optics groups, and the older single table; and the same file written back with classes and poses."""
from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Sequence

import numpy as np

from mpirefine.data.angles import euler_from_rotation, rotation_from_euler
from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.keys import halves, image_keys
from mpirefine.data.particles import ParticleTable
from mpirefine.errors import FormatError, InputError
from mpirefine.storage.complaints import Complaints
from mpirefine.storage.images import StackHeader, stack_header
from mpirefine.storage.star import StarTable, read_star, write_star

PIXEL_TOLERANCE = 0.01
LEAST_GROUP = 50           # particles of a micrograph that make it a group of its own
# column -> field, and what it is when the file has no such column (None: it must be there)
CTF_COLUMNS = {"rlnDefocusU": ("defocus_u", None), "rlnDefocusV": ("defocus_v", None), "rlnDefocusAngle": ("defocus_angle", None),
               "rlnPhaseShift": ("phase_shift", 0.0), "rlnCtfBfactor": ("bfactor", 0.0), "rlnCtfScalefactor": ("scale", 1.0),
               "rlnVoltage": ("voltage", None), "rlnSphericalAberration": ("cs", None), "rlnAmplitudeContrast": ("amplitude_contrast", None)}
RANGES = {"defocus_u": (-1e3, 1e5, "Å"), "defocus_v": (-1e3, 1e5, "Å"), "phase_shift": (-360, 360, "degrees"), "voltage": (40, 1500, "kV"),
          "cs": (0, 10, "mm"), "amplitude_contrast": (0, 1, "a share of 1"), "bfactor": (-1e4, 1e5, "Å²")}


@dataclass(frozen=True)
class ParticleInput:
    """A particle file without its pixels: the table, the grid of the images, and the parsed file for writing back."""

    path: Path
    table: ParticleTable
    grid: Grid
    tables: dict[str, StarTable]
    name: str                # of the block that holds the particles

    @property
    def particles(self) -> StarTable:
        return self.tables[self.name]

    suffix = ".star"

    def write(self, path: str | os.PathLike[str], *, model: np.ndarray, posterior: np.ndarray, rotation: np.ndarray, shift_xy: np.ndarray,
              half: np.ndarray | None = None, rows: np.ndarray | None = None) -> None:
        """As `write_particles`."""
        write_particles(path, self, model=model, posterior=posterior, rotation=rotation, shift_xy=shift_xy, half=half, rows=rows)

    def subset(self, path: str | os.PathLike[str], rows: np.ndarray) -> None:
        """Write some rows as they came; image names resolve from the current folder."""
        table = self.particles.with_columns(_resolving_names(self)).take(rows)
        write_star(path, [table if name == self.name else other for name, other in self.tables.items()])

    def with_table(self, table: ParticleTable) -> "ParticleInput":
        """The same file with what is known otherwise of its rows."""
        return replace(self, table=table)

    def image_names(self, rows: np.ndarray) -> list[str]:
        """index@stack of some rows, as written."""
        cells = self.particles.column("rlnImageName")
        return [cells[row] for row in rows]


def read_particles(path: str | os.PathLike[str], apix: float | None = None, *, ctf: bool = True,
                   poses: bool = False) -> ParticleInput:
    """On rank 0. Read and check a particle file and the headers of its stacks; `apix` (Å) overrides what the files say.

    `ctf=False` takes the images as free of contrast transfer, `poses=True` reads angles and origins, which must be there.
    Raises InputError with every problem found, each naming file, row and column.
    """
    path, problems = Path(path), Complaints()
    tables = read_star(path)
    name = next((n for n, table in tables.items() if "rlnImageName" in table), None)
    if name is None:
        raise InputError(f"{path}: no table has a column _rlnImageName: this is not a particle file (of RELION 3.0 or later)")
    particles, optics = tables[name], tables.get("optics")
    if not particles.rows:
        raise InputError(f"{path}: table '{name}' holds no particles")
    files, file, image = _image_names(path, particles, problems)
    optics_group, optics_names = _groups(path, particles, optics, problems)
    micrographs = particles.column("rlnMicrographName") if "rlnMicrographName" in particles else None
    group, names, optics_of = noise_groups(micrographs, optics_group, optics_names)
    headers = _headers(path, files, file, problems)
    _check_indices(path, headers, file, image, problems)
    box = _box(path, headers, problems)
    pixel = apix or _pixel(path, particles, optics, headers, problems)
    params = _ctf(path, particles, optics, optics_group, problems) if ctf else None
    rotation, shift = _poses(path, particles, pixel, problems) if poses else (None, None)
    problems.stop_if_any()
    table = ParticleTable(stacks := tuple(str(f.resolve()) for f in files), file, image, np.arange(len(particles.rows)), group, names,
                          halves(image_keys(stacks, file, image)), params, rotation, shift, optics_of, subset=_subset(particles))
    return ParticleInput(path, table, Grid(box, float(pixel)), tables, name)


def _image_names(path: Path, particles: StarTable, problems: Complaints) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Stacks, which of them each row lies in, and the index there (from 0)."""
    count = len(particles.rows)
    file, image = np.zeros(count, np.int32), np.zeros(count, np.int64)
    known: dict[str, int] = {}
    wrong = []
    for row, cell in enumerate(particles.column("rlnImageName")):
        index, at, stack = cell.partition("@")
        if not at or not index.isdigit() or int(index) < 1:
            wrong.append(row)
            continue
        file[row] = known.setdefault(stack, len(known))
        image[row] = int(index) - 1
    problems.rows(path, np.array(wrong, int), "column _rlnImageName: an image is named index@stack.mrcs, with an index from 1")
    return [_find(path, stack) for stack in known], file, image


def _find(star: Path, stack: str) -> Path:
    """Where a stack is: as written (from the current folder), else beside the STAR file."""
    here = Path(stack)
    return here if here.is_absolute() or here.exists() else (star.parent / stack if (star.parent / stack).exists() else here)


def _headers(path: Path, files: list[Path], file: np.ndarray, problems: Complaints) -> list[StackHeader | None]:
    headers: list[StackHeader | None] = []
    for number, stack in enumerate(files):
        try:
            headers.append(stack_header(stack))
        except InputError as error:
            problems.rows(path, np.flatnonzero(file == number), f"column _rlnImageName: {error}")
            headers.append(None)
    return headers


def _check_indices(path: Path, headers: list[StackHeader | None], file: np.ndarray, image: np.ndarray, problems: Complaints) -> None:
    for number, header in enumerate(headers):
        if header is not None:
            beyond = np.flatnonzero((file == number) & (image >= header.shape[0]))
            problems.rows(path, beyond, f"column _rlnImageName: image {int(image[beyond].max(initial=0)) + 1} of {header.path}, which holds "
                                        f"{header.shape[0]}: wrong stack, or not copied whole")


def _box(path: Path, headers: list[StackHeader | None], problems: Complaints) -> int:
    """The common edge of all images."""
    sizes = {header.shape[1:]: header.path for header in headers if header is not None}
    if len(sizes) > 1:
        problems.add(f"{path}: images of different sizes: " + ", ".join(f"{ny} x {nx} ({where})" for (ny, nx), where in sizes.items())
                     + ": bring them to one box first")
    for (ny, nx), where in sizes.items():
        if ny != nx or nx % 2 or nx < 16:
            problems.add(f"{where}: images of {nx} x {ny} pixels, but the box must be square, even and at least 16: clip or pad them")
    return next(iter(sizes), (16, 16))[1]


def _pixel(path: Path, particles: StarTable, optics: StarTable | None, headers: list[StackHeader | None], problems: Complaints) -> float:
    """Å per pixel from the file, else from the stacks' headers; they must agree."""
    where, values = path, np.zeros(0)
    for table, column in ((optics, "rlnImagePixelSize"), (particles, "rlnImagePixelSize"), (optics, "rlnMicrographPixelSize")):
        if table is not None and column in table:
            values = table.floats(column)
            break
    else:
        if "rlnDetectorPixelSize" in particles and "rlnMagnification" in particles:
            values = particles.floats("rlnDetectorPixelSize") * 1e4 / np.maximum(particles.floats("rlnMagnification"), 1e-9)
    stated = np.unique(np.round(values, 5))
    if len(stated) and np.ptp(stated) > PIXEL_TOLERANCE * stated[0]:
        problems.add(f"{where}: pixel sizes {', '.join(f'{v:g}' for v in stated[:4])} Å differ: particles must be brought to one pixel size first")
    told = [(h.apix, h.path) for h in headers if h is not None and h.apix > 0 and abs(h.apix - 1) > 1e-3]
    pixel = float(stated[0]) if len(stated) else (told[0][0] if told else 0.0)
    if not np.isfinite(pixel) or pixel <= 0:
        problems.add(f"{path}: no pixel size, in columns (_rlnImagePixelSize) or stack headers: give --apix")
        return 1.0
    for apix, stack in told:
        if abs(apix / pixel - 1) > PIXEL_TOLERANCE:
            problems.add(f"{stack}: {apix:.4g} Å per pixel, but {path} says {pixel:.4g}: correct one of them, or decide with --apix")
            break
    return pixel


def _groups(path: Path, particles: StarTable, optics: StarTable | None, problems: Complaints) -> tuple[np.ndarray, tuple[str, ...]]:
    """Optics group of each row, from 0, and the groups' names."""
    if optics is None or "rlnOpticsGroup" not in optics:
        return np.zeros(len(particles.rows), np.int32), ("all",)
    known = {cell: i for i, cell in enumerate(optics.column("rlnOpticsGroup"))}
    names = optics.column("rlnOpticsGroupName") if "rlnOpticsGroupName" in optics else list(known)
    if "rlnOpticsGroup" not in particles:
        if len(known) > 1:
            problems.add(f"{path}: table '{particles.name}' has no column _rlnOpticsGroup, but there are {len(known)} optics groups")
        return np.zeros(len(particles.rows), np.int32), tuple(names)
    cells = particles.column("rlnOpticsGroup")
    problems.rows(path, np.array([row for row, cell in enumerate(cells) if cell not in known], int),
                  f"column _rlnOpticsGroup: no such group in table 'optics' (it has {', '.join(known)})")
    return np.array([known.get(cell, 0) for cell in cells], np.int32), tuple(names)


def noise_groups(micrographs: Sequence[str] | None, optics_group: np.ndarray,
                 optics_names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Noise group of each row, the groups' names and their optics groups: the optics groups, then every micrograph that holds enough particles."""
    every = np.arange(len(optics_names), dtype=np.int32)
    if micrographs is None:
        return optics_group, optics_names, every
    names, first, micrograph, count = np.unique(np.array(micrographs), return_index=True, return_inverse=True, return_counts=True)
    large = np.flatnonzero(count >= LEAST_GROUP)
    number = np.full(len(names), -1, np.int32)
    number[large] = len(optics_names) + np.arange(len(large))
    group = np.where(number[micrograph] >= 0, number[micrograph], optics_group).astype(np.int32)
    return group, (*optics_names, *names[large].tolist()), np.concatenate([every, optics_group[first[large]]]).astype(np.int32)


def _poses(path: Path, particles: StarTable, pixel: float, problems: Complaints) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (n, 3, 3), and the shift (n, 2) in pixels from the box centre to the particle: RELION's origin is the way back."""
    old = "rlnOriginX" in particles and "rlnOriginXAngst" not in particles
    names = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", *(("rlnOriginX", "rlnOriginY") if old else ("rlnOriginXAngst", "rlnOriginYAngst")))
    missing = [name for name in names if name not in particles]
    if missing:
        problems.add(f"{path}: --fixed-poses needs the columns " + ", ".join("_" + name for name in missing) + ": refine the particles first")
        return np.zeros((0, 3, 3)), np.zeros((0, 2))
    try:
        rot, tilt, psi, x, y = (particles.floats(name) for name in names)
    except FormatError as error:
        problems.add(*error.problems)
        return np.zeros((0, 3, 3)), np.zeros((0, 2))
    wrong = ~np.isfinite(rot + tilt + psi + x + y)
    problems.rows(path, np.flatnonzero(wrong), "angles or origins are not finite")
    return rotation_from_euler(rot, tilt, psi), -np.stack([x, y], -1) / (1.0 if old else pixel)


def _ctf(path: Path, particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Complaints) -> CTFParams | None:
    """CTF columns, from the particles or their optics group."""
    missing, columns = [], {}
    for column, (field, default) in CTF_COLUMNS.items():
        try:
            if column in particles:
                columns[field] = particles.floats(column)
            elif optics is not None and column in optics:
                columns[field] = optics.floats(column)[group]
            elif default is not None:
                columns[field] = np.full(len(particles.rows), default)
            else:
                missing.append("_" + column)
        except FormatError as error:
            problems.add(*error.problems)
    if missing:
        problems.add(f"{path}: missing CTF column{'s' * (len(missing) > 1)} {', '.join(missing)}: take the file that CTF estimation wrote "
                     "(RELION's CtfFind or Extract job), or say --no-ctf if the images carry none")
    for field, (low, high, unit) in RANGES.items():
        if field in columns:
            _check_range(path, field, columns[field], low, high, unit, problems)
    if len(columns) < len(CTF_COLUMNS):
        return None
    flipped = optics is not None and "rlnCtfDataArePhaseFlipped" in optics and np.any(optics.floats("rlnCtfDataArePhaseFlipped") > 0)
    return CTFParams(**columns, flipped=optics.floats("rlnCtfDataArePhaseFlipped")[group] > 0 if flipped else None)


def _check_range(path: Path, field: str, values: np.ndarray, low: float, high: float, unit: str, problems: Complaints) -> None:
    column = next(c for c, (f, _) in CTF_COLUMNS.items() if f == field)
    wrong = np.flatnonzero(~((values >= low) & (values <= high)))
    if len(wrong):
        problems.rows(path, wrong, f"column _{column}: {values[wrong[0]]:g} is no value in {unit} ({low:g} to {high:g})")
    elif field.startswith("defocus_") and len(values) and np.abs(values).max() < 100:
        problems.add(f"{path}: column _{column}: {values[0]:g} and the like look like µm; the column is in Å: multiply by 10000")


def _subset(particles: StarTable) -> np.ndarray | None:
    """Half-set of each row as the file has it, from 0; -1 where it is neither 1 nor 2."""
    if "rlnRandomSubset" not in particles:
        return None
    return np.array([{"1": 0, "2": 1}.get(cell, -1) for cell in particles.column("rlnRandomSubset")], np.int8)


def write_particles(path: str | os.PathLike[str], source: ParticleInput, *, model: np.ndarray, posterior: np.ndarray, rotation: np.ndarray,
                    shift_xy: np.ndarray, half: np.ndarray | None = None, rows: np.ndarray | None = None) -> None:
    """Write the input back, every column kept and every row in its order, with class, angles, origins and posterior.

    `model` (n,) from 0, −1 for particles set aside (class 0); `rotation` (n, 3, 3) map to image; `shift_xy` (n, 2) pixels from the centre to
    the particle, RELION's origin is the way back; `half` (n,) the half-sets that were used, from 0. `rows` writes only some.
    """
    rot, tilt, psi = euler_from_rotation(rotation)
    old = "rlnOriginX" in source.particles and "rlnOriginXAngst" not in source.particles
    unit = 1.0 if old else source.grid.apix
    names = ("rlnOriginX", "rlnOriginY") if old else ("rlnOriginXAngst", "rlnOriginYAngst")
    columns = {"rlnAngleRot": rot, "rlnAngleTilt": tilt, "rlnAnglePsi": psi, names[0]: -shift_xy[:, 0] * unit, names[1]: -shift_xy[:, 1] * unit}
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
    moved = {stack: str(files[f]) for stack, f in ((cell.partition("@")[2], int(f)) for cell, f in zip(cells, source.table.file))
             if not Path(stack).exists()}
    if not moved:
        return {}
    return {"rlnImageName": [f"{index}@{moved.get(stack, stack)}" for index, _, stack in (cell.partition("@") for cell in cells)]}


def input_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
