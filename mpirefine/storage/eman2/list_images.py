"""EMAN2's lists of images as files of images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mpirefine.errors import FormatError, InputError, Problems
from mpirefine.storage.eman2 import lst
from mpirefine.storage.image_file import ImageFile, MrcImages


class ListImages:
    """An ImageFile of the images that a list names, each with the list's header values over its own. `open_file` opens
    a file that it names.
    """

    note = ""

    def __init__(self, path: str | os.PathLike[str], open_file: Callable[[Path], ImageFile]):
        self.path = str(path)
        self.listed = lst.resolve(path)
        self._open_file = open_file
        self._entries = self.listed.entries
        if not self._entries:
            raise InputError(f"{self.path}: the list is empty")
        self._open: dict[Path, ImageFile] = {}
        self.count = len(self._entries)
        problems = Problems()
        with problems.collect(f"{self.path}: row 1: "):
            self.shape = self.file(self._entries[0][0]).shape
        if problems:
            self.__exit__()
        problems.raise_if_any()

    @property
    def apix(self) -> float:
        """Å per pixel of the first image."""
        return self.file(self._entries[0][0]).apix

    @property
    def entries(self) -> list[tuple[Path, int, dict[str, Any]]]:
        """File, index in that file, and the list's own header values of each image."""
        return self._entries

    def file(self, path: Path) -> ImageFile:
        """One of the files it names, opened at its first use. InputError when it cannot be read."""
        if path in self.listed.missing:
            raise InputError(self.listed.missing[path])
        if path not in self._open:
            self._open[path] = MrcImages(path, stack=True) if path in self.listed.stacks else self._open_file(path)
        return self._open[path]

    def __enter__(self) -> ListImages:
        return self

    def __exit__(self, *failure: object) -> None:
        for file in self._open.values():
            file.__exit__(*failure)
        self._open = {}

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """(n, y, x) or (n, z, y, x) float32. FormatError when images differ in size, InputError when one cannot be
        read.
        """
        chosen = list(indices)
        out: np.ndarray | None = None
        for path in dict.fromkeys(self._entries[i][0] for i in chosen):
            at = [n for n, i in enumerate(chosen) if self._entries[i][0] == path]
            images = self.file(path).read([self._entries[chosen[n]][1] for n in at])
            if out is None:
                out = np.empty((len(chosen), *images.shape[1:]), np.float32)
            if images.shape[1:] != out.shape[1:]:
                raise FormatError(
                    f"{self.path}: images of different sizes: {images.shape[1:]} in {path}, {out.shape[1:]} before"
                )
            out[at] = images
        return out if out is not None else np.zeros((0, *self.shape), np.float32)

    def header(self, index: int) -> dict[str, Any]:
        """All header values of an image, with where it comes from."""
        path, number, own = self._entries[index]
        source = {"data_source": str(path), "data_n": number, "source_path": self.path, "source_n": index}
        return {**self.file(path).header(number), **source, **own}

    def value(self, index: int, key: str) -> Any:
        """One header value of an image; None where it has none."""
        path, number, own = self._entries[index]
        return own[key] if key in own else self.file(path).value(number, key)
