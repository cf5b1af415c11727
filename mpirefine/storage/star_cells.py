"""The text of STAR cells: quotes around texts that need them, and columns of numbers as text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mpirefine.errors import InputError
from mpirefine.storage.places import shortened
from mpirefine.storage.star_parser import CELL

PLAIN = re.compile(r"(?!(?i:data_|loop_|save_|global_|stop_))[^\s\"'#_;]\S*")  # texts that need no quotes
FORMATTED_ROWS = 1 << 16  # numbers that are formatted at once


def unquote(cell: bytes) -> bytes:
    """A cell without the quotes around it."""
    return cell[1:-1] if len(cell) > 1 and cell[:1] == cell[-1:] and cell[:1] in b"'\"" else cell


def quote(text: str) -> bytes:
    """The cell, in quotes where they are needed, that is read as this text. InputError when there is none."""
    plain = text.encode("utf-8", "surrogateescape")
    if PLAIN.fullmatch(text):
        return plain
    for mark in (b'"', b"'"):
        cell = mark + plain + mark
        if b"\n" not in cell and b"\r" not in cell and CELL.fullmatch(cell):
            return cell
    raise InputError(f"'{shortened(text)}' cannot be written to a STAR file: line break, or both kinds of quotes")


def quote_all(texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """(p,) cells of texts as an object array of bytes; an array of type 'S' holds cells. InputError for a
    text that no cell can hold.
    """
    if isinstance(texts, np.ndarray) and texts.dtype.kind == "S":
        return texts
    cells = np.empty(len(texts), object)
    cells[:] = [quote(text) for text in texts]
    return cells


def decimal_cells(values: np.ndarray) -> np.ndarray:
    """(p,) numbers as cells with six decimals, an 'S' array; -0 is written as 0."""
    pieces = [np.zeros(0, "S1")]
    for start in range(0, len(values), FORMATTED_ROWS):
        piece = (np.asarray(values[start : start + FORMATTED_ROWS], np.float64) + 0.0).tolist()
        pieces.append(np.array((b"%.6f " * len(piece) % tuple(piece)).split()))
    return np.concatenate(pieces)


def integer_cells(values: np.ndarray) -> np.ndarray:
    """(p,) integers as cells, an 'S' array."""
    return np.asarray(values).astype("S")
