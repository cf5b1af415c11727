"""STAR files: tables of text cells, kept to the letter so that what is not understood is written back as it came."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpirefine.errors import FormatError, InputError
from mpirefine.storage.atomic import beside
from mpirefine.storage.places import check_file, shortened

CELL = re.compile(r"\"[^\"]*\"|'[^']*'|\S+")


@dataclass(frozen=True)
class StarTable:
    """One block: column names without underscore, rows of text cells; `loop` tells whether it was (and will be) written
    as a loop.
    """

    path: str
    name: str
    columns: list[str]
    rows: list[list[str]]
    loop: bool = True

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    def column(self, name: str) -> list[str]:
        """Cells of a column; FormatError when there is none."""
        if name not in self.columns:
            raise FormatError(f"{self.path}: table '{self.name}' has no column _{name}")
        at = self.columns.index(name)
        return [row[at] for row in self.rows]

    def floats(self, name: str, default: float | None = None) -> np.ndarray:
        """A column as float64, or `default` in every row where there is no such column. FormatError names row and
        value.
        """
        if name not in self.columns and default is not None:
            return np.full(len(self.rows), default)
        cells = self.column(name)
        try:
            if all(cell.isascii() and "_" not in cell for cell in cells):
                return np.array(cells, dtype=np.float64)
        except ValueError:
            pass
        row = next(row for row, cell in enumerate(cells) if not _is_number(cell))
        raise FormatError(f"{self.path}: row {row + 1}, column _{name}: '{shortened(cells[row])}' is not a number")

    def take(self, rows: Iterable[int]) -> StarTable:
        """The given rows."""
        return StarTable(self.path, self.name, self.columns, [self.rows[i] for i in rows], self.loop)

    def with_columns(self, cells: Mapping[str, list[str]]) -> StarTable:
        """A copy with columns replaced, or appended in the order given."""
        columns, rows = list(self.columns), [list(row) for row in self.rows]
        for name, values in cells.items():
            if name in columns:
                at = columns.index(name)
                for row, value in zip(rows, values):
                    row[at] = value
            else:
                columns.append(name)
                for row, value in zip(rows, values):
                    row.append(value)
        return StarTable(self.path, self.name, columns, rows, self.loop)


def _is_number(cell: str) -> bool:
    """As other programs read numbers, which take no underscore and no digits of other scripts for one."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell


def _cells(line: str) -> list[str]:
    return CELL.findall(line) if '"' in line or "'" in line else line.split()


def _unquoted(cell: str) -> str:
    return cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] and cell[0] in "'\"" else cell


def read_star(path: str | os.PathLike[str]) -> dict[str, StarTable]:
    """All blocks of a file by name (without data_). InputError when it cannot be read, FormatError with the line number
    when malformed.
    """
    path = str(path)
    check_file(path)
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    tables: dict[str, StarTable] = {}
    table: StarTable | None = None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("data_"):
            table = StarTable(path, text[5:].split()[0] if text[5:].split() else "", [], [], False)
            if tables.get(table.name, table).rows:
                raise FormatError(
                    f"{path}: line {number}: a second table 'data_{shortened(table.name)}': RELION reads one of each "
                    "name"
                )
            tables[table.name] = table
        elif table is None:
            raise FormatError(
                f"{path}: line {number}: '{shortened(text)}' stands before any data_ block: this is no STAR file"
            )
        elif text.startswith("loop_"):
            if table.rows:
                raise FormatError(
                    f"{path}: line {number}: a second loop_ in table '{shortened(table.name)}': give it a data_ line "
                    "of its own"
                )
            table = tables[table.name] = StarTable(path, table.name, [], [], True)
        else:
            _add(table, text, path, number)
    return tables


def _add(table: StarTable, text: str, path: str, number: int) -> None:
    """Take in a header line or a row of a block."""
    if text.startswith("_") and (not table.rows or not table.loop):
        cells = _cells(text)
        if cells[0][1:] in table.columns:
            raise FormatError(
                f"{path}: line {number}: column {shortened(cells[0])} for the second time in table "
                f"'{shortened(table.name)}'"
            )
        table.columns.append(cells[0][1:])
        if not table.loop:
            if len(cells) < 2:
                raise FormatError(f"{path}: line {number}: {shortened(cells[0])} has no value")
            if not table.rows:
                table.rows.append([])
            table.rows[0].append(_unquoted(cells[1]))
        return
    cells = [_unquoted(cell) for cell in _cells(text)]
    if len(cells) != len(table.columns):
        raise FormatError(
            f"{path}: line {number}: {len(cells)} values for the {len(table.columns)} columns of table "
            f"'{shortened(table.name)}'"
        )
    table.rows.append(cells)


def _quoted(cell: str) -> str:
    return f'"{cell}"' if not cell or any(c.isspace() for c in cell) or cell[0] in "#_" else cell


def write_star(path: str | os.PathLike[str], tables: Iterable[StarTable]) -> None:
    """Write tables in order, beside and then renamed."""
    with beside(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for table in tables:
            file.write(f"\ndata_{table.name}\n\n")
            if not table.loop:
                file.writelines(f"_{name} {_quoted(cell)}\n" for name, cell in zip(table.columns, table.rows[0]))
                continue
            file.write("loop_\n")
            file.writelines(f"_{name} #{i}\n" for i, name in enumerate(table.columns, 1))
            file.writelines(" ".join(map(_quoted, row)) + "\n" for row in table.rows)
            file.write("\n")
