"""Box and pixel size of the images of EMAN2's lists and stacks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.errors import Problems
from mpirefine.storage.eman2.hdf_header import number_of
from mpirefine.storage.eman2.image_headers import PIXELS, ParticleImages
from mpirefine.storage.particle_checks import LEAST_BOX, check_one_size, check_shapes, rows_by_file
from mpirefine.storage.places import shortened

log = logging.getLogger(__name__)
EVERYTHING = "all"  # images


def read_grids(
    particles: ParticleImages, apix: float | None, problems: Problems
) -> tuple[tuple[Lens, ...], np.ndarray, str]:
    """The different boxes and pixel sizes of the images, (p,) int32 which of them each has, and where the pixel size
    came from; a problem for images that are not there.

    A list that says the pixel size of each image may mix them; without that, files of different ones are a mistake.
    `apix` in Å overrides what files say.
    """
    own = _listed_pixels(particles, problems)
    listed = bool(np.isfinite(own).all())
    boxes, edges, pixels = _read_files(particles, problems, pixels_asked=not listed and not apix)
    if not listed:
        check_one_size(particles.path, boxes, problems)
        pixel, source = (apix, "--apix") if apix else (_one_pixel(particles, pixels, problems), "the headers")
        grid = Grid(next(iter(boxes), (LEAST_BOX,))[-1], max(float(pixel), 1e-3))
        return (Lens(EVERYTHING, grid),), np.zeros(len(own), np.int32), source
    source = f"{PIXELS[0]} in the list"
    if apix:
        if own.max() > 1.01 * own.min():
            sizes = ", ".join(f"{value:g}" for value in np.unique(own)[:4])
            problems.add(
                f"{particles.path}: --apix is one pixel size for all images, but the list has {sizes} Å "
                f"({PIXELS[0]}): leave --apix out, or correct the list"
            )
        own, source = np.full(len(own), float(apix)), "--apix"
    grids = np.stack([edges[particles.file], own], axis=1)
    different, first, place = np.unique(grids, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    names = [EVERYTHING] if len(first) == 1 else [f"row {row + 1}" for row in first[order]]
    lenses = tuple(Lens(name, Grid(int(n), float(size))) for name, (n, size) in zip(names, different[order]))
    return lenses, np.argsort(order)[place.reshape(-1)].astype(np.int32), source


def _read_files(
    particles: ParticleImages, problems: Problems, *, pixels_asked: bool
) -> tuple[dict[tuple[int, ...], Path], np.ndarray, dict[float, Path]]:
    """Each size of images with a file that has it, the edge in pixels of each file's images, and, where they are asked
    for, the pixel sizes in Å with a file that has each.
    """
    boxes: dict[tuple[int, ...], Path] = {}
    pixels: dict[float, Path] = {}
    edges = np.full(len(particles.files), LEAST_BOX)
    rows_of = rows_by_file(particles.file, len(particles.files))
    for number, (place, rows) in enumerate(zip(particles.files, rows_of)):
        wrong = Problems()
        with wrong.collect():
            file = particles.open_file(place)
            boxes.setdefault(file.shape, place)
            edges[number] = file.shape[-1]
            beyond = rows[particles.image[rows] >= file.count]
            last = int(particles.image[beyond].max(initial=0))
            text = f"image {last} of {place}, which holds {file.count} (counted from 0)"
            problems.add_rows(particles.path, beyond, text)
            if file.note:
                log.warning("%s", file.note)
            if pixels_asked:
                pixels.setdefault(round(file.apix, 4), place)
        if wrong and particles.is_list:
            problems.add_rows(particles.path, rows, "; ".join(wrong.texts))
        else:
            problems.add(*wrong.texts)
    check_shapes(boxes, problems)
    return boxes, edges, pixels


def _one_pixel(particles: ParticleImages, pixels: Mapping[float, Path], problems: Problems) -> float:
    """The Å per pixel that the headers of all files have; a problem where they differ, or do not say."""
    if len(pixels) > 1:
        sizes = ", ".join(f"{value:g} Å ({place})" for value, place in pixels.items())
        problems.add(f"{particles.path}: pixel sizes differ: {sizes}: decide with --apix")
    pixel = next(iter(pixels), 0.0)
    if pixel <= 0 and not problems:
        problems.add(f"{particles.path}: no pixel size in the headers ({PIXELS[0]}): give --apix")
    return pixel


def _listed_pixels(particles: ParticleImages, problems: Problems) -> np.ndarray:
    """(p,) Å per pixel that the list itself has for an image, as it replaces what its file says; NaN where it has
    none.
    """
    found = [entry[2].get(PIXELS[0]) for entry in particles.entries]
    numbers = [None if value is None else number_of(value) for value in found]
    wrong = [
        row
        for row, (value, number) in enumerate(zip(found, numbers))
        if value is not None and not (number is not None and 0 < number < np.inf)
    ]
    if wrong:
        problems.add_rows(particles.path, wrong, f"{PIXELS[0]}: {shortened(found[wrong[0]])} is no pixel size in Å")
        return np.full(len(found), np.nan)
    return np.array([np.nan if number is None else round(number, 6) for number in numbers])
