"""Particles that came from another program as a list of EMAN2: the header values that each line then holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.lens import NO_DISTORTION
from mpirefine.data.particles import ParticleTable
from mpirefine.maths.eman2.ctf import to_columns
from mpirefine.storage.eman2.image_headers import CTF, FLIPPED, MICROGRAPH, PIXELS
from mpirefine.storage.eman2.particles import SUBSET, EmanParticles
from mpirefine.storage.lens_frames import pixels_of_rows

log = logging.getLogger(__name__)
DIGITS = 8  # after the point: an amplitude contrast near 100 % has a phase that changes fast
PIXEL_DIGITS = 6


def list_particles(path: Path, table: ParticleTable, grid: Grid) -> EmanParticles:
    """A list of EMAN2 with these particles. What it cannot say, or EMAN2 will not take, is told in one warning."""
    lost = _losses(table)
    if lost:
        log.warning("%s: written as a list of EMAN2: %s", path, "; ".join(lost))
    return EmanParticles(path, table, grid, ConvertedHeaders(table, grid))


class ConvertedHeaders(Sequence[dict[str, Any]]):
    """The header values (p,) of particles in a list, made when they are asked for: those of a million particles would
    fill the memory. Pixel size and CTF of each image, its micrograph and half-set where they are known, and whether its
    phases are flipped.
    """

    def __init__(self, table: ParticleTable, grid: Grid):
        self._count = len(table)
        self._pixel = pixels_of_rows(table, grid).round(PIXEL_DIGITS).tolist()
        boxes = np.array([lens.grid.nx for lens in table.lenses] or [grid.nx])
        self._box = boxes[table.lens_of(slice(None))].tolist()
        ctf = to_columns(table.ctf) if table.ctf is not None else {}
        self._ctf = {name: values.round(DIGITS).tolist() for name, values in ctf.items()}
        self._raw = [] if table.ctf is None else (~phases_flipped(table)).tolist()
        self._half = [] if table.subset is None else table.subset.tolist()
        self._group, self._names = table.group.tolist(), table.group_names
        self._optics = int(table.optics_of_group.max(initial=-1)) + 1  # the groups after these are micrographs

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self._header, range(self._count))

    def __getitem__(self, row: Any) -> Any:
        return [self._header(i) for i in range(self._count)[row]] if isinstance(row, slice) else self._header(row)

    def _header(self, row: int) -> dict[str, Any]:
        pixel = self._pixel[row]
        header: dict[str, Any] = dict.fromkeys(PIXELS, pixel)
        if self._ctf:  # EMAN2 reads it only with all of its fields
            numbers = {name: values[row] for name, values in self._ctf.items()}
            curves = {"dsbg": 1 / (pixel * self._box[row]), "background": [], "snr": []}
            header[CTF] = {"__class__": "EMAN2Ctf", **numbers, "apix": pixel, **curves}
            if self._raw[row]:
                header[FLIPPED] = 0
        if self._group[row] >= self._optics:
            header[MICROGRAPH] = self._names[self._group[row]]
        if self._half and self._half[row] >= 0:
            header[SUBSET] = self._half[row] + 1
        return header


def phases_flipped(table: ParticleTable) -> np.ndarray:
    """(p,) bool, the images whose CTF is nowhere negative: flipped, or multiplied by it."""
    flags = [] if table.ctf is None else [table.ctf.flipped, table.ctf.premultiplied]
    known = [flag for flag in flags if flag is not None]
    return np.any(known, axis=0) if known else np.zeros(len(table), bool)


def _losses(table: ParticleTable) -> list[str]:
    """What a list does not hold, and what EMAN2 does not expect, in words."""
    dropped = []
    if table.ctf is not None:
        if (table.ctf.scale != 1).any():
            dropped.append("the scale of each CTF")
        if table.ctf.premultiplied is not None:
            dropped.append("that images are multiplied by their CTF (they count as flipped)")
    if any(lens.odd or lens.even or lens.magnification != NO_DISTORTION for lens in table.lenses):
        dropped.append("lens errors (beam tilt, aberrations, magnification)")
    lost = [f"it cannot hold {', '.join(dropped)}"] if dropped else []
    grids = {lens.grid for lens in table.lenses}
    if len(grids) > 1:
        lost.append(f"EMAN2 takes one box and pixel size, these are {len(grids)}")
    raw = 0 if table.ctf is None else int((~phases_flipped(table)).sum())
    if raw:
        lost.append(
            f"the phases of {raw} images are not flipped ({FLIPPED} 0, which this program knows): EMAN2 takes them for "
            "flipped, so flip them before you refine there"
        )
    return lost
