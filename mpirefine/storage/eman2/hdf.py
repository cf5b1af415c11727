"""EMAN2's HDF files of images: the MDF layout, with headers and bit compression (eman2's libEM/io/hdfio2.cpp).

`/MDF/images/<n>/image` holds image n; its header is in attributes of the group `<n>`, named `EMAN.<key>`. A header here
is a dict of int, float, str, bool, int and float arrays, and (3, 4) arrays for EMAN2's Transforms.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.errors import FormatError, InputError
from mpirefine.storage.atomic import beside
from mpirefine.storage.places import check_file, shortened

log = logging.getLogger(__name__)
ROOT = "/MDF/images"
MOST_BYTES = 60_000  # of an attribute: HDF5 has room for 64 KB in all of an object's header
PREFIX = "EMAN."
TRANSFORM: np.dtype = np.dtype([(f"{row}{column}", "<f4") for row in range(3) for column in range(4)])
ENOUGH_FOR_INT = 2**31
LARGEST = 1 << 16  # pixels along an axis
MOST_BITS = 32  # of compressed pixels
# a file that tells of this many times the images it holds is broken; fewer may be missing, where nothing asks for them
MOST_MISSING = 1000
BROKEN = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
)  # what h5py raises for damaged files
# what is told by the dataset, or computed by EMAN2 when it reads
OWN_KEYS = (
    "nx",
    "ny",
    "nz",
    "minimum",
    "maximum",
    "mean",
    "sigma",
    "square_sum",
    "stored_renderbits",
    "stored_rendermin",
    "stored_rendermax",
    "stored_truncated",
    "render_compress_level",
    "mean_nonzero",
    "sigma_nonzero",
    "changecount",
    "all_int",
    "datatype",
    "HostEndian",
    "ImageEndian",
)


class EmanHdf:
    """An open file for reading; a context manager. `shape` is that of image 0, (y, x) or (z, y, x); `apix` 0 where the
    header does not say.
    """

    note = ""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = str(path)
        self._seen: set[int] = set()  # images that were found to be ones
        check_file(self.path)
        try:
            self._file = h5py.File(self.path, "r")
        except BROKEN as error:
            raise InputError(f"{self.path}: cannot be read (no HDF5 file, or truncated: {first_line(error)})") from None
        try:
            with self._reading(f"without EMAN2's {ROOT}/0/image: it holds no images of EMAN2"):
                self._images = self._file[ROOT]
                told = self._images.attrs["imageid_max"]
                present = len(self._images)
                self._images["0/image"]
            number = number_of(value_of(told))
            if number is None or not -1 <= number < ENOUGH_FOR_INT:
                raise FormatError(
                    f"{self.path}: header imageid_max of {ROOT}, the last image's number, is {shortened(told)}"
                )
            self.count = int(number) + 1
            if self.count > MOST_MISSING * present:
                raise FormatError(
                    f"{self.path}: header imageid_max of {ROOT} tells of {self.count} images, but the file holds "
                    f"{present}: "
                    "it was not written whole"
                )
            self.shape: tuple[int, ...] = self._dataset(0).shape
        except InputError:
            self._file.close()
            raise

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
        """FormatError for what HDF5 cannot find or read."""
        try:
            yield
        except InputError:
            raise
        except KeyError:
            raise FormatError(f"{self.path}: an HDF5 file {missing}") from None
        except BROKEN as error:
            raise FormatError(f"{self.path}: cannot be read (the file is damaged: {first_line(error)})") from None

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
        self._seen.add(index)
        return data

    def header(self, index: int) -> dict[str, Any]:
        """Header of an image (from 0)."""
        self._dataset(index)
        return {name.removeprefix(PREFIX): self._attribute(index, name) for name in self._images[str(index)].attrs}

    def value(self, index: int, key: str) -> Any:
        """One header value of an image; None where it has none."""
        if index not in self._seen:
            self._dataset(index)
        return self._attribute(index, PREFIX + key)

    def _attribute(self, index: int, name: str) -> Any:
        try:
            attributes = self._images[str(index)].attrs
            return value_of(attributes[name]) if name in attributes else None
        except BROKEN as error:
            raise FormatError(
                f"{self.path}: image {index} (from 0), header {name.removeprefix(PREFIX)}: cannot be read "
                f"({first_line(error)})"
            ) from None

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """(n, y, x) or (n, z, y, x) float32 images, compression undone. FormatError when shapes differ."""
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
        """A header value that pixels follow from."""
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


def first_line(error: BaseException) -> str:
    """What HDF5 says, without the rest of its stack."""
    return shortened((str(error).splitlines() or [type(error).__name__])[0])


def number_of(value: Any) -> float | None:
    """A header value as a number; None when it is none."""
    try:
        return None if isinstance(value, (str, bytes)) or np.ndim(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def matrix_of(value: Any) -> np.ndarray | None:
    """A header value as a Transform (3, 4) float64 of finite numbers; None when it is none."""
    try:
        matrix = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return matrix if matrix.shape == (3, 4) and np.isfinite(matrix).all() else None


def value_of(stored: Any) -> Any:
    """A header value as Python has it: arrays of one element are that element; None for an attribute that holds
    nothing.
    """
    if isinstance(stored, h5py.Empty):
        return None
    if isinstance(stored, np.ndarray) and stored.dtype.names:
        return np.array([stored.ravel()[0][name] for name in TRANSFORM.names], np.float32).reshape(3, 4)
    if isinstance(stored, (bytes, np.bytes_)):
        return stored.decode("utf-8", "replace")
    if isinstance(stored, np.ndarray) and stored.size == 1 and stored.ndim <= 1:
        stored = stored.ravel()[0]
        if isinstance(stored, np.int8):
            return stored in (84, 1)  # 'T'
    if isinstance(stored, (bytes, np.bytes_)):
        return stored.decode("utf-8", "replace")
    return stored.item() if isinstance(stored, np.generic) else stored


def stored_as(value: Any) -> np.ndarray:
    """A header value in the only types that EMAN2 reads: 32-bit arrays, 8-byte floats alone, text of fixed length with
    an end mark.
    """
    if isinstance(value, (bool, np.bool_)):
        return np.array([84 if value else 70], np.int8)
    if isinstance(value, (int, np.integer)):
        if abs(int(value)) >= ENOUGH_FOR_INT:
            raise ValueError(f"{value} does not fit the 32-bit integers of EMAN2's headers")
        return np.array([value], np.int32)
    if isinstance(value, (float, np.floating)):
        return np.array([value], np.float64)
    if isinstance(value, dict) and value.get("__class__") == "EMAN2Ctf":  # as lists and JSON hold it
        value = EmanCTF.from_fields(value).to_text()
    if isinstance(value, str):
        text = value.encode()
        return np.array(text, dtype=f"S{len(text) + 1}")
    array = np.asarray(value)
    if array.shape == (3, 4):
        return np.array([tuple(np.float32(x) for x in array.ravel())], TRANSFORM)
    if array.ndim == 1 and array.dtype.kind in "iub":
        return array.astype(np.int32)
    if array.ndim == 1 and array.dtype.kind == "f":
        return array.astype(np.float32)
    raise ValueError(f"a header of EMAN2 cannot hold {type(value).__name__} of shape {array.shape}")


def write(
    path: str | os.PathLike[str], images: Iterable[np.ndarray], headers: Iterable[dict[str, Any]], apix: float
) -> None:
    """Write images (y, x) or (z, y, x) as uncompressed float32, beside and then renamed. Headers hold what `stored_as`
    takes; None is left out.
    """
    with beside(path) as temporary, h5py.File(temporary, "w") as file:
        group = file.create_group(ROOT)
        count = 0
        for image, header in zip(images, headers, strict=True):
            _write_image(group.create_group(str(count)), np.ascontiguousarray(image, "<f4"), header, apix)
            count += 1
        group.attrs["imageid_max"] = np.array([count - 1], np.int32)


def _write_image(group: h5py.Group, image: np.ndarray, header: dict[str, Any], apix: float) -> None:
    group.create_dataset("image", data=image)
    nz, ny, nx = (1,) * (3 - image.ndim) + image.shape
    kept = {key: value for key, value in header.items() if key not in OWN_KEYS and value is not None}
    own = {"nx": nx, "ny": ny, "nz": nz, **statistics(image)}
    spacing = {f"apix_{axis}": float(apix) for axis in "xyz"}
    for key, value in {**kept, **own, **spacing}.items():
        try:
            stored = stored_as(value)
        except ValueError as error:
            log.warning("header %s is left out: %s", key, error)
            continue
        if stored.nbytes > MOST_BYTES:
            log.warning("header %s is left out: %d bytes are more than HDF5 keeps in an attribute", key, stored.nbytes)
            continue
        group.attrs[PREFIX + key] = stored


def statistics(image: np.ndarray) -> dict[str, Any]:
    """What EMAN2 keeps of an image in its header; sigma with n − 1."""
    values = image.astype(np.float64)
    return {
        "minimum": np.float32(values.min(initial=np.inf)),
        "maximum": np.float32(values.max(initial=-np.inf)),
        "mean": np.float32(values.mean()),
        "sigma": np.float32(values.std(ddof=min(1, values.size - 1))),
        "square_sum": np.float32((values**2).sum()),
        "datatype": 7,
        "is_complex": 0,
    }
