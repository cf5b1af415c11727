"""Header values of EMAN2's HDF files: between HDF5's attributes and Python's values."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from mpirefine.data.emanctf import EmanCTF

PREFIX = "EMAN."  # of attribute names
TRANSFORM: np.dtype = np.dtype([(f"{row}{column}", "<f4") for row in range(3) for column in range(4)])
ENOUGH_FOR_INT = 2**31  # EMAN2's headers hold 32-bit integers
TRUE, FALSE = 84, 70  # EMAN2 stores 'T' and 'F'
# what HDF5 knows of the pixels themselves, or EMAN2 computes when it reads: never copied to another file
OWN_KEYS = frozenset(
    "nx ny nz minimum maximum mean sigma square_sum stored_renderbits stored_rendermin stored_rendermax "
    "stored_truncated render_compress_level mean_nonzero sigma_nonzero changecount all_int datatype HostEndian "
    "ImageEndian".split()
)


def number_of(value: Any) -> float | None:
    """A header value as a number; None when it is none."""
    try:
        return None if isinstance(value, (str, bytes)) or np.ndim(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def matrix_of(value: Any) -> np.ndarray | None:
    """A header value as a Transform, (3, 4) float64 of finite numbers; None when it is none."""
    try:
        matrix = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return matrix if matrix.shape == (3, 4) and np.isfinite(matrix).all() else None


def value_of(stored: Any) -> Any:
    """An attribute of HDF5 as a Python value: arrays of one element become that element, Transforms (3, 4) arrays, and
    an empty attribute None.
    """
    if isinstance(stored, h5py.Empty):
        return None
    if isinstance(stored, np.ndarray) and stored.dtype.names:
        return np.array([stored.ravel()[0][name] for name in TRANSFORM.names or ()], np.float32).reshape(3, 4)
    if isinstance(stored, np.ndarray) and stored.size == 1 and stored.ndim <= 1:
        stored = stored.ravel()[0]
        if isinstance(stored, np.int8):
            return stored in (TRUE, 1)
    if isinstance(stored, (bytes, np.bytes_)):
        return stored.decode("utf-8", "replace")
    return stored.item() if isinstance(stored, np.generic) else stored


def stored_as(value: Any) -> np.ndarray:
    """A header value in the types that EMAN2 reads: 32-bit arrays, single floats of 8 bytes, text of fixed length with
    an end mark. ValueError for what a header cannot hold.
    """
    if isinstance(value, (bool, np.bool_)):
        return np.array([TRUE if value else FALSE], np.int8)
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
