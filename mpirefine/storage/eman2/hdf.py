"""Reading EMAN2's HDF files of images: the MDF layout, with headers and bit compression (eman2's libEM/io/hdfio2.cpp).

`/MDF/images/<n>/image` holds image n; its header is in attributes of the group `<n>`, named `EMAN.<key>`. A header here
is a dict of int, float, str, bool, int and float arrays, and (3, 4) arrays for EMAN2's Transforms.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from mpirefine.errors import FormatError, InputError
from mpirefine.storage.eman2.hdf_header import ENOUGH_FOR_INT, PREFIX, number_of, value_of
from mpirefine.storage.eman2.hdf_writer import ROOT
from mpirefine.storage.foreign_files import check_unpacked
from mpirefine.storage.places import check_file, shortened

LARGEST = 1 << 16  # pixels along an axis
MOST_BITS = 32  # of compressed pixels
MOST_MISSING = 1000  # a header that gives this many times the images that the file holds is damaged
BROKEN = (  # what h5py raises for damaged files
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
)


class EmanHdf:
    """An ImageFile of EMAN2's HDF; `shape` is that of image 0."""

    note = ""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = str(path)
        self._checked: set[int] = set()  # images whose type and size are known
        check_file(self.path)
        try:
            self._file = h5py.File(self.path, "r")
        except BROKEN as error:
            with open(self.path, "rb") as file:
                check_unpacked(self.path, file.read(8))
            raise InputError(
                f"{self.path}: cannot be read (no HDF5 file, or truncated: {_first_line(error)})"
            ) from None
        try:
            self.count = self._read_count()
            self.shape: tuple[int, ...] = self._dataset(0).shape
        except InputError:
            self._file.close()
            raise

    def _read_count(self) -> int:
        """The number of images that the file says it has; FormatError where that cannot be true."""
        with self._reading(f"without EMAN2's {ROOT}/0/image: it holds no images of EMAN2"):
            self._images = self._file[ROOT]
            last = self._images.attrs["imageid_max"]
            stored = len(self._images)
            self._images["0/image"]
        where = f"{self.path}: header imageid_max of {ROOT}"
        number = number_of(value_of(last))
        if number is None or not -1 <= number < ENOUGH_FOR_INT:
            raise FormatError(f"{where}, the last image's number, is {shortened(last)}")
        count = int(number) + 1
        if count > MOST_MISSING * stored:
            raise FormatError(f"{where} gives {count} images, but the file holds {stored}: it was not written whole")
        return count

    def __enter__(self) -> EmanHdf:
        return self

    def __exit__(self, *failure: object) -> None:
        self._file.close()

    @property
    def apix(self) -> float:
        """Å per pixel of image 0; FormatError when its header holds something else."""
        value = self.value(0, "apix_x")
        number = 0.0 if value is None else number_of(value)
        if number is None or not 0 <= number < np.inf:
            raise FormatError(
                f"{self.path}: image 0 (the first), header apix_x: {shortened(value)} is no pixel size in Å"
            )
        return number

    @contextmanager
    def _reading(self, missing: str) -> Iterator[None]:
        """Turn HDF5's errors into a FormatError; `missing` says what it means when something is not there."""
        try:
            yield
        except InputError:
            raise
        except KeyError:
            raise FormatError(f"{self.path}: an HDF5 file {missing}") from None
        except BROKEN as error:
            raise FormatError(f"{self.path}: cannot be read (the file is damaged: {_first_line(error)})") from None

    def _dataset(self, index: int) -> h5py.Dataset:
        if not 0 <= index < self.count:
            raise InputError(f"{self.path}: image {index} (from 0) of {self.count}")
        with self._reading(f"in which image {index} is missing of {self.count}: the file was not written whole"):
            data = self._images[f"{index}/image"]
            if not isinstance(data, h5py.Dataset):
                raise FormatError(f"{self.path}: image {index} (from 0) is no image, but a group of others")
            kind, shape = data.dtype, data.shape or ()
        if kind.kind not in "fiu" or len(shape) not in (2, 3) or not all(0 < n <= LARGEST for n in shape):
            raise FormatError(
                f"{self.path}: image {index} (from 0) is no image, but an array of {kind} and shape {shape}"
            )
        self._checked.add(index)
        return data

    def header(self, index: int) -> dict[str, Any]:
        """Header of an image (from 0). InputError when there is no such image, FormatError when it cannot be read."""
        self._dataset(index)
        return {name.removeprefix(PREFIX): self._attribute(index, name) for name in self._images[str(index)].attrs}

    def value(self, index: int, key: str) -> Any:
        """One header value of an image (from 0); None where it has none. InputError when there is no such image."""
        if index not in self._checked:
            self._dataset(index)
        return self._attribute(index, PREFIX + key)

    def _attribute(self, index: int, name: str) -> Any:
        try:
            attributes = self._images[str(index)].attrs
            return value_of(attributes[name]) if name in attributes else None
        except BROKEN as error:
            raise FormatError(
                f"{self.path}: image {index} (from 0), header {name.removeprefix(PREFIX)}: cannot be read "
                f"({_first_line(error)})"
            ) from None

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """(n, y, x) or (n, z, y, x) float32 images, decompressed. InputError when there is no such image, FormatError
        when sizes differ or pixels cannot be read.
        """
        found = [self._image(int(index)) for index in indices]
        if len({image.shape for image in found}) > 1:
            raise FormatError(f"{self.path}: images of different sizes")
        return np.stack(found) if found else np.zeros((0, *self.shape), np.float32)

    def _image(self, index: int) -> np.ndarray:
        data = self._dataset(index)
        bits = 0 if data.dtype.kind == "f" else self._number(index, "stored_renderbits", 0)
        with self._reading(f"without the pixels of image {index}"):
            if not bits:
                return data[()].astype(np.float32)
            low, high = (self._number(index, name) for name in ("stored_rendermin", "stored_rendermax"))
            return (data[()] * ((high - low) / (2**bits - 1)) + low).astype(np.float32)

    def _number(self, index: int, key: str, default: float | None = None) -> float:
        """A header value that compressed pixels are computed from; FormatError when it is not usable."""
        value = self.value(index, key)
        number = default if value is None else number_of(value)
        if (
            number is None
            or not np.isfinite(number)
            or (key == "stored_renderbits" and not (0 <= number <= MOST_BITS and number == int(number)))
        ):
            raise FormatError(
                f"{self.path}: image {index} (from 0), header {key}: {shortened(value)} is not what compressed "
                "pixels need"
            )
        return number


def _first_line(error: BaseException) -> str:
    """The first line of HDF5's error, without its stack."""
    return shortened((str(error).splitlines() or [type(error).__name__])[0])
