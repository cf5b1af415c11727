"""The columns of cryoSPARC's tables that are read: images, pixel sizes, CTF, poses and half-sets."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.data.particles import ParticleTable
from mpirefine.errors import InputError, Problems
from mpirefine.storage.cryosparc.dataset import texts
from mpirefine.storage.images import stack_header
from mpirefine.storage.lens_frames import to_common
from mpirefine.storage.particle_checks import NO_CTF, check_ranges, check_shapes, rows_by_file
from mpirefine.storage.places import Place, find, shortened

log = logging.getLogger(__name__)
PATH, INDEX, SHAPE, PIXEL, SIGN = (f"blob/{name}" for name in ("path", "idx", "shape", "psize_A", "sign"))
ALIGNMENT = "alignments3D/"
POSE, SHIFT, SHIFT_PIXEL, SPLIT = (ALIGNMENT + name for name in ("pose", "shift", "psize_A", "split"))
CTF_COLUMNS = {  # column -> field of CTFParams, and its value where the column is missing (None: it is needed)
    "ctf/accel_kv": ("voltage", None),
    "ctf/cs_mm": ("cs", None),
    "ctf/amp_contrast": ("amplitude_contrast", None),
    "ctf/df1_A": ("defocus_u", None),
    "ctf/df2_A": ("defocus_v", None),
    "ctf/df_angle_rad": ("defocus_angle", None),
    "ctf/phase_shift_rad": ("phase_shift", 0.0),
    "ctf/scale": ("scale", 1.0),
    "ctf/bfactor": ("bfactor", 0.0),
}
RADIANS = ("defocus_angle", "phase_shift")  # fields that are degrees in CTFParams
LENS_ERRORS = ("ctf/tilt_A", "ctf/shift_A", "ctf/trefoil_A", "ctf/tetra_A")  # 0: none
MAGNIFICATION = "ctf/anisomag"  # all 0, or the identity: none
SECOND = "give the passthrough file of the same job as well: --input {0},passthrough_particles.cs"
SAME_PIXEL = 1.01  # largest ratio of pixel sizes that --apix may stand for
UNSET = 1e-3  # headers this close to 1 Å were never set
NEAR_PIXEL = 1e-4  # relative difference of pixel sizes that are one
MOST_RATIO = 3.0  # of the pixel sizes in one file


class Columns:
    """The named columns of a table, and where to put problems."""

    def __init__(self, path: Path, rows: np.ndarray, problems: Problems):
        self.path, self.rows, self.problems = path, rows, problems
        self.names = rows.dtype.names or ()

    def __len__(self) -> int:
        return len(self.rows)

    def require(self, *names: str) -> None:
        """InputError when one of the columns is missing."""
        missing = [name for name in names if name not in self.names]
        if missing:
            text = f"missing column{'s' * (len(missing) > 1)} {', '.join(missing)}"
            raise InputError(f"{self.path}: {text}: {SECOND.format(self.path)}")

    def check(self, right: np.ndarray, name: str, values: np.ndarray, text: str) -> None:
        """A problem with the values (p,) of a column where they are not `right`."""
        wrong = np.flatnonzero(~right)
        if len(wrong):
            self.problems.add_rows(self.path, wrong, f"column {name}: {values[wrong[0]]:g} {text}")

    def numbers(self, name: str, width: int = 0) -> np.ndarray:
        """(p,) or (p, width) float64 of a column; a problem for rows that are not finite, InputError if no numbers."""
        column = self.rows[name]
        if column.dtype.kind not in "iufb" or column.shape[1:] != ((width,) if width else ()):
            raise InputError(
                f"{self.path}: column {name} holds {self.rows.dtype[name]}: not what cryoSPARC writes there"
            )
        values = column.astype(np.float64)
        wrong = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
        self.problems.add_rows(self.path, wrong, f"column {name}: no finite number")
        return np.where(np.isfinite(values), values, 0)


@dataclass(frozen=True)
class CsImages:
    """Where the images of p rows lie: paths of stacks with the pixel sizes that they say, and stack, index from 0 and
    edge in pixels of each row; and whether their contrast has to be inverted.
    """

    paths: tuple[str, ...]
    apix: tuple[float, ...]  # Å; 0 where a stack does not say
    file: np.ndarray  # (p,) int32
    image: np.ndarray  # (p,) int64
    edge: np.ndarray  # (p,) int64
    inverted: np.ndarray  # (p,) bool


def images_of(columns: Columns) -> CsImages:
    """The images of all rows; paths begin in the project's folder, some folders above the file. A problem for stacks
    that cannot be read, and images that they do not hold; InputError for missing columns.
    """
    columns.require(PATH, INDEX)
    path, problems = columns.path, columns.problems
    names, file = texts(columns.rows[PATH])
    written, edge = columns.numbers(INDEX), np.zeros(len(file), np.int64)
    columns.check(written % 1 == 0, INDEX, written, "is no index")
    index = written.astype(np.int64)
    paths: list[str] = []
    apix = [0.0] * len(names)
    boxes: dict[tuple[int, ...], str] = {}
    for number, (name, rows) in enumerate(zip(names, rows_by_file(file, len(names)))):
        place = in_project(name.lstrip(">"), path)
        paths.append(str(place.path.resolve()))
        try:
            if place.missing or not name.strip(">"):
                raise InputError(place.missing if name.strip(">") else "no name of a stack")
            header = stack_header(place.path)
        except InputError as error:
            problems.add_rows(path, rows, f"column {PATH}: {error}")
            continue
        if place.note:
            log.warning("%s", place.note)
        if header.note:
            log.warning("%s", header.note)
        count, *size = header.shape
        apix[number] = header.apix if abs(header.apix - 1) > UNSET else 0.0
        boxes.setdefault(tuple(size), name)
        edge[rows] = size[-1]
        wrong = rows[(index[rows] < 0) | (index[rows] >= count)]
        if len(wrong):
            text = f"column {INDEX}: image {index[wrong[0]]} (from 0) of {shortened(name)}, which holds {count}"
            problems.add_rows(path, wrong, text)
    check_shapes(boxes, problems)
    if SHAPE in columns.names:
        shape = columns.numbers(SHAPE, 2)[:, 0]
        columns.check((shape == edge) | (edge == 0), SHAPE, shape, "px, but the stack has images of another size")
    sign = columns.numbers(SIGN) if SIGN in columns.names else np.ones(len(file))
    columns.check(np.abs(sign) == 1, SIGN, sign, "is neither 1 nor -1")
    return CsImages(tuple(paths), tuple(apix), file.astype(np.int32), index, edge, sign < 0)


def in_project(name: str, path: Path) -> Place:
    """Where a file is that a table names from the project's folder: the nearest folder above the table that has it.

    Other projects have files of the same name, so that the current folder comes last.
    """
    for folder in Path(os.path.abspath(path)).parents:
        if (folder / name).is_file():
            return Place(folder / name)
    return find(name, path)


def lenses_of(columns: Columns, images: CsImages, apix: float | None) -> tuple[tuple[Lens, ...], np.ndarray, str]:
    """The different boxes and pixel sizes, (p,) int32 which of them each row has, and where the pixel size came from.

    `apix` in Å overrides the file. A problem where there is no pixel size or they differ wildly. Lens errors, whose
    definitions cryoSPARC does not publish, are told to be left as they are.
    """
    if apix:
        own = columns.numbers(PIXEL) if PIXEL in columns.names else np.ones(len(columns))
        if own.max() > SAME_PIXEL * own.min():
            columns.problems.add(
                f"{columns.path}: --apix is one pixel size for all images, but column {PIXEL} has {own.min():g} to "
                f"{own.max():g} Å: leave --apix out, or correct the table"
            )
        pixel, source = np.full(len(columns), float(apix)), "--apix"
    else:
        columns.require(PIXEL)
        pixel, source = columns.numbers(PIXEL), f"column {PIXEL}"
        usual = float(np.median(pixel))
        wrong = np.flatnonzero((pixel <= 0) | (pixel > MOST_RATIO * usual) | (pixel * MOST_RATIO < usual))
        if len(wrong):
            text = f"column {PIXEL}: {pixel[wrong[0]]:g} Å per pixel, where others have {usual:g}"
            columns.problems.add_rows(columns.path, wrong, text)
        _check_stacks(columns, images, pixel)
        pixel = merged_pixels(pixel)
    _warn_of_lens_errors(columns)
    grids = np.stack([np.maximum(images.edge, 1), np.maximum(pixel, 1e-3)], axis=1)
    different, lens = np.unique(grids, axis=0, return_inverse=True)
    several = len(different) > 1
    names = [f"images of {int(nx)} px, {size:.4g} Å" if several else "all images" for nx, size in different]
    lenses = tuple(Lens(name, Grid(int(nx), float(size))) for name, (nx, size) in zip(names, different))
    return lenses, lens.reshape(-1).astype(np.int32), source


def _check_stacks(columns: Columns, images: CsImages, pixel: np.ndarray) -> None:
    """A problem for the first stack whose header has another pixel size than each of its rows, (p,) `pixel`."""
    for number, rows in enumerate(rows_by_file(images.file, len(images.paths))):
        ratio = pixel[rows] / (images.apix[number] or 1.0)
        if images.apix[number] > 0 and not ((ratio <= SAME_PIXEL) & (ratio * SAME_PIXEL >= 1)).any():
            text = f"{images.paths[number]} has {images.apix[number]:.4g}: correct one of them, or decide with --apix"
            columns.problems.add_rows(columns.path, rows, f"column {PIXEL}: {pixel[rows[0]]:.4g} Å, but {text}")
            return


def merged_pixels(pixel: np.ndarray) -> np.ndarray:
    """Pixel sizes (p,) of which those within NEAR_PIXEL of each other are one: single precision, rounded decimals."""
    different, place = np.unique(pixel, return_inverse=True)
    first = np.concatenate([[True], np.diff(different) > NEAR_PIXEL * different[1:]])
    return different[np.flatnonzero(first)][np.cumsum(first) - 1][place.reshape(-1)]


def _warn_of_lens_errors(columns: Columns) -> None:
    """Name the lens errors of the file, which are not corrected."""
    found = [name for name in LENS_ERRORS if name in columns.names and np.any(columns.rows[name])]
    if MAGNIFICATION in columns.names:
        values = columns.numbers(MAGNIFICATION, 4)
        if (np.any(values, axis=1) & ~np.all(values == [1, 0, 0, 1], axis=1)).any():
            found.append(MAGNIFICATION)
    if found:
        log.warning(
            "warning: %s: %s are not zero, and are not corrected: cryoSPARC does not publish their definitions; take "
            "RELION's particle file where they matter",
            columns.path,
            ", ".join(found),
        )


def ctf_of(columns: Columns, *, required: bool) -> CTFParams | None:
    """CTF of every row; without its columns None, and a problem when the CTF is `required`."""
    missing = [name for name, (_, default) in CTF_COLUMNS.items() if default is None and name not in columns.names]
    if missing:
        if required:
            source = NO_CTF.format("cryoSPARC's passthrough file, " + SECOND.format(columns.path))
            columns.problems.add(f"{columns.path}: missing CTF columns {', '.join(missing)}: {source}")
        return None
    fields: dict[str, Any] = {}
    for name, (field, default) in CTF_COLUMNS.items():
        values = columns.numbers(name) if name in columns.names else np.full(len(columns), default)
        fields[field] = np.degrees(values) if field in RADIANS else values
    sources = {field: f"column {name}" for name, (field, _) in CTF_COLUMNS.items()}
    check_ranges(columns.path, fields, sources, columns.problems)
    return CTFParams(**fields)


def poses_of(columns: Columns, table: ParticleTable, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (p, 3, 3) from map to image, and shifts (p, 2) in pixels of the common grid; InputError where columns
    are missing.
    """
    from scipy.spatial.transform import Rotation

    columns.require(POSE, SHIFT)
    rotation = Rotation.from_rotvec(columns.numbers(POSE, 3)).inv().as_matrix()
    own = PIXEL if PIXEL in columns.names else SHIFT_PIXEL
    pixel = columns.numbers(SHIFT_PIXEL if SHIFT_PIXEL in columns.names else own)
    columns.check(pixel > 0, SHIFT_PIXEL, pixel, "is no pixel size in Å")
    shift = -columns.numbers(SHIFT, 2) * pixel[:, None]
    edge = np.array([lens.grid.length for lens in table.lenses])[table.lens_of(slice(None))]
    wrong = np.flatnonzero(np.abs(shift).max(axis=1) > edge / 2)
    columns.problems.add_rows(columns.path, wrong, f"column {SHIFT}: the particle would lie outside of its image")
    return rotation, to_common(shift, table, grid)


def split_of(columns: Columns) -> np.ndarray | None:
    """(p,) int8 half-set of each row, -1 where it is neither; None without the column."""
    if SPLIT not in columns.names:
        return None
    values = columns.numbers(SPLIT)
    return np.where(np.isin(values, (0, 1)), values, -1).astype(np.int8)
