"""Lenses of RELION's particle files: pixel size, box, beam tilt, Zernike coefficients and magnification matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.lens import NO_DISTORTION, Lens, Matrix
from mpirefine.errors import Problems
from mpirefine.maths.image.aberrations import stretch, with_tilt
from mpirefine.storage.places import shortened
from mpirefine.storage.relion.optics import GROUP, GROUP_NAME, read_numbers
from mpirefine.storage.star import StarTable

TILT = ("rlnBeamTiltX", "rlnBeamTiltY")
ZERNIKE = ("rlnOddZernike", "rlnEvenZernike")
MATRIX = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
OTHER_NAMES = {name: f"rlnMagMatrix_{name[-2:]}" for name in MATRIX}  # those of RELION's documentation
SCOPE = ("rlnSphericalAberration", "rlnVoltage")
MOST_COEFFICIENTS = 200
MOST_STRETCH = 0.5  # relative change of length; a larger one is no magnification matrix
DEFAULTS = {**dict.fromkeys(TILT, 0.0), **dict(zip(MATRIX, (1.0, 0.0, 0.0, 1.0))), **dict.fromkeys(SCOPE, np.nan)}


def read_lenses(
    path: Path,
    particles: StarTable,
    optics: StarTable | None,
    group: np.ndarray,
    pixel: np.ndarray,
    box: np.ndarray,
    problems: Problems,
) -> tuple[np.ndarray, tuple[Lens, ...]]:
    """The place of each particle's lens, (p,) int32, and the different lenses, in the order of their first rows.

    `group` (p,) is each particle's row of `optics`, `pixel` (p,) Å and `box` (p,) are those of its image.
    """
    cases = _Cases(path, particles, optics, group, pixel, problems)
    numbers = {name: cases.numbers(name) for name in DEFAULTS}
    odd, even = (cases.coefficients(name) for name in ZERNIKE)
    known: dict[tuple[Grid, Matrix, tuple[float, ...], tuple[float, ...]], int] = {}
    lenses: list[Lens] = []
    places = []
    for k, (row, name) in enumerate(zip(cases.rows.tolist(), cases.names())):
        own = {column: float(values[k]) for column, values in numbers.items()}
        (a, b), (c, d) = NO_DISTORTION if not cases.has(*MATRIX) else _matrix_of(own)
        coefficients = cases.folded(k, odd[k], own)
        lens = Lens(name, Grid(int(box[row]), float(pixel[row])), ((a, b), (c, d)), coefficients, _unless_zero(even[k]))
        cases.check_matrix(k, lens)
        values = (lens.grid, lens.magnification, lens.odd, lens.even)
        if known.setdefault(values, len(lenses)) == len(lenses):
            lenses.append(lens)
        places.append(known[values])
    return np.array(places, np.int32)[cases.of_particle], tuple(lenses)


def _matrix_of(values: dict[str, float]) -> Matrix:
    a, b, c, d = (values[name] for name in MATRIX)
    return (a, b), (c, d)


def _unless_zero(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    """The coefficients; none where all are 0."""
    return coefficients if any(coefficients) else ()


class _Cases:
    """The optics groups, and where particles have columns or pixel sizes of their own, the rows that differ; `rows` is
    the first particle of each case, ascending, `of_particle` (p,) the case of each particle.
    """

    def __init__(
        self,
        path: Path,
        particles: StarTable,
        optics: StarTable | None,
        group: np.ndarray,
        pixel: np.ndarray,
        problems: Problems,
    ):
        self._path, self._optics, self._group, self._problems = path, optics, group, problems
        self._columns: dict[str, tuple[StarTable, str]] = {}  # the table a column is read from, and its name there
        for table in (optics, particles):  # the particles' own values come first
            for column in (*DEFAULTS, *ZERNIKE):
                for name in (column, OTHER_NAMES.get(column, column)) if table is not None else ():
                    if table is not None and name in table:
                        self._columns[column] = table, name
                        break
        errors = (*TILT, *ZERNIKE, *MATRIX, *(SCOPE if self.has(*TILT) else ()))
        own = [self._columns[c][1] for c in errors if c in self._columns and self._columns[c][0] is particles]
        sizes = np.unique(pixel, return_inverse=True)[1]
        code = group.astype(np.int64)
        for other in (sizes, *(particles.factorise(name)[1] for name in own)):
            code = np.unique(code * (int(other.max(initial=0)) + 1) + other, return_inverse=True)[1].reshape(-1)
        _, first, of_particle = np.unique(code, return_index=True, return_inverse=True)
        order = np.argsort(first)
        self.rows, self.of_particle = first[order], np.argsort(order)[of_particle.reshape(-1)]
        self._by_row = len(self.rows) > len(np.unique(group))

    def has(self, *columns: str) -> bool:
        """Whether the file has one of the columns."""
        return any(column in self._columns for column in columns)

    def names(self) -> tuple[str, ...]:
        """Of each case: its first row, or its optics group."""
        if self._by_row:
            return tuple(f"row {row + 1}" for row in self.rows)
        if self._optics is None or GROUP not in self._optics:
            return ("all images",)
        names = self._optics.column(GROUP_NAME if GROUP_NAME in self._optics else GROUP)
        return tuple(f"optics group {names[number]}" for number in self._group[self.rows])

    def _places(self, column: str) -> np.ndarray:
        """The row of the column's table that holds the value of each case."""
        return self._group[self.rows] if self._columns[column][0] is self._optics else self.rows

    def _where(self, column: str) -> str:
        table, name = self._columns[column]
        return f"column _{name}{' of table optics' * (table is self._optics)}"

    def numbers(self, column: str) -> np.ndarray:
        """(k,) values of a column, or what it is without it; a problem where an error of the lens is not finite."""
        table, name = self._columns.get(column, (None, column))
        values = read_numbers(table, name, self._problems) if table is not None else None
        if values is None:
            return np.full(len(self.rows), DEFAULTS[column])
        places = self._places(column)
        found = values[places]
        if column not in SCOPE:
            wrong = np.unique(places[~np.isfinite(found)])
            self._problems.add_rows(self._path, wrong, f"{self._where(column)}: no finite number")
        return found

    def coefficients(self, column: str) -> tuple[tuple[float, ...], ...]:
        """Zernike coefficients of each case, from cells [a,b,...]; a problem for a cell that is no such list."""
        if column not in self._columns:
            return ((),) * len(self.rows)
        found = []
        for row in self._places(column).tolist():
            cell = self._columns[column][0].cell(column, row)
            try:
                found.append(_parse_list(cell))
            except ValueError:
                text = f"{self._where(column)}: '{shortened(cell)}' is no list of finite numbers, [a,b,...]"
                self._problems.add_rows(self._path, [row], text)
                found.append(())
        return tuple(found)

    def folded(self, k: int, odd: tuple[float, ...], values: dict[str, float]) -> tuple[float, ...]:
        """Odd coefficients of a case with its beam tilt; a problem where the lens that is tilted to is not known."""
        tilt, (cs, voltage) = tuple(values[name] for name in TILT), (values[name] for name in SCOPE)
        if not self.has(*TILT):
            return _unless_zero(odd)
        known = np.isfinite(cs) and 0 < voltage < np.inf
        if any(tilt) and not known and np.isfinite(tilt).all():
            column = next(name for name in TILT if name in self._columns)
            text = f"{self._where(column)}: beam tilt cannot be corrected without " + " and ".join(
                f"_{name}" for name in reversed(SCOPE)
            )
            self._problems.add_rows(self._path, self._places(column)[k : k + 1], text)
        return _unless_zero(with_tilt(odd, (tilt[0], tilt[1]), cs, voltage) if known else odd)

    def check_matrix(self, k: int, lens: Lens) -> None:
        """A problem for a magnification matrix that cannot be one."""
        change = stretch(lens) if np.isfinite(lens.magnification).all() else 0.0
        if change > MOST_STRETCH:
            column = next(name for name in MATRIX if name in self._columns)
            text = (
                f"{self._where(column)} and the like: lengths change by {100 * change:.3g} %: no magnification matrix"
            )
            self._problems.add_rows(self._path, self._places(column)[k : k + 1], text)


def _parse_list(cell: str) -> tuple[float, ...]:
    """The numbers of [a,b,...]. ValueError when there are none, or too many."""
    if not (cell.startswith("[") and cell.endswith("]")):
        raise ValueError
    found = tuple(float(part) for part in cell[1:-1].split(",")) if cell[1:-1].strip() else ()
    if not np.isfinite(found).all() or len(found) > MOST_COEFFICIENTS:
        raise ValueError
    return found
