"""Beam tilt, Zernike coefficients and magnification matrices of RELION's particle files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpirefine.data.aberrations import Aberrations
from mpirefine.errors import Problems
from mpirefine.storage.places import shortened
from mpirefine.storage.relion.optics import GROUP, GROUP_NAME, read_numbers
from mpirefine.storage.star import StarTable

TILT = ("rlnBeamTiltX", "rlnBeamTiltY")
ZERNIKE = ("rlnOddZernike", "rlnEvenZernike")
MATRIX = ("rlnMagMatrix_00", "rlnMagMatrix_01", "rlnMagMatrix_10", "rlnMagMatrix_11")
LENS = ("rlnVoltage", "rlnSphericalAberration")
MOST_COEFFICIENTS = 200


def read_aberrations(
    path: Path, particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Problems
) -> Aberrations | None:
    """Every different set of aberrations in the file; None when it has no such columns. `group` (p,) is each particle's
    row of `optics`.
    """
    cases = _Cases(path, particles, optics, group, problems)
    if not any(name in cases.table for name in (*TILT, *ZERNIKE, *MATRIX)):
        return None
    names = cases.names()
    odd, even = (cases.coefficients(name) for name in ZERNIKE)
    matrix = [cases.numbers(name, float(name in (MATRIX[0], MATRIX[3]))) for name in MATRIX]
    return Aberrations(
        names,
        cases.numbers(LENS[0], np.nan),
        cases.numbers(LENS[1], np.nan),
        np.stack([cases.numbers(name, 0.0) for name in TILT], axis=1),
        odd,
        even,
        np.stack(matrix, axis=1).reshape(-1, 2, 2),
    )


class _Cases:
    """The optics groups, and where particles have columns of their own, the rows that differ; `rows` is the first
    particle of each case.
    """

    def __init__(
        self, path: Path, particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Problems
    ):
        self._path, self._optics, self._group, self._problems = path, optics, group, problems
        self.table = {  # column -> the table it is read from; the particles' own values come first
            column: table
            for table in (optics, particles)
            if table is not None
            for column in (*TILT, *ZERNIKE, *MATRIX, *LENS)
            if column in table
        }
        own = [column for column in (*TILT, *ZERNIKE, *MATRIX) if self.table.get(column) is particles]
        self._by_row = bool(own)
        keys = np.stack([group, *(particles.factorise(column)[1] for column in own)], axis=1)
        self.rows = np.sort(np.unique(keys, axis=0, return_index=True)[1])

    def names(self) -> tuple[str, ...]:
        """Of each case: its first row, or its optics group."""
        if self._by_row or self._optics is None:
            return tuple(f"row {row + 1}" for row in self.rows)
        column = GROUP_NAME if GROUP_NAME in self._optics else GROUP
        names = self._optics.column(column) if GROUP in self._optics else ["1"]
        return tuple(f"optics group {names[number]}" for number in self._group[self.rows])

    def _places(self, column: str) -> np.ndarray:
        """The row of the column's table that holds the value of each case."""
        return self._group[self.rows] if self.table[column] is self._optics else self.rows

    def _where(self, column: str) -> str:
        return f"column _{column}{' of table optics' * (self.table[column] is self._optics)}"

    def numbers(self, column: str, default: float) -> np.ndarray:
        """(k,) values of a column, `default` without it; a problem where one is not finite, except for the lens."""
        values = read_numbers(self.table[column], column, self._problems) if column in self.table else None
        if values is None:
            return np.full(len(self.rows), default)
        places = self._places(column)
        found = values[places]
        if column not in LENS:
            wrong = np.unique(places[~np.isfinite(found)])
            self._problems.add_rows(self._path, wrong, f"{self._where(column)}: no finite number")
        return found

    def coefficients(self, column: str) -> tuple[tuple[float, ...], ...]:
        """Zernike coefficients of each case, from cells [a,b,...]; a problem for a cell that is no such list."""
        if column not in self.table:
            return ((),) * len(self.rows)
        found = []
        for row in self._places(column).tolist():
            cell = self.table[column].cell(column, row)
            try:
                found.append(_parse_list(cell))
            except ValueError:
                text = f"{self._where(column)}: '{shortened(cell)}' is no list of finite numbers, [a,b,...]"
                self._problems.add_rows(self._path, [row], text)
                found.append(())
        return tuple(found)


def _parse_list(cell: str) -> tuple[float, ...]:
    """The numbers of [a,b,...]. ValueError when there are none, or too many."""
    if not (cell.startswith("[") and cell.endswith("]")):
        raise ValueError
    found = tuple(float(part) for part in cell[1:-1].split(",")) if cell[1:-1].strip() else ()
    if not np.isfinite(found).all() or len(found) > MOST_COEFFICIENTS:
        raise ValueError
    return found
