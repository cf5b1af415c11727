"""Finding the cells of a STAR file: the file's bytes stay as they are, only the place of each cell is noted.

Blocks of rows without quotes are scanned by numpy; what has quotes is read line by line. Cells are separated by ASCII
white space; a closing quote is followed by white space, so that 'it's' is one cell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from mpirefine.errors import FormatError
from mpirefine.storage.places import shortened

CELL = re.compile(rb"\"(?:[^\"]|\"(?=\S))*\"(?=\s|$)|'(?:[^']|'(?=\S))*'(?=\s|$)|\S+")
SCANNED_BYTES = 1 << 22  # bytes that are scanned at once
SPACE = np.isin(np.arange(256), list(b" \t\n\v\f\r"))
NUMERIC = np.isin(np.arange(256), list(b"0123456789+-.eEinfINFaA"))  # in numbers, inf and nan
LONGEST_NUMBER = 64  # characters
NEW_LINE, COMMENT = 10, ord("#")
BLOCK, LOOP = b"data_", b"loop_"


@dataclass(frozen=True)
class CellPlaces:
    """Where the cells of p rows and c columns stand in the bytes of a file."""

    data: bytes
    row_start: np.ndarray  # (p,) int64, first byte of each row
    offset: np.ndarray  # (p, c) unsigned, first byte of each cell, from the row's first
    length: np.ndarray  # (p, c) unsigned, bytes of each cell, quotes included
    quoted: bool  # whether cells may stand in quotes

    @classmethod
    def blank(cls, rows: int, columns: int = 0) -> CellPlaces:
        """Rows of empty cells, without a file."""
        place = np.zeros((rows, columns), np.uint8)
        return cls(b"", np.zeros(rows, np.int64), place, place, False)

    def __len__(self) -> int:
        return len(self.row_start)

    def take(self, rows: np.ndarray | slice) -> CellPlaces:
        """The given rows, in the order given."""
        return CellPlaces(self.data, self.row_start[rows], self.offset[rows], self.length[rows], self.quoted)

    def span(self, first: int, last: int, rows: slice = slice(None)) -> list[bytes]:
        """For each row the bytes from column `first` to column `last` as they stand in the file, both included."""
        start = self.row_start[rows] + self.offset[rows, first]
        stop = self.row_start[rows] + self.offset[rows, last] + self.length[rows, last]
        data = self.data
        return [data[a:b] for a, b in zip(start.tolist(), stop.tolist())]

    def numeric_cells(self, column: int, rows: slice) -> np.ndarray | None:
        """(p,) 'S' array of a column; None where a cell is too long for a number or has a character that no number has,
        quotes among them.
        """
        start = self.row_start[rows] + self.offset[rows, column]
        length = self.length[rows, column]
        width = int(length.max(initial=1))
        if width > LONGEST_NUMBER:
            return None
        place = np.arange(width)
        inside = place < length[:, None]
        at = np.where(inside, start[:, None] + place, 0)
        letters = np.frombuffer(self.data, np.uint8)[at]
        letters *= inside
        if not np.array_equal(NUMERIC[letters], inside):
            return None
        return letters.view(f"S{width}")[:, 0]

    def begins_with(self, column: int, letter: bytes) -> np.ndarray:
        """(p,) whether each cell of a column begins with a letter."""
        return np.frombuffer(self.data, np.uint8)[self.row_start + self.offset[:, column]] == letter[0]


@dataclass
class ParsedBlock:
    """One data block while it is read: its column names and, for a loop, the places of its rows."""

    name: str
    loop: bool = False
    columns: list[str] = field(default_factory=list)
    places: CellPlaces | None = None

    @property
    def has_rows(self) -> bool:
        """Whether values were read."""
        return self.places is not None and len(self.places) > 0


class _Index:
    """Growing arrays of the places of rows; types widen when a row or a cell is long."""

    def __init__(self, columns: int, most_rows: int):
        self.count, self.quoted = 0, False
        self.row_start = np.empty(most_rows, np.int64)
        self.offset = np.empty((most_rows, columns), np.uint16)
        self.length = np.empty((most_rows, columns), np.uint8)

    @staticmethod
    def _store(array: np.ndarray, at: slice, values: np.ndarray) -> np.ndarray:
        most = values.max(initial=0)
        while most > np.iinfo(array.dtype).max:
            array = array.astype(f"u{2 * array.itemsize}")
        array[at] = values
        return array

    def add(self, start: np.ndarray, length: np.ndarray) -> None:
        """Rows of cells that begin at byte `start` of the file, (rows, columns)."""
        at = slice(self.count, self.count + len(start))
        self.row_start[at] = start[:, 0]
        self.offset = self._store(self.offset, at, start - start[:, :1])
        self.length = self._store(self.length, at, length)
        self.count = at.stop

    def places(self, data: bytes) -> CellPlaces:
        """What was added; memory that was not used is given back."""
        columns = self.offset.shape[1]
        self.row_start.resize(self.count, refcheck=False)
        self.offset.resize((self.count, columns), refcheck=False)
        self.length.resize((self.count, columns), refcheck=False)
        return CellPlaces(data, self.row_start, self.offset, self.length, self.quoted)


def line_number(data: bytes, position: int) -> int:
    """Number, from 1, of the line that holds a byte."""
    return data.count(b"\n", 0, position) + 1


def parse_blocks(data: bytes, path: str) -> dict[str, ParsedBlock]:
    """The blocks of a file by name, in order. FormatError with the line's number when the file is malformed."""
    blocks: dict[str, ParsedBlock] = {}
    block: ParsedBlock | None = None
    position = 0
    while position < len(data):
        stop = data.find(b"\n", position) + 1 or len(data)
        text = data[position:stop].strip()
        if not text or text[0] == COMMENT:
            position = stop
        elif text.startswith(BLOCK):
            block = _begin_block(blocks, text, data, position, path)
            position = stop
        elif block is None:
            raise _error(path, data, position, f"'{_short(text)}' stands before any data_ block: this is no STAR file")
        elif text.startswith(LOOP):
            if block.has_rows:
                name = shortened(block.name)
                raise _error(path, data, position, f"a second loop_ in table '{name}': give it a data_ line of its own")
            block.loop, block.columns, position = True, [], stop
        elif text.startswith(b"_"):
            _add_column(block, data, position, stop, path)
            position = stop
        else:
            position = _parse_rows(block, data, position, path)
    return blocks


def _begin_block(blocks: dict[str, ParsedBlock], text: bytes, data: bytes, position: int, path: str) -> ParsedBlock:
    """The block of a data_ line, in place of one of the same name that has no rows."""
    name = _text((text[len(BLOCK) :].split() or [b""])[0])
    if name in blocks and blocks[name].has_rows:
        again = f"a second table 'data_{shortened(name)}': RELION reads one of each name"
        raise _error(path, data, position, again)
    blocks[name] = ParsedBlock(name)
    return blocks[name]


def _text(cell: bytes) -> str:
    return cell.decode("utf-8", "replace")


def _short(cell: bytes) -> str:
    return shortened(_text(cell))


def _error(path: str, data: bytes, position: int, text: str) -> FormatError:
    return FormatError(f"{path}: line {line_number(data, position)}: {text}")


def _add_column(block: ParsedBlock, data: bytes, position: int, stop: int, path: str) -> None:
    """Take in the line of a column name, with its value where the block is no loop."""
    cells = list(CELL.finditer(data, position, stop))
    name = _text(cells[0].group()[1:])
    if name in block.columns:
        table = shortened(block.name)
        raise _error(path, data, position, f"column {_short(cells[0].group())} for the second time in table '{table}'")
    block.columns.append(name)
    if block.loop:
        return
    if len(cells) < 2:
        raise _error(path, data, position, f"{_short(cells[0].group())} has no value")
    start, end = cells[1].span()
    known = block.places
    row = np.array([[start]]) if known is None else np.append(known.row_start[:1, None] + known.offset, [[start]], 1)
    length = np.array([[end - start]]) if known is None else np.append(known.length, [[end - start]], 1)
    block.places = CellPlaces(data, row[:, 0], row - row[:, :1], length, True)


def _parse_rows(block: ParsedBlock, data: bytes, position: int, path: str) -> int:
    """Read rows of a loop up to the next block; returns where that begins."""
    if block.has_rows or not block.loop:
        raise _error(path, data, position, f"values outside of a loop_ in table '{shortened(block.name)}'")
    index = _Index(len(block.columns), data.count(b"\n", position) + 1)
    finished = False
    while position < len(data) and not finished:
        stop = data.find(b"\n", position + SCANNED_BYTES) + 1 or len(data)
        if data.find(b'"', position, stop) >= 0 or data.find(b"'", position, stop) >= 0:
            index.quoted = True
            position, finished = _parse_lines(block, index, data, position, stop, path)
        else:
            position, finished = _scan_lines(block, index, data, position, stop, path)
    block.places = index.places(data)
    return position


def _wrong_count(block: ParsedBlock, data: bytes, position: int, count: int, path: str) -> FormatError:
    columns = f"{len(block.columns)} columns of table '{shortened(block.name)}'"
    return _error(path, data, position, f"{count} values for the {columns}")


def _parse_lines(
    block: ParsedBlock, index: _Index, data: bytes, position: int, stop: int, path: str
) -> tuple[int, bool]:
    """Rows that may have quotes, line by line; where reading goes on, and whether the loop has ended there."""
    spans: list[list[tuple[int, int]]] = []
    finished = False
    while position < stop:
        end = data.find(b"\n", position, stop) + 1 or stop
        text = data[position:end].strip()
        if text.startswith((BLOCK, LOOP)):
            finished = True
            break
        if text and text[0] != COMMENT:
            cells = [found.span() for found in CELL.finditer(data, position, end)]
            if len(cells) != len(block.columns):
                raise _wrong_count(block, data, position, len(cells), path)
            spans.append(cells)
        position = end
    if spans:
        places = np.array(spans)
        index.add(places[:, :, 0], places[:, :, 1] - places[:, :, 0])
    return position, finished


def _scan_lines(
    block: ParsedBlock, index: _Index, data: bytes, position: int, stop: int, path: str
) -> tuple[int, bool]:
    """As `_parse_lines`, for bytes without quotes, by numpy."""
    piece = np.frombuffer(data, np.uint8, stop - position, position)
    edge = np.ones(len(piece) + 2, bool)
    np.take(SPACE, piece, out=edge[1:-1])
    change = np.flatnonzero(edge[1:] != edge[:-1])
    start, end = change[0::2], change[1::2]
    lines = np.append(np.flatnonzero(piece == NEW_LINE), len(piece))
    first = np.searchsorted(start, np.append(-1, lines))  # of each line's cells
    count = np.diff(first)
    first, count = first[:-1][count > 0], count[count > 0]
    if not len(first):
        return stop, False
    comment = piece[start[first]] == COMMENT
    ending = np.flatnonzero(_begins_with(piece, start[first], BLOCK) | _begins_with(piece, start[first], LOOP))
    finished = len(ending) > 0
    if finished:
        stop = position + int(start[first[ending[0]]])
        first, count, comment = first[: ending[0]], count[: ending[0]], comment[: ending[0]]
    wrong = np.flatnonzero((count != len(block.columns)) & ~comment)
    if len(wrong):
        at = position + int(start[first[wrong[0]]])
        raise _wrong_count(block, data, at, int(count[wrong[0]]), path)
    if comment.any():
        kept = np.repeat(~comment, count)
        start, end = start[: len(kept)][kept], end[: len(kept)][kept]
    rows = (int((~comment).sum()), len(block.columns))
    start, end = start[: rows[0] * rows[1]].reshape(rows), end[: rows[0] * rows[1]].reshape(rows)
    index.add(start + position, end - start)
    return stop, finished


def _begins_with(piece: np.ndarray, at: np.ndarray, word: bytes) -> np.ndarray:
    """Whether `word` stands at each of these bytes."""
    found = at + len(word) <= len(piece)
    for number, letter in enumerate(word):
        found[found] = piece[at[found] + number] == letter
    return found
