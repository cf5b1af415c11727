"""Beam tilt, Zernike coefficients and magnification matrices of RELION's particle files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpirefine.data.aberrations import Aberrations
from mpirefine.errors import Problems
from mpirefine.storage.optics import numbers
from mpirefine.storage.places import shortened
from mpirefine.storage.star import StarTable

TILT = ("rlnBeamTiltX", "rlnBeamTiltY")
ZERNIKE = ("rlnOddZernike", "rlnEvenZernike")
MATRIX = ("rlnMagMatrix_00", "rlnMagMatrix_01", "rlnMagMatrix_10", "rlnMagMatrix_11")
LENS = ("rlnVoltage", "rlnSphericalAberration")
MOST_COEFFICIENTS = 200


def aberrations(
    path: Path, particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Problems
) -> Aberrations | None:
    """What the file tells of them, in cases that differ; None when it has no such columns."""
    holder = {
        column: table
        for table in (optics, particles)
        if table is not None
        for column in (*TILT, *ZERNIKE, *MATRIX, *LENS)
        if column in table
    }
    own = [column for column in (*TILT, *ZERNIKE, *MATRIX) if holder.get(column) is particles]
    if not any(column in holder for column in (*TILT, *ZERNIKE, *MATRIX)):
        return None
    keys = zip(group.tolist(), *(particles.column(column) for column in own))
    first: dict[tuple, int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    rows = np.fromiter(first.values(), int)
    taken = {column: group[rows] if table is optics else rows for column, table in holder.items()}

    def column(name: str, default: float) -> np.ndarray:
        values = numbers(holder[name], name, problems) if name in holder else None
        if values is None:
            return np.full(len(rows), default)
        found = values[taken[name]]
        wrong = taken[name][~np.isfinite(found)]
        if name not in LENS:
            problems.add_rows(
                path,
                np.unique(wrong),
                f"column _{name}{' of table optics' * (holder[name] is optics)}: no finite number",
            )
        return found

    names = _names(rows, group, optics, bool(own))
    odd, even = (
        tuple(_zernike(path, holder[name], name, int(row), problems) for row in taken[name])
        if name in holder
        else ((),) * len(rows)
        for name in ZERNIKE
    )
    matrix = np.stack([column(name, float(name in (MATRIX[0], MATRIX[3]))) for name in MATRIX], axis=1).reshape(
        -1, 2, 2
    )
    return Aberrations(
        names,
        column(LENS[0], np.nan),
        column(LENS[1], np.nan),
        np.stack([column(name, 0.0) for name in TILT], axis=1),
        odd,
        even,
        matrix,
    )


def _names(rows: np.ndarray, group: np.ndarray, optics: StarTable | None, by_row: bool) -> tuple[str, ...]:
    """Of the cases: their first row, or their optics group."""
    if by_row or optics is None:
        return tuple(f"row {row + 1}" for row in rows)
    told = (
        optics.column("rlnOpticsGroupName" if "rlnOpticsGroupName" in optics else "rlnOpticsGroup")
        if "rlnOpticsGroup" in optics
        else ["1"]
    )
    return tuple(f"optics group {told[number]}" for number in group[rows])


def _zernike(path: Path, table: StarTable, column: str, row: int, problems: Problems) -> tuple[float, ...]:
    """The coefficients of one cell, [a,b,...]."""
    cell = table.cell(column, row)
    try:
        if not (cell.startswith("[") and cell.endswith("]")):
            raise ValueError
        found = tuple(float(part) for part in cell[1:-1].split(",")) if cell[1:-1].strip() else ()
        if not np.isfinite(found).all() or len(found) > MOST_COEFFICIENTS:
            raise ValueError
    except ValueError:
        problems.add_rows(
            path,
            np.array([row]),
            f"column _{column}{' of table optics' * (table.name == 'optics')}: '{shortened(cell)}' is no list of "
            "finite numbers, [a,b,...]",
        )
        return ()
    return found
