"""Particles that came from another program as a table of cryoSPARC."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.keys import image_keys, mixed
from mpirefine.data.lens import NO_DISTORTION
from mpirefine.data.particles import ParticleTable
from mpirefine.storage.cryosparc.columns import CTF_COLUMNS, INDEX, PATH, PIXEL, RADIANS, SIGN
from mpirefine.storage.cryosparc.dataset import UID
from mpirefine.storage.cryosparc.particles import GROUP, CsParticles
from mpirefine.storage.lens_frames import pixels_of_rows

log = logging.getLogger(__name__)
FLAGS = {"premultiplied": "multiplication by the CTF", "flipped": "flipped phases"}  # of CTFParams


def convert_to_cs(path: Path, table: ParticleTable, grid: Grid) -> CsParticles:
    """A particle file of cryoSPARC with these particles; uids follow from the images' names."""
    lost = losses(table)
    if lost:
        log.warning("warning: %s: written as a table of cryoSPARC, which has no columns for %s", path, "; ".join(lost))
    edges = np.array([lens.grid.nx for lens in table.lenses] or [grid.nx])[table.lens_of(slice(None))]
    inverted = np.zeros(len(table), bool) if table.inverted is None else table.inverted
    columns: dict[str, np.ndarray] = {
        UID: unique_uids(table),
        PATH: np.array([file.encode() for file in table.files])[table.file],
        INDEX: table.image.astype("u4"),
        "blob/shape": np.stack([edges, edges], axis=1).astype("u4"),
        PIXEL: pixels_of_rows(table, grid).astype("f4"),
        SIGN: np.where(inverted, -1, 1).astype("f4"),
        "blob/import_sig": np.zeros(len(table), "u8"),
        GROUP: (table.optics_of_group[table.group] + 1).astype("u4"),
    }
    if table.ctf is not None:
        columns["ctf/type"] = np.full(len(table), b"imported")
        for name, (field, _) in CTF_COLUMNS.items():
            values = getattr(table.ctf, field)
            columns[name] = (np.radians(values) if field in RADIANS else values).astype("f4")
    rows = np.zeros(len(table), [(name, values.dtype, values.shape[1:]) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    return CsParticles(path, table, grid, rows)


def losses(table: ParticleTable) -> list[str]:
    """What is known of the particles that the table cannot say, in words: used again as they are, they would be
    corrected wrongly.
    """
    found = []
    for field, text in FLAGS.items():
        flags = getattr(table.ctf, field, None)
        if flags is not None and flags.any():
            found.append(f"{text} ({flags.sum()} images)")
    if any(any(lens.odd) or any(lens.even) or lens.magnification != NO_DISTORTION for lens in table.lenses):
        found.append("the lens errors of their optics groups")
    return found


def unique_uids(table: ParticleTable) -> np.ndarray:
    """(p,) uint64 from the name and index of each image, and the row where an image is repeated."""
    uids = image_keys(table.files, table.file, table.image)
    _, first = np.unique(uids, return_index=True)
    repeated = np.ones(len(uids), bool)
    repeated[first] = False
    uids[repeated] = mixed(uids[repeated] ^ mixed(np.flatnonzero(repeated).astype(np.uint64)))
    return uids
