"""EMAN2's image lists (.lst): each line names an image of another file, and header values of its own as JSON."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpirefine.errors import FormatError, InputError
from mpirefine.storage.atomic import replacing
from mpirefine.storage.eman2.json import from_json, to_json
from mpirefine.storage.foreign_files import check_unpacked
from mpirefine.storage.places import check_file, find, shortened

FAST, SLOW = "#LSX", "#LST"
COMMENT = (
    "# This file is in fast LST format. All lines after the next line have exactly the number of characters shown on "
    "the next line. "
    "This MUST be preserved if editing."
)
DEEPEST = 8  # lists that name lists
INDEX = re.compile("[0-9]{1,15}")  # of an image; no file holds more


@dataclass(frozen=True)
class Entry:
    """An image: number in its file (from 0), the file as written, and header values that replace the image's own."""

    index: int
    file: str
    header: dict[str, Any] = field(default_factory=dict)


def read_lst(path: str | os.PathLike[str]) -> list[Entry]:
    """The lines of a list. Raises InputError when it cannot be read, FormatError naming the line that is wrong."""
    path = Path(path)
    check_file(path)
    try:
        data = path.read_bytes()
        check_unpacked(path, data)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise FormatError(f"{path}: not a text file, so no EMAN2 list") from None
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].strip() not in (FAST, SLOW):
        raise FormatError(f"{path}: line 1 is '{lines[0][:20]}', but an EMAN2 list begins with {FAST}")
    return [
        _parse_line(path, number, line)
        for number, line in enumerate(lines[1:], 2)
        if line.strip() and not line.startswith("#")
    ]


def _parse_line(path: Path, number: int, line: str) -> Entry:
    parts = line.rstrip().split("\t", 2)
    if len(parts) == 1:
        parts = line.split(None, 2)
    if len(parts) < 2 or not INDEX.fullmatch(parts[0].strip()):
        raise FormatError(f"{path}: line {number} is not 'number<tab>file': '{shortened(line.strip())}'")
    header: dict[str, Any] = {}
    if len(parts) > 2 and parts[2].strip():
        try:
            found = from_json(parts[2])
        except ValueError as error:
            raise FormatError(f"{path}: line {number}: the third column is no JSON ({error})") from None
        header = found if isinstance(found, dict) else {"__default__": found}
    return Entry(int(parts[0]), parts[1].strip(), header)


@dataclass
class Listed:
    """The images of a list, with those of the lists that it names."""

    entries: list[tuple[Path, int, dict[str, Any]]] = field(default_factory=list)  # file, index there, header values
    notes: list[str] = field(default_factory=list)  # warnings about files that were found elsewhere than written
    stacks: set[Path] = field(default_factory=set)  # .mrc files that stand in for the .mrcs that is named: no maps
    missing: dict[Path, str] = field(default_factory=dict)  # files that were not found, with the error message


def resolve(path: str | os.PathLike[str]) -> Listed:
    """The images that a list names; header values of a list replace those of the lists it names. Raises InputError when
    a list cannot be read, FormatError when it is malformed or names itself.
    """
    found = Listed()
    found.entries = _resolve(Path(path), found, {}, ())
    return found


def _resolve(
    path: Path, found: Listed, known: dict[Path, list[tuple[Path, int, dict[str, Any]]]], above: tuple[Path, ...]
) -> list[tuple[Path, int, dict[str, Any]]]:
    """Entries of one list; `known` caches the lists read before, `above` are the lists that name it."""
    if len(above) > DEEPEST:
        raise FormatError(f"{path}: lists are nested more than {DEEPEST} deep")
    places: dict[str, Path] = {}
    out = []
    for row, entry in enumerate(read_lst(path)):
        if entry.file not in places:
            places[entry.file] = _place(entry.file, path, found)
        file = places[entry.file]
        if file.suffix.lower() != ".lst":
            out.append((file, entry.index, entry.header))
            continue
        if file in (*above, path):
            raise FormatError(
                f"{path}: row {row + 1}: names {shortened(file)}: a list that names itself, directly or through others"
            )
        if file not in known:
            known[file] = _resolve(file, found, known, (*above, path))
        if entry.index >= len(known[file]):
            raise InputError(
                f"{path}: row {row + 1}: image {entry.index} of {file}, which holds {len(known[file])} (counted from 0)"
            )
        where, index, header = known[file][entry.index]
        out.append((where, index, {**header, **entry.header}))
    return out


def _place(name: str, listed_in: Path, found: Listed) -> Path:
    """Where the file of a name in a list is; warnings and errors about it go to `found`."""
    place = find(name, listed_in)
    if place.missing:
        found.missing[place.path] = place.missing
    if place.note:
        found.notes.append(place.note)
    if place.neighbour and place.path.suffix == ".mrc":
        found.stacks.add(place.path)
    return place.path


def format_line(entry: Entry) -> bytes:
    """An image as a line of a list, without its end."""
    columns = [str(entry.index), entry.file]
    if entry.header:
        columns.append(json.dumps(entry.header, sort_keys=True, separators=(",", ":"), default=to_json))
    return "\t".join(columns).encode()


def write_lines(path: str | os.PathLike[str], lines: Sequence[bytes]) -> None:
    """Write lines as a list in the fast layout: padded to one length, Unix line ends."""
    length = max((len(line) for line in lines), default=0) + 1
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(f"{FAST}\n{COMMENT}\n# {length}\n".encode())
        file.writelines(line.ljust(length - 1) + b"\n" for line in lines)
