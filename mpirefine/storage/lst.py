"""EMAN2's image lists (.lst): each line names an image of another file, and header values of its own as JSON."""
from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Sequence

from mpirefine.errors import FormatError, InputError
from mpirefine.storage.beside import beside
from mpirefine.storage.emanjson import from_json, to_json

FAST, SLOW = "#LSX", "#LST"
COMMENT = ("# This file is in fast LST format. All lines after the next line have exactly the number of characters shown on the next line. "
           "This MUST be preserved if editing.")
DEEPEST = 8                # lists of lists


@dataclass(frozen=True)
class Entry:
    """An image: number in its file (from 0), the file as written, and header values that replace the image's own."""

    index: int
    file: str
    header: dict[str, Any] = field(default_factory=dict)


def read_lst(path: str | os.PathLike[str]) -> list[Entry]:
    """The lines of a list. Raises InputError when it cannot be read, FormatError naming the line that is wrong."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise FormatError(f"{path}: not a text file, so no EMAN2 list") from None
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].strip() not in (FAST, SLOW):
        raise FormatError(f"{path}: line 1 is '{lines[0][:20]}', but an EMAN2 list begins with {FAST}")
    return [_entry(path, number, line) for number, line in enumerate(lines[1:], 2) if line.strip() and not line.startswith("#")]


def _entry(path: Path, number: int, line: str) -> Entry:
    parts = line.rstrip().split("\t", 2)
    if len(parts) == 1:
        parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].strip().isdigit():
        raise FormatError(f"{path}: line {number} is not 'number<tab>file': '{line.strip()[:60]}'")
    header: dict[str, Any] = {}
    if len(parts) > 2 and parts[2].strip():
        try:
            found = from_json(parts[2])
        except ValueError as error:
            raise FormatError(f"{path}: line {number}: the third column is no JSON ({error})") from None
        header = found if isinstance(found, dict) else {"__default__": found}
    return Entry(int(parts[0]), parts[1].strip(), header)


def find(file: str, listed_in: Path) -> Path:
    """Where a file of a list is: from the current folder (the project), else beside the list, else in the folder above."""
    for base in (Path(""), listed_in.parent, listed_in.parent.parent):
        if (base / file).exists():
            return base / file
    return Path(file)


def resolve(path: str | os.PathLike[str], depth: int = 0) -> list[tuple[Path, int, dict[str, Any]]]:
    """(file, index, header values) of each line; lists in lists are followed, and the inner one's header values are kept below the outer's."""
    path = Path(path)
    if depth > DEEPEST:
        raise FormatError(f"{path}: lists in lists, {DEEPEST} deep: one of them names itself")
    inner: dict[Path, list[tuple[Path, int, dict[str, Any]]]] = {}
    out = []
    for row, entry in enumerate(read_lst(path)):
        file = find(entry.file, path)
        if file.suffix.lower() != ".lst":
            out.append((file, entry.index, entry.header))
            continue
        if file not in inner:
            inner[file] = resolve(file, depth + 1)
        if entry.index >= len(inner[file]):
            raise InputError(f"{path}: row {row + 1}: image {entry.index} of {file}, which holds {len(inner[file])} (counted from 0)")
        where, index, header = inner[file][entry.index]
        out.append((where, index, {**header, **entry.header}))
    return out


def write_lst(path: str | os.PathLike[str], entries: Sequence[Entry], comment: str = COMMENT) -> None:
    """Write a list in the fast layout: every line of the same length, Unix newlines."""
    lines = []
    for entry in entries:
        columns = [str(entry.index), entry.file]
        if entry.header:
            columns.append(json.dumps(to_json(entry.header), sort_keys=True))
        lines.append("\t".join(columns).encode())
    length = max((len(line) for line in lines), default=0) + 1
    with beside(path) as temporary, open(temporary, "wb") as file:
        file.write(f"{FAST}\n{comment if comment.startswith('#') else '# ' + comment}\n# {length}\n".encode())
        file.writelines(line.ljust(length - 1) + b"\n" for line in lines)
