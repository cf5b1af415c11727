"""CTF parameters of RELION's particle files, from the particles' columns or those of their optics groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.errors import Problems
from mpirefine.storage.particle_checks import NO_CTF, check_ranges
from mpirefine.storage.relion.optics import has_column, spread_column
from mpirefine.storage.star import StarTable

# column -> field of CTFParams, and its value when the file has no such column (None: the column must be there)
CTF_COLUMNS: dict[str, tuple[str, float | None]] = {
    "rlnDefocusU": ("defocus_u", None),
    "rlnDefocusV": ("defocus_v", None),
    "rlnDefocusAngle": ("defocus_angle", None),
    "rlnPhaseShift": ("phase_shift", 0.0),
    "rlnCtfBfactor": ("bfactor", 0.0),
    "rlnCtfScalefactor": ("scale", 1.0),
    "rlnVoltage": ("voltage", None),
    "rlnSphericalAberration": ("cs", None),
    "rlnAmplitudeContrast": ("amplitude_contrast", None),
}
FLAG_COLUMNS = {"rlnCtfDataArePhaseFlipped": "flipped", "rlnCtfDataAreCtfPremultiplied": "premultiplied"}
LEAST_DEFOCUS = 100.0  # Å; where all are below it, the column was written in µm


def read_ctf(
    path: Path, particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Problems, *, required: bool
) -> CTFParams | None:
    """CTF of every particle; `group` (p,) is its row of `optics`. Where columns are missing None, and a problem when
    the CTF is `required`.
    """
    missing = [
        f"_{column}"
        for column, (_, default) in CTF_COLUMNS.items()
        if default is None and not has_column(column, particles, optics)
    ]
    if missing and not required:
        return None
    if missing:
        source = NO_CTF.format("RELION's CtfFind or Extract job")
        problems.add(f"{path}: missing CTF column{'s' * (len(missing) > 1)} {', '.join(missing)}: {source}")
    fields: dict[str, Any] = {}
    for column, (field, default) in CTF_COLUMNS.items():
        if has_column(column, particles, optics):
            values = spread_column(column, particles, optics, group, problems)
        else:
            values = None if default is None else np.full(len(particles), default)
        if values is not None:
            fields[field] = values
    check_ranges(path, fields, {field: f"column _{column}" for column, (field, _) in CTF_COLUMNS.items()}, problems)
    _check_unit(path, fields, problems)
    complete = len(fields) == len(CTF_COLUMNS)
    fields |= _read_flags(particles, optics, group, problems)
    return CTFParams(**fields) if complete else None


def _check_unit(path: Path, fields: Mapping[str, np.ndarray], problems: Problems) -> None:
    for column, (field, _) in CTF_COLUMNS.items():
        values = fields.get(field, np.zeros(0))
        if field in ("defocus_u", "defocus_v") and len(values) and np.abs(values).max() < LEAST_DEFOCUS:
            problems.add(
                f"{path}: column _{column}: {values[0]:g} and the like look like µm; the column is in Å: multiply by "
                "10000"
            )


def _read_flags(
    particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Problems
) -> dict[str, np.ndarray]:
    """What was done to the images, (p,) bool for each field that is set for any."""
    flags = {}
    for column, field in FLAG_COLUMNS.items():
        if has_column(column, particles, optics):
            values = spread_column(column, particles, optics, group, problems)
            if values is not None and np.any(values > 0):
                flags[field] = values > 0
    return flags
