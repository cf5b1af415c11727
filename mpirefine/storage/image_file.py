"""What an open file of images offers, whatever its format; and MRC files, which need nothing open."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from mpirefine.errors import InputError
from mpirefine.storage import mrc

STACK = (".mrcs", ".st")  # suffixes of MRC files that are always stacks of images
MAPS = (".mrc", ".map", ".ccp4", ".rec")  # of those that are maps, where nothing says otherwise


class ImageFile(Protocol):
    """A file of images or maps, open for reading; a context manager.

    `count` images of `shape`, (y, x) or (z, y, x); `apix` in Å per pixel, 0 where the file does not say; `note` says in
    words what is odd about a file that can be read nevertheless.
    """

    path: str
    count: int
    shape: tuple[int, ...]
    note: str

    @property
    def apix(self) -> float: ...

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """(n, y, x) or (n, z, y, x) float32 images of the given indices (from 0). InputError when there are none
        such.
        """
        ...

    def header(self, index: int) -> dict[str, Any]:
        """All header values of an image (from 0)."""
        ...

    def value(self, index: int, key: str) -> Any:
        """One header value of an image (from 0); None where it has none."""
        ...

    def __enter__(self) -> ImageFile: ...

    def __exit__(self, *failure: object) -> None: ...


@dataclass(frozen=True)
class StackHeader:
    """What is known of a stack without its pixels: `shape` (images, y, x), and Å per pixel, 0 where the file does not
    say.
    """

    path: str
    shape: tuple[int, int, int]
    apix: float
    note: str = ""  # as of ImageFile


class MrcImages:
    """An ImageFile of an MRC file: one map, or the sections of a stack (by its suffix, or with `stack`)."""

    def __init__(self, path: str | os.PathLike[str], stack: bool = False):
        self._header = mrc.read_header(path)
        self.path, self.apix, self.note = self._header.path, self._header.apix, self._header.note
        self._map = self._header.shape[0] > 1 and not stack and Path(path).suffix.lower() not in STACK
        self.count = 1 if self._map else self._header.shape[0]
        self.shape: tuple[int, ...] = self._header.shape if self._map else self._header.shape[1:]
        self._opened = ExitStack()
        self._file: BinaryIO | None = None  # between `with` and its end

    def __enter__(self) -> MrcImages:
        return self

    def __exit__(self, *failure: object) -> None:
        self._opened.close()
        self._file = None

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """(n, y, x) or (n, z, y, x) float32. InputError when an index is beyond the last image, FormatError when the
        file was truncated.
        """
        chosen = np.fromiter(indices, int)
        if len(chosen) and chosen.max() >= self.count:
            raise InputError(f"{self.path}: image {chosen.max()} (from 0) of {self.count}")
        if self._file is None:
            self._file = self._opened.enter_context(mrc.open_pixels(self._header))
        if self._map:
            whole = np.arange(self._header.shape[0])
            return np.stack([mrc.sections_of(self._file, self._header, whole) for _ in chosen])
        return mrc.sections_of(self._file, self._header, chosen)

    def header(self, index: int) -> dict[str, Any]:
        """The pixel size, under EMAN2's names."""
        return {f"apix_{axis}": self.apix for axis in "xyz"}

    def value(self, index: int, key: str) -> Any:
        """One value of `header`; None where it has none."""
        return self.header(index).get(key)
