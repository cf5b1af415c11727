"""STAR files: tables of text cells. A cell that is not replaced is written back byte by byte as it was read."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mpirefine.errors import FormatError, InputError
from mpirefine.storage.atomic import replacing
from mpirefine.storage.foreign_files import check_unpacked
from mpirefine.storage.places import check_file, shortened
from mpirefine.storage.star_cells import quote_all, unquote
from mpirefine.storage.star_parser import CellPlaces, parse_blocks

CHUNK_ROWS = 1 << 16  # rows that are converted or written at once


@dataclass(frozen=True)
class StarTable:
    """One block: p rows of named columns (without the underscore), each from the file or replaced since.

    `loop` tells whether the block is written as a loop, or as one line for each column. Use `from_columns` for a table
    that was not read.
    """

    path: str
    name: str
    columns: tuple[str, ...]
    loop: bool
    source: CellPlaces  # the cells of the file
    source_columns: tuple[str, ...]  # the columns of the file
    replaced: Mapping[str, np.ndarray]  # column -> (p,) bytes as they are written, 'S' or object

    @classmethod
    def from_columns(
        cls, name: str, columns: Mapping[str, Sequence[str] | np.ndarray], loop: bool = True, path: str = ""
    ) -> StarTable:
        """A table of new cells, as `with_columns` takes them; `path` is for error messages."""
        size = len(next(iter(columns.values()), ()))
        return cls(path, name, (), loop, CellPlaces.blank(size), (), {}).with_columns(columns)

    def __len__(self) -> int:
        return len(self.source)

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    def _raw(self, name: str, rows: slice) -> list[bytes]:
        """Cells of a column as they are written. FormatError when there is no such column."""
        if name in self.replaced:
            return self.replaced[name][rows].tolist()
        if name not in self.columns:
            raise FormatError(f"{self.path}: table '{self.name}' has no column _{name}")
        at = self.source_columns.index(name)
        return self.source.span(at, at, rows)

    def cells(self, name: str, rows: slice = slice(None)) -> list[bytes]:
        """Cells of a column without their quotes. FormatError when there is no such column."""
        raw = self._raw(name, rows)
        quoted = name in self.replaced or self.source.quoted
        return [unquote(cell) for cell in raw] if quoted else raw

    def column(self, name: str, rows: slice = slice(None)) -> list[str]:
        """Texts of a column without their quotes. FormatError when there is no such column."""
        return [cell.decode("utf-8", "replace") for cell in self.cells(name, rows)]

    def cell(self, name: str, row: int) -> str:
        """One text of a column. FormatError when there is no such column."""
        return self.column(name, slice(row, row + 1))[0]

    def factorise(self, name: str) -> tuple[tuple[str, ...], np.ndarray]:
        """The different texts of a column in the order of their first row, and (p,) int32 which of them each row has.
        FormatError when there is no such column.
        """
        known: dict[bytes, int] = {}
        codes = np.empty(len(self), np.int32)
        for start in range(0, len(self), CHUNK_ROWS):
            cells = self.cells(name, slice(start, start + CHUNK_ROWS))
            codes[start : start + len(cells)] = [known.setdefault(cell, len(known)) for cell in cells]
        return tuple(cell.decode("utf-8", "replace") for cell in known), codes

    def floats(self, name: str, default: float | None = None) -> np.ndarray:
        """(p,) float64 values of a column, or `default` in every row where there is no such column. FormatError names
        row and value that is no number.
        """
        if name not in self.columns and default is not None:
            return np.full(len(self), default)
        values = np.empty(len(self))
        for start in range(0, max(len(self), 1), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            cells = self.replaced[name][rows] if name in self.replaced else self._numeric_cells(name, rows)
            try:
                if cells is None or cells.dtype.kind != "S":
                    raise ValueError
                values[rows] = cells.astype(np.float64)
            except ValueError:
                texts = self.cells(name, rows)
                values[rows] = [self._number(name, start + row, cell) for row, cell in enumerate(texts)]
        return values

    def _numeric_cells(self, name: str, rows: slice) -> np.ndarray | None:
        """Cells of the file as an 'S' array; None where they cannot all be plain numbers. FormatError when there is no
        such column.
        """
        if name not in self.columns:
            raise FormatError(f"{self.path}: table '{self.name}' has no column _{name}")
        return self.source.numeric_cells(self.source_columns.index(name), rows)

    def _number(self, name: str, row: int, cell: bytes) -> float:
        """A cell as other programs read numbers, which take no underscore and no digits of other scripts for one."""
        try:
            if b"_" not in cell and cell.isascii():
                return float(cell)
        except ValueError:
            pass
        text = shortened(cell.decode("utf-8", "replace"))
        raise FormatError(f"{self.path}: row {row + 1}, column _{name}: '{text}' is not a number")

    def take(self, rows: np.ndarray | Sequence[int] | slice) -> StarTable:
        """The given rows, in the order given."""
        chosen = rows if isinstance(rows, slice) else np.asarray(rows, np.int64)
        replaced = {name: cells[chosen] for name, cells in self.replaced.items()}
        return replace(self, source=self.source.take(chosen), replaced=replaced)

    def with_columns(self, cells: Mapping[str, Sequence[str] | np.ndarray]) -> StarTable:
        """A copy with columns replaced, or appended in the order given.

        Texts are put in quotes where they need them; an array of type 'S' holds cells as they are to be written.
        InputError for a text that no STAR file can hold.
        """
        columns = tuple(dict.fromkeys((*self.columns, *cells)))
        return replace(
            self,
            columns=columns,
            replaced={**self.replaced, **{name: quote_all(texts) for name, texts in cells.items()}},
        )

    def write(self, file: BinaryIO) -> None:
        """Write the block to an open file."""
        file.write(f"\ndata_{self.name}\n\n".encode())
        if not self.loop:
            for name in self.columns if len(self) else ():
                file.write(f"_{name} ".encode() + self._raw(name, slice(0, 1))[0] + b"\n")
            return
        table = self._with_quoted_front()
        file.write(b"loop_\n")
        file.writelines(f"_{name} #{number}\n".encode() for number, name in enumerate(self.columns, 1))
        for start in range(0, len(self), CHUNK_ROWS):
            parts = table._row_parts(slice(start, min(start + CHUNK_ROWS, len(self))))
            file.write(b"\n".join(map(b" ".join, zip(*parts, strict=True))) + b"\n")
        file.write(b"\n")

    def _row_parts(self, rows: slice) -> list[list[bytes]]:
        """The rows in parts: a replaced column, or columns that follow one another in the file, as they stand there."""
        parts: list[list[bytes]] = []
        places = [-1 if name in self.replaced else self.source_columns.index(name) for name in self.columns]
        position = 0
        while position < len(places):
            first = position
            position += 1
            if places[first] < 0:
                parts.append(self._raw(self.columns[first], rows))
                continue
            while position < len(places) and places[position] == places[position - 1] + 1:
                position += 1
            parts.append(self.source.span(places[first], places[position - 1], rows))
        return parts

    def _with_quoted_front(self) -> StarTable:
        """The same table, the first cells in quotes where one begins with _, which names a column in the first row."""
        first = self.columns[0] if self.columns else ""
        if not len(self) or first in self.replaced or not self.source.begins_with(0, b"_").any():
            return self
        return self.with_columns({first: self.column(first)})


def read_star(path: str | os.PathLike[str]) -> dict[str, StarTable]:
    """All blocks of a file by name (without data_). InputError when it cannot be read, FormatError with the line's
    number when it is malformed.
    """
    path = str(path)
    check_file(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    check_unpacked(path, data)
    data = data.removeprefix(codecs.BOM_UTF8)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:2]:
        command = f"iconv -f UTF-16 -t UTF-8 {Path(path).name} > utf8_{Path(path).name}"
        raise FormatError(f"{path}: is text in UTF-16: save it as UTF-8 ({command})")
    if b"\n" not in data:  # lines may end with a carriage return alone
        data = data.replace(b"\r", b"\n")
    tables = {}
    for block in parse_blocks(data, path).values():
        columns = tuple(block.columns)
        places = block.places or CellPlaces.blank(0, len(columns))
        tables[block.name] = StarTable(path, block.name, columns, block.loop, places, columns, {})
    return tables


def write_star(path: str | os.PathLike[str], tables: Iterable[StarTable]) -> None:
    """Write tables in order. An interrupted write leaves no file."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        for table in tables:
            table.write(file)
