"""cryoSPARC's tables: `.cs` files as NumPy arrays with named columns, and two of them joined on `uid`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mpirefine.errors import InputError
from mpirefine.storage.atomic import replacing
from mpirefine.storage.places import check_file

UID = "uid"
DAMAGED = (ValueError, OSError, EOFError, SyntaxError, TypeError, MemoryError, OverflowError, RecursionError)
NUMPY, CSDAT = b"\x93NUMPY", b"CSDAT"  # how files begin; CSDAT after a byte that differs between versions
MOST_HEADER = 1 << 20  # bytes of column names


def read_dataset(path: Path) -> np.ndarray:
    """The rows (p,) of a table, with named columns. InputError when it is no table of cryoSPARC, or damaged."""
    check_file(path)
    with open(path, "rb") as file:
        begin = file.read(len(NUMPY))
    if begin == NUMPY:
        rows = _read_numpy(path)
    elif begin[1:] == CSDAT:
        rows = _read_with_library(path)
    else:
        raise InputError(f"{path}: no table of cryoSPARC: it begins with neither NumPy's nor cryoSPARC's mark")
    if rows.dtype.names is None or rows.ndim != 1:
        raise InputError(f"{path}: an array without named columns: this is no table of cryoSPARC")
    if UID not in rows.dtype.names:
        raise InputError(f"{path}: no column {UID}: this is no table of cryoSPARC")
    if not len(rows):
        raise InputError(f"{path}: the table has no rows")
    return rows


def _read_numpy(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False, max_header_size=MOST_HEADER)
    except DAMAGED as error:
        why = (str(error).splitlines() or [""])[0]
        raise InputError(f"{path}: cannot be read as a table of cryoSPARC ({why}): copy it again") from None


def _read_with_library(path: Path) -> np.ndarray:
    """Rows of a file in cryoSPARC's own encoding, which its makers' library reads."""
    try:
        from cryosparc.dataset import Dataset
    except ImportError:
        raise InputError(
            f"{path}: is in cryoSPARC's own encoding (CSDAT): install its library, pip install "
            "'mpirefine[cryosparc]', or export the particles from cryoSPARC"
        ) from None
    try:
        with open(path, "rb") as file:
            _check_whole(file, os.path.getsize(path))
        return np.asarray(Dataset.load(str(path)).to_records(fixed=True))
    except Exception as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read by cryoSPARC's library ({why}): copy it again") from None


def _check_whole(file: BinaryIO, size: int) -> None:
    """ValueError when an opened file of `size` bytes in cryoSPARC's own encoding was cut short, which its library does
    not see: it may end the process.

    After the mark stand the length of a header in JSON, the header, each column after its length, and the texts, each
    with a zero at its end; columns of texts hold where these begin.
    """
    file.seek(len(NUMPY))
    header = json.loads(file.read(int.from_bytes(file.read(4), "little")))
    count, last = int(header["length"]), -1  # rows, and where the last text begins
    if not 0 <= count <= size:
        raise ValueError(f"{count} rows in {size} bytes")
    for name, kind, *_ in header["dtype"] if count else []:
        length = int.from_bytes(file.read(4), "little")
        if "O" in kind and name not in header["compressed_fields"]:
            last = max(last, int(np.frombuffer(file.read(length), "<u8").max(initial=0)))
        else:
            file.seek(length, os.SEEK_CUR)
    if file.tell() > size:
        raise ValueError(f"{size} bytes of at least {file.tell()}")
    texts_left = file.read()
    if count and any("O" in kind for _, kind, *_ in header["dtype"]):
        if not texts_left.endswith(b"\0") or last >= len(texts_left):
            raise ValueError("its texts are not there whole")


def join(rows: np.ndarray, path: Path, more: np.ndarray, second: Path) -> np.ndarray:
    """Rows with the columns of a second table that the first has not, by `uid`. InputError when a row has none there,
    or a uid is twice in either.
    """
    for table, file, other in ((rows, path, second), (more, second, path)):
        count = len(table) - len(np.unique(table[UID]))
        if count:
            raise InputError(f"{file}: {count} rows repeat a uid of another row: it cannot be joined to {other}")
    order = np.argsort(more[UID], kind="stable")
    known = more[UID][order]
    at = np.minimum(np.searchsorted(known, rows[UID]), len(known) - 1)
    missing = np.flatnonzero(known[at] != rows[UID])
    if len(missing):
        raise InputError(
            f"{second}: has no row for {len(missing)} of the {len(rows)} particles of {path}, first for row "
            f"{missing[0] + 1} with uid {rows[UID][missing[0]]}: give the passthrough file of the same job"
        )
    new = {name: more[name][order][at] for name in more.dtype.names or () if name not in (rows.dtype.names or ())}
    return with_columns(rows, new)


def with_columns(rows: np.ndarray, columns: dict[str, np.ndarray], retyped: Sequence[str] = ()) -> np.ndarray:
    """The rows with columns added, or with other values: in the type they had, but for those that are `retyped`."""
    old = [name for name in rows.dtype.names or () if name not in retyped]
    of_old = {name: (rows.dtype[name].base, rows.dtype[name].shape) for name in old}
    kinds = of_old | {name: (v.dtype, v.shape[1:]) for name, v in columns.items() if name not in of_old}
    out = np.zeros(len(rows), [(name, *kind) for name, kind in kinds.items()])
    for name in kinds:
        out[name] = columns[name] if name in columns else rows[name]
    return out


def texts(column: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The different texts of a column, and which one (p,) int each row has."""
    different, place = np.unique(column, return_inverse=True)
    names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in different.tolist()]
    return names, place.reshape(-1)


def write_dataset(path: str | os.PathLike[str], rows: np.ndarray) -> None:
    """Write rows in NumPy's encoding, which every version of cryoSPARC reads. OSError when the disk is full."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(rows), allow_pickle=False)


def dataset_paths(text: str) -> Sequence[Path]:
    """The files of an input that names a table and, after a comma, a passthrough file; itself when it is one file."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    several = len(names) > 1 and all(name.lower().endswith(".cs") for name in names) and not os.path.exists(text)
    return [Path(name) for name in names] if several else [Path(text)]
