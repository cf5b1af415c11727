"""EMAN2's HDF files of images: the MDF layout, with headers and bit compression (eman2's libEM/io/hdfio2.cpp).

`/MDF/images/<n>/image` holds image n; its header is in attributes of the group `<n>`, named `EMAN.<key>`. A header here is a dict of int, float,
str, bool, int and float arrays, and (3, 4) arrays for EMAN2's Transforms.
"""
from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Iterable

import h5py
import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.errors import FormatError, InputError
from mpirefine.storage.beside import beside

log = logging.getLogger(__name__)
ROOT = "/MDF/images"
MOST_BYTES = 60_000        # of an attribute: HDF5 has room for 64 KB in all of an object's header
PREFIX = "EMAN."
TRANSFORM: np.dtype = np.dtype([(f"{row}{column}", "<f4") for row in range(3) for column in range(4)])
ENOUGH_FOR_INT = 2 ** 31
# what is told by the dataset, or computed by EMAN2 when it reads
OWN_KEYS = ("nx", "ny", "nz", "minimum", "maximum", "mean", "sigma", "square_sum", "stored_renderbits", "stored_rendermin", "stored_rendermax",
            "stored_truncated", "render_compress_level", "mean_nonzero", "sigma_nonzero", "changecount", "all_int", "datatype", "HostEndian",
            "ImageEndian")


class EmanHdf:
    """An open file for reading; a context manager. `shape` is that of image 0, (y, x) or (z, y, x); `apix` 0 where the header does not say."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = str(path)
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            reason = "no such file" if not Path(self.path).exists() else f"no HDF5 file, or truncated: {str(error).splitlines()[0]}"
            raise InputError(f"{self.path}: cannot be read ({reason})") from None
        try:
            self._images = self._file[ROOT]
            self.count = int(np.ravel(self._images.attrs["imageid_max"])[0]) + 1
            self.shape: tuple[int, ...] = self._dataset(0).shape
            self.apix = float(self.header(0).get("apix_x", 0.0))
        except KeyError:
            self._file.close()
            raise FormatError(f"{self.path}: an HDF5 file without EMAN2's {ROOT}/0/image: it holds no images of EMAN2") from None
        except InputError:
            self._file.close()
            raise

    def __enter__(self) -> "EmanHdf":
        return self

    def __exit__(self, *failure: object) -> None:
        self._file.close()

    def _dataset(self, index: int) -> h5py.Dataset:
        try:
            return self._images[f"{index}/image"]
        except KeyError:
            if not 0 <= index < self.count:
                raise InputError(f"{self.path}: image {index} (from 0) of {self.count}") from None
            raise FormatError(f"{self.path}: image {index} is missing of {self.count}: the file was not written whole") from None

    def header(self, index: int) -> dict[str, Any]:
        """Header of an image (from 0)."""
        self._dataset(index)
        attributes = self._images[str(index)].attrs
        return {name.removeprefix(PREFIX): value_of(attributes[name]) for name in attributes}

    def value(self, index: int, key: str) -> Any:
        """One header value of an image; None where it has none."""
        self._dataset(index)
        attributes = self._images[str(index)].attrs
        name = PREFIX + key
        return value_of(attributes[name]) if name in attributes else None

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """(n, y, x) or (n, z, y, x) float32 images, compression undone. FormatError when shapes differ."""
        found = [self._image(int(index)) for index in indices]
        if len({image.shape for image in found}) > 1:
            raise FormatError(f"{self.path}: images of different sizes")
        return np.stack(found) if found else np.zeros((0, *self.shape), np.float32)

    def _image(self, index: int) -> np.ndarray:
        data = self._dataset(index)
        if data.dtype.kind == "f":
            return data[()].astype(np.float32)
        attributes = self._images[str(index)].attrs
        bits = int(np.ravel(attributes.get(PREFIX + "stored_renderbits", 0))[0])
        if not bits:
            return data[()].astype(np.float32)
        low, high = (float(np.ravel(attributes[PREFIX + name])[0]) for name in ("stored_rendermin", "stored_rendermax"))
        return (data[()] * ((high - low) / (2 ** bits - 1)) + low).astype(np.float32)


def value_of(stored: Any) -> Any:
    """A header value as Python has it: arrays of one element are that element."""
    if isinstance(stored, np.ndarray) and stored.dtype.names:
        return np.array([stored.ravel()[0][name] for name in TRANSFORM.names], np.float32).reshape(3, 4)
    if isinstance(stored, (bytes, np.bytes_)):
        return stored.decode("utf-8", "replace")
    if isinstance(stored, np.ndarray) and stored.size == 1 and stored.ndim <= 1:
        stored = stored.ravel()[0]
        if isinstance(stored, np.int8):
            return stored in (84, 1)                   # 'T'
    if isinstance(stored, (bytes, np.bytes_)):
        return stored.decode("utf-8", "replace")
    return stored.item() if isinstance(stored, np.generic) else stored


def stored_as(value: Any) -> np.ndarray:
    """A header value in the only types that EMAN2 reads: 32-bit arrays, 8-byte floats alone, text of fixed length with an end mark."""
    if isinstance(value, (bool, np.bool_)):
        return np.array([84 if value else 70], np.int8)
    if isinstance(value, (int, np.integer)):
        if abs(int(value)) >= ENOUGH_FOR_INT:
            raise ValueError(f"{value} does not fit the 32-bit integers of EMAN2's headers")
        return np.array([value], np.int32)
    if isinstance(value, (float, np.floating)):
        return np.array([value], np.float64)
    if isinstance(value, dict) and value.get("__class__") == "EMAN2Ctf":       # as lists and JSON hold it
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


def write(path: str | os.PathLike[str], images: Iterable[np.ndarray], headers: Iterable[dict[str, Any]], apix: float) -> None:
    """Write images (y, x) or (z, y, x) as uncompressed float32, beside and then renamed. Headers hold what `stored_as` takes; None is left out."""
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
    return {"minimum": np.float32(values.min(initial=np.inf)), "maximum": np.float32(values.max(initial=-np.inf)), "mean": np.float32(values.mean()),
            "sigma": np.float32(values.std(ddof=min(1, values.size - 1))), "square_sum": np.float32((values ** 2).sum()), "datatype": 7,
            "is_complex": 0}
