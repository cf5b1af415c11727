"""Checksums of arrays as they are written, and of whole files: a seal, which is text in the first 512 bytes."""

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
    """Length of a file in bytes, and the CRC-32 of all that follows its seal."""
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
    """Write the seal of an HDF5 file that was created with a user block of SEAL_BYTES; `what` names its content."""
    text = _seal(what, *_body(path))
    with open(path, "r+b") as file:
        file.write(text)


def problem(path: Path, what: str) -> str:
    """What is wrong with a sealed file, in words; empty when it has its checksum and the content that `what` names."""
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
    expected = found.split(b"\n")[1].removeprefix(b"bytes ") if b"\nbytes " in found else b""
    if expected.isdigit() and int(expected) != length:
        return f"{length} bytes instead of {int(expected)}"
    return "its checksum is not that of its content"
