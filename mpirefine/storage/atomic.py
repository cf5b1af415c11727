"""Files that are there whole or not at all: written beside, synced, and only then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync(path: Path) -> None:
    """What was written of a file, or which files a folder holds, is on the disk. OSError when it cannot be."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Where to write a file that takes the place of `path` when the block ends without an error; otherwise nothing is
    left of it.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, RuntimeError):  # HDF5's word for a disk that takes no more
            raise OSError(f"{path}: {error}") from None
        raise
    sync(path.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """A text file in UTF-8."""
    with beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
