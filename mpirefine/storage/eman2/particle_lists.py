"""EMAN2's particle files: lists of images and stacks with headers; and lists written with map, pose and probability of
each particle.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.grid import Grid
from mpirefine.data.keys import halves, image_keys
from mpirefine.data.particles import ParticleTable
from mpirefine.errors import PROBLEMS_SHOWN, FormatError, InputError, Problems
from mpirefine.maths.eman2.ctf import to_params
from mpirefine.storage.eman2 import lst
from mpirefine.storage.eman2.hdf import matrix_of
from mpirefine.storage.images import ImageFile, ListImages, open_images
from mpirefine.storage.optics import NO_CTF, RANGES, check_ranges, noise_groups
from mpirefine.storage.places import shortened

log = logging.getLogger(__name__)

SUBSET = "half"  # a list's own header value: the half-set of a particle, 1 or 2


@dataclass(frozen=True)
class EmanParticles:
    """A list or stack without its pixels: the table, the grid of the images, and where each image lies."""

    path: Path
    table: ParticleTable
    grid: Grid
    headers: tuple[dict[str, Any], ...] = ()  # what the list itself says of each image
    pixel_source: str = ""  # where the pixel size came from, in words

    suffix = ".lst"
    aberrations = None  # EMAN2's CTF has none

    def subset(self, path: str | os.PathLike[str], rows: np.ndarray) -> None:
        """Write some rows as they came."""
        names = names_from_here(self.table)
        lst.write_lst(
            path,
            [
                lst.Entry(
                    int(self.table.image[row]), names[self.table.file[row]], self.headers[row] if self.headers else {}
                )
                for row in rows
            ],
        )

    def with_table(self, table: ParticleTable) -> EmanParticles:
        """The same file with what is known otherwise of its rows."""
        return replace(self, table=table)

    def image_names(self, rows: np.ndarray) -> list[str]:
        """index@stack of some rows, the index from 0 as EMAN2 counts."""
        return [f"{self.table.image[row]}@{self.table.files[self.table.file[row]]}" for row in rows]

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
        """As `write_list`."""
        write_list(
            path,
            self.table,
            self.headers,
            model=model,
            posterior=posterior,
            rotation=rotation,
            shift_xy=shift_xy,
            half=half,
            rows=rows,
        )


def read_particles(
    path: str | os.PathLike[str],
    apix: float | None = None,
    *,
    ctf: bool = True,
    poses: bool = False,
    ctf_needed: bool = True,
) -> EmanParticles:
    """On rank 0. Read and check a list (.lst) or a stack (.hdf, .mrcs); `apix` (Å) overrides what the headers say.

    Images whose headers hold a CTF are taken to have flipped phases, as EMAN2's refinements need them; that none has
    one is a complaint unless
    `ctf_needed` is False. `poses=True` reads `xform.projection`, which must be there. Raises InputError with every
    problem found.
    """
    path, problems = Path(path), Problems(PROBLEMS_SHOWN)
    with open_images(path) as images:
        if len(images.shape) != 2:
            raise InputError(
                f"{path}: holds {'x'.join(map(str, images.shape[::-1]))} voxels: a map, but --input names particles"
            )
        entries = (
            images.entries if isinstance(images, ListImages) else [(path, index, {}) for index in range(images.count)]
        )
        places = {file: number for number, file in enumerate(dict.fromkeys(entry[0] for entry in entries))}
        table_file = np.array([places[entry[0]] for entry in entries], np.int32)
        table_image = np.array([entry[1] for entry in entries], np.int64)
        grid, source = _grid(path, images, places, table_file, table_image, apix, problems)
        problems.raise_if_any()  # before the headers of all images are read
        found = _ctf(path, images, problems, needed=ctf_needed) if ctf else []
        _check_own_poses(path, entries, problems)
        rotation, shift = _poses(path, images, problems) if poses else (None, None)
        micrographs = _micrographs(path, images, entries, problems)
    with np.errstate(over="ignore"):  # such values are told below
        params = to_params(found, flipped=True) if found else None
    if params is not None:
        check_ranges(path, vars(params), dict.fromkeys(RANGES, "header ctf"), problems)
    problems.raise_if_any()
    for note in images.listed.notes if isinstance(images, ListImages) else ():
        log.warning("%s", note)
    group, names, optics_of = noise_groups(micrographs, np.zeros(len(entries), np.int32), ("all",))
    rows = np.arange(len(entries))
    stacks = tuple(str(file.resolve()) for file in places)
    table = ParticleTable(
        stacks,
        table_file,
        table_image,
        rows,
        group,
        names,
        halves(image_keys(stacks, table_file, table_image)),
        params,
        rotation,
        shift,
        optics_of,
        *each_once(found),
        subset=_subset([entry[2].get(SUBSET) for entry in entries]),
    )
    return EmanParticles(path, table, grid, tuple(entry[2] for entry in entries), source)


def _grid(
    path: Path,
    images: ImageFile,
    places: dict[Path, int],
    file: np.ndarray,
    image: np.ndarray,
    apix: float | None,
    problems: Problems,
) -> tuple[Grid, str]:
    """Box and Å per pixel, the same in all files, and where the pixel size came from; and every image must be there."""
    boxes: dict[tuple[int, ...], Path] = {}
    pixels: dict[float, Path] = {}
    for place, number in places.items():
        try:
            one = images.file(place) if isinstance(images, ListImages) else images
            boxes.setdefault(one.shape, place)
            beyond = np.flatnonzero((file == number) & (image >= one.count))
            problems.add_rows(
                path,
                beyond,
                f"image {int(image[beyond].max(initial=0))} of {place}, which holds {one.count} (counted from 0)",
            )
            if one.note:
                log.warning("%s", one.note)
            if apix is None:
                pixels.setdefault(round(one.apix, 4), place)
        except InputError as error:
            if isinstance(images, ListImages):
                problems.add_rows(path, np.flatnonzero(file == number), "; ".join(error.problems))
            else:
                problems.add(*error.problems)
    if len(boxes) > 1:
        problems.add(
            f"{path}: images of different sizes: "
            + ", ".join(f"{' x '.join(map(str, s))} ({p})" for s, p in boxes.items())
            + ": bring them to one box first"
        )
    shape = next(iter(boxes), (16, 16))
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] % 2 or shape[0] < 16:
        problems.add(
            f"{path}: images of {' x '.join(map(str, shape[::-1]))} pixels, but the box must be square, even and at "
            "least 16: "
            "clip or pad them"
        )
    if len(pixels) > 1:
        problems.add(
            f"{path}: pixel sizes differ: "
            + ", ".join(f"{v:g} Å ({p})" for v, p in pixels.items())
            + ": decide with --apix"
        )
    pixel, source = (apix, "--apix") if apix else (next(iter(pixels), 0.0), "the headers")
    if pixel <= 0 and not problems:
        problems.add(f"{path}: no pixel size in the headers (apix_x): give --apix")
    return Grid(shape[-1], max(float(pixel), 1e-3)), source


def _subset(told: Sequence[Any]) -> np.ndarray | None:
    """Half-set of each image as its list has it, from 0; -1 where that is neither 1 nor 2, None where no row has
    any.
    """
    known = {1: 0, 2: 1}
    if not any(value in known for value in told if isinstance(value, int)):
        return None
    return np.array([known.get(value, -1) if isinstance(value, int) else -1 for value in told], np.int8)


def _ctf(path: Path, images: ImageFile, problems: Problems, *, needed: bool) -> list[EmanCTF]:
    """The CTF of every image; empty where none has one."""
    found: list[EmanCTF] = []
    missing = []
    for row in range(images.count):
        value = images.value(row, "ctf")
        try:
            if value is None:
                missing.append(row)
            else:
                found.append(EmanCTF.from_header(value))
        except FormatError as error:
            problems.add(f"{path}: row {row + 1}: {error}")
    if not found and len(missing) == images.count:
        if needed:
            problems.add(
                f"{path}: no image has a CTF (header ctf): " + NO_CTF.format("EMAN2's e2ctf_auto.py or e2ctf.py")
            )
        return []
    problems.add_rows(
        path,
        np.array(missing, int),
        "no CTF in the header, but others have one: run CTF estimation for all, or say --no-ctf",
    )
    return found


def _micrographs(
    path: Path, images: ImageFile, entries: Sequence[tuple[Path, int, dict[str, Any]]], problems: Problems
) -> list[str]:
    """The micrograph of every image, or the file it lies in."""
    found = [images.value(row, "ptcl_source_image") for row in range(images.count)]
    wrong = [row for row, value in enumerate(found) if value is not None and not isinstance(value, str)]
    if wrong:
        problems.add_rows(
            path, np.array(wrong), f"ptcl_source_image: {shortened(found[wrong[0]])} is no name of a micrograph"
        )
        return []
    return [name or str(entry[0]) for name, entry in zip(found, entries)]


def each_once(ctfs: list[EmanCTF]) -> tuple[tuple[EmanCTF, ...] | None, np.ndarray | None]:
    """The different ones, and which of them each is: micrographs share one."""
    if not ctfs:
        return None, None
    place = {ctf: number for number, ctf in enumerate(dict.fromkeys(ctfs))}
    return tuple(place), np.array([place[ctf] for ctf in ctfs], np.int32)


def _check_own_poses(path: Path, entries: Sequence[tuple[Path, int, dict[str, Any]]], problems: Problems) -> None:
    """Problems about what a list itself gives for a Transform."""
    own = [
        (row, entry[2]["xform.projection"])
        for row, entry in enumerate(entries)
        if entry[2].get("xform.projection") is not None
    ]
    wrong = [(row, value) for row, value in own if matrix_of(value) is None]
    if wrong:
        problems.add_rows(
            path,
            np.array([row for row, _ in wrong]),
            f"xform.projection: {shortened(wrong[0][1])} is no Transform of finite numbers",
        )


def _poses(path: Path, images: ImageFile, problems: Problems) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (n, 3, 3) and shift (n, 2) in pixels from the box centre to the particle; a mirrored view is the one
    from behind.
    """
    told = [images.value(row, "xform.projection") for row in range(images.count)]
    found = [matrix_of(value) for value in told]
    missing = np.array([row for row, value in enumerate(told) if value is None], int)
    problems.add_rows(
        path, missing, "--fixed-poses needs xform.projection in the list or header: refine the particles first"
    )
    own = images.entries if isinstance(images, ListImages) else [(path, row, {}) for row in range(images.count)]
    wrong = [
        row
        for row, value in enumerate(told)
        if value is not None and found[row] is None and "xform.projection" not in own[row][2]
    ]
    if wrong:
        problems.add_rows(
            path,
            np.array(wrong),
            f"header xform.projection: {shortened(told[wrong[0]])} is no Transform of finite numbers",
        )
    matrix = np.array([np.eye(3, 4) if value is None else value for value in found], np.float64).reshape(-1, 3, 4)
    rotation = matrix[:, :, :3].copy()
    rotation[np.linalg.det(rotation) < 0, 2] *= -1
    return rotation, matrix[:, :2, 3]


def names_from_here(table: ParticleTable) -> list[str]:
    """The stacks as EMAN2 wants them in lists: from the current folder where they lie in it."""
    here = Path.cwd()
    return [os.path.relpath(file, here) if Path(file).is_relative_to(here) else file for file in table.files]


def write_list(
    path: str | os.PathLike[str],
    table: ParticleTable,
    own: Sequence[dict[str, Any]] = (),
    *,
    model: np.ndarray,
    posterior: np.ndarray,
    rotation: np.ndarray,
    shift_xy: np.ndarray,
    half: np.ndarray | None = None,
    rows: np.ndarray | None = None,
) -> None:
    """Write an EMAN2 list: of each particle its file, and `xform.projection`, `class` (from 1, 0 for those set aside),
    `score` (minus the
    probability of its map: smaller is better), over what its list said (`own`); and its half-set (`half`, from 0).
    `rows` writes only some.
    """
    names, entries = names_from_here(table), []
    for row in range(len(table)) if rows is None else rows:
        matrix = np.zeros((3, 4), np.float32)
        matrix[:, :3], matrix[:2, 3] = rotation[row], shift_xy[row]
        header = {
            **(own[row] if own else {}),
            "class": int(model[row]) + 1,
            "score": -round(float(posterior[row]), 6),
            "xform.projection": matrix,
        }
        if half is not None:
            header[SUBSET] = int(half[row]) + 1
        entries.append(lst.Entry(int(table.image[row]), names[table.file[row]], header))
    lst.write_lst(path, entries)
