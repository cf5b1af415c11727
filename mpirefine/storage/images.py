"""Images and maps of any format, by the suffix of the file: MRC maps and stacks, EMAN2's HDF, and lists of images in
other files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mpirefine.errors import FormatError, InputError
from mpirefine.storage import mrc
from mpirefine.storage.eman2 import lst
from mpirefine.storage.eman2.hdf import EmanHdf
from mpirefine.storage.eman2.hdf import write as write_hdf

log = logging.getLogger(__name__)
HDF, LIST, STACK, MAPS = (".hdf", ".h5"), (".lst",), (".mrcs", ".st"), (".mrc", ".map", ".ccp4", ".rec")
SPLITTING = ":"  # EMAN2's file:bits and file:selection


class ImageFile(Protocol):
    """What all formats offer. `shape` is that of one image, (y, x) or (z, y, x); `apix` in Å, 0 where the file does not
    say.

    `note` says what is odd about a file that can be read all the same.
    """

    path: str
    count: int
    shape: tuple[int, ...]
    note: str

    @property
    def apix(self) -> float: ...

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """(n, y, x) or (n, z, y, x) float32."""
        ...

    def header(self, index: int) -> dict[str, Any]:
        """What the file says of an image (from 0)."""
        ...

    def value(self, index: int, key: str) -> Any:
        """One of these values; None where there is none."""
        ...

    def __enter__(self) -> ImageFile: ...

    def __exit__(self, *failure: object) -> None: ...


@dataclass(frozen=True)
class StackHeader:
    """What is told of a stack: `shape` (images, rows, columns), and Å per pixel, 0 where the file does not say."""

    path: str
    shape: tuple[int, int, int]
    apix: float
    note: str = ""  # as of ImageFile


class MrcImages:
    """An MRC file: one map, or, by its suffix or because it stands for a file of that suffix (`stack`), the sections of
    a stack.
    """

    def __init__(self, path: str | os.PathLike[str], stack: bool = False):
        self._header = mrc.read_header(path)
        self.path, self.apix, self.note = self._header.path, self._header.apix, self._header.note
        self._map = self._header.shape[0] > 1 and not stack and Path(path).suffix.lower() not in STACK
        self.count = 1 if self._map else self._header.shape[0]
        self.shape: tuple[int, ...] = self._header.shape if self._map else self._header.shape[1:]

    def __enter__(self) -> MrcImages:
        return self

    def __exit__(self, *failure: object) -> None:
        """Nothing stays open."""

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """As ImageFile."""
        wanted = np.fromiter(indices, int)
        if len(wanted) and wanted.max() >= self.count:
            raise InputError(f"{self.path}: image {wanted.max()} (from 0) of {self.count}")
        if self._map:
            return np.stack([mrc.read_sections(self._header, np.arange(self._header.shape[0])) for _ in wanted])
        return mrc.read_sections(self._header, wanted)

    def header(self, index: int) -> dict[str, Any]:
        """As ImageFile."""
        return {f"apix_{axis}": self.apix for axis in "xyz"}

    def value(self, index: int, key: str) -> Any:
        """As ImageFile."""
        return self.header(index).get(key)


class ListImages:
    """The images that an EMAN2 list names, each with the list's header values over its own."""

    note = ""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = str(path)
        self.listed = lst.resolve(path)
        self._entries = self.listed.entries
        if not self._entries:
            raise InputError(f"{self.path}: the list is empty")
        self._open: dict[Path, ImageFile] = {}
        self.count = len(self._entries)
        try:
            self.shape = self.file(self._entries[0][0]).shape
        except InputError as error:
            self.__exit__()
            raise InputError(*(f"{self.path}: row 1: {problem}" for problem in error.problems)) from None

    @property
    def apix(self) -> float:
        """As ImageFile, of the first image."""
        return self.file(self._entries[0][0]).apix

    @property
    def entries(self) -> list[tuple[Path, int, dict[str, Any]]]:
        """File, index there, and the list's own header values of each image."""
        return self._entries

    def file(self, path: Path) -> ImageFile:
        """One of the files it names, opened at its first use."""
        if path in self.listed.missing:
            raise InputError(self.listed.missing[path])
        if path not in self._open:
            self._open[path] = MrcImages(path, stack=True) if path in self.listed.stacks else open_images(path)
        return self._open[path]

    def __enter__(self) -> ListImages:
        return self

    def __exit__(self, *failure: object) -> None:
        for file in self._open.values():
            file.__exit__(*failure)
        self._open = {}

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """As ImageFile."""
        wanted = list(indices)
        out: np.ndarray | None = None
        for path in dict.fromkeys(self._entries[i][0] for i in wanted):
            at = [n for n, i in enumerate(wanted) if self._entries[i][0] == path]
            images = self.file(path).read([self._entries[wanted[n]][1] for n in at])
            if out is None:
                out = np.empty((len(wanted), *images.shape[1:]), np.float32)
            if images.shape[1:] != out.shape[1:]:
                raise FormatError(
                    f"{self.path}: images of different sizes: {images.shape[1:]} in {path}, {out.shape[1:]} before"
                )
            out[at] = images
        return out if out is not None else np.zeros((0, *self.shape), np.float32)

    def header(self, index: int) -> dict[str, Any]:
        """As ImageFile, with where the image comes from."""
        path, number, own = self._entries[index]
        source = {"data_source": str(path), "data_n": number, "source_path": self.path, "source_n": index}
        return {**self.file(path).header(number), **source, **own}

    def value(self, index: int, key: str) -> Any:
        """As ImageFile."""
        path, number, own = self._entries[index]
        return own[key] if key in own else self.file(path).value(number, key)


def open_images(path: str | os.PathLike[str]) -> ImageFile:
    """A file of images for reading, to be closed with `with`. InputError when it cannot be read or its format is not
    known.
    """
    name = str(path)
    suffix = Path(name).suffix.lower()
    if name.startswith("bdb:"):
        raise InputError(
            f"{name}: EMAN2's old database is read by no program since 2013: convert it with an EMAN2 of that time "
            "to .hdf"
        )
    if SPLITTING in Path(name).name and not os.path.exists(name):
        raise InputError(f"{name}: selections after a colon are not read: make a list (.lst) of the images")
    if suffix in LIST:
        return ListImages(path)
    if suffix in HDF:
        return EmanHdf(path)
    if suffix in STACK + MAPS:
        return MrcImages(path)
    raise InputError(f"{name}: '{suffix}' is no format that is read: {', '.join(MAPS + STACK + HDF + LIST)}")


def stack_header(path: str | os.PathLike[str]) -> StackHeader:
    """Of a stack in any format; what is no HDF is taken for MRC. InputError when it cannot be read."""
    if Path(path).suffix.lower() not in HDF:
        header = mrc.read_header(path)
        return StackHeader(header.path, header.shape, header.apix, header.note)
    with EmanHdf(path) as file:
        if len(file.shape) != 2:
            raise InputError(f"{path}: holds maps of {' x '.join(map(str, file.shape[::-1]))} voxels, not images")
        ny, nx = file.shape
        return StackHeader(file.path, (file.count, ny, nx), file.apix)


def read_volumes(path: str | os.PathLike[str]) -> tuple[list[np.ndarray], float]:
    """All cubic maps (z, y, x) of a file and their Å per voxel (0 when unknown). InputError when one is not cubic."""
    with open_images(path) as file:
        if file.note:
            log.warning("%s", file.note)
        if isinstance(file, MrcImages) and len(file.shape) != 3:
            return [mrc.read_volume(path)[0]], file.apix
        volumes = []
        for index in range(file.count):
            volume = file.read([index])[0]
            if len(set(volume.shape)) != 1 or volume.ndim != 3:
                raise InputError(
                    f"{path}: {' x '.join(map(str, volume.shape[::-1]))} voxels, but a map must be cubic: pad it to "
                    f"{max(volume.shape)}"
                )
            volumes.append(volume)
        return volumes, file.apix


def check_writable(path: str | os.PathLike[str], *, headers: bool = False) -> None:
    """InputError when no file of this name can be written: its suffix is of no format, or of one without `headers`, or
    its folder is not there.
    """
    suffix, folder = Path(path).suffix.lower(), Path(path).absolute().parent
    if suffix not in HDF + MAPS + STACK:
        raise InputError(f"{path}: '{suffix}' is no format that is written: {', '.join(MAPS + STACK + HDF[:1])}")
    if headers and suffix not in HDF:
        raise InputError(f"{path}: '{suffix}' files keep no headers, which hold views and maps: write .hdf")
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}")


def write_images(
    path: str | os.PathLike[str],
    images: Sequence[np.ndarray],
    apix: float,
    headers: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write images or maps in the format of the suffix; MRC files hold no headers, and one map only.

    Raises InputError for a suffix that is not written.
    """
    check_writable(path)
    suffix = Path(path).suffix.lower()
    if suffix in HDF:
        write_hdf(path, images, headers if headers is not None else [{}] * len(images), apix)
    elif suffix in MAPS + STACK and len(images) and np.ndim(images[0]) == 3:
        if len(images) > 1:
            raise InputError(f"{path}: an MRC file holds one map, not {len(images)}: write .hdf, or one file each")
        mrc.write_volume(path, images[0], apix)
    elif suffix in MAPS and len(images) > 1:
        raise InputError(f"{path}: {len(images)} images would be read back as a map: write .mrcs or .hdf")
    else:
        mrc.write_stack(path, np.stack(images), apix)
