"""Checksums of what the run file holds: of arrays as they were handed over, and of whole files, kept as text in the 512
bytes at their front.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

SEAL_BYTES = 512  # HDF5's smallest user block, which its readers skip
PIECE_BYTES = 1 << 22


def crc_of(values: np.ndarray) -> int:
    """CRC-32 of a contiguous array's bytes."""
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def _body(path: Path) -> tuple[int, int]:
    """Length of a file, and the CRC-32 of all that follows its seal."""
    crc = 0
    with open(path, "rb") as file:
        file.seek(SEAL_BYTES)
        while piece := file.read(PIECE_BYTES):
            crc = zlib.crc32(piece, crc)
        return file.tell(), crc


def _seal(what: str, length: int, crc: int) -> bytes:
    text = f"mpirefine {what}\nbytes {length}\ncrc32 of what follows these {SEAL_BYTES} bytes {crc:08x}\n".encode()
    return text.ljust(SEAL_BYTES - 1) + b"\n"


def seal(path: Path, what: str) -> None:
    """Write the checksum of a file, which was made with a user block of SEAL_BYTES, to its front; `what` says what the
    file is.
    """
    made = _seal(what, *_body(path))
    with open(path, "r+b") as file:
        file.write(made)


def problem(path: Path, what: str) -> str:
    """What is wrong with a sealed file, in words; nothing for one that is as it was written."""
    try:
        with open(path, "rb") as file:
            found = file.read(SEAL_BYTES)
        length, crc = _body(path)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if found == _seal(what, length, crc):
        return ""
    if not found.startswith(b"mpirefine "):
        return "its checksum is not there"
    told = found.split(b"\n")[1:2]
    if told and told[0].startswith(b"bytes ") and told[0][6:].isdigit() and int(told[0][6:]) != length:
        return f"{length} bytes instead of {int(told[0][6:])}"
    return "its checksum is not that of its content"
