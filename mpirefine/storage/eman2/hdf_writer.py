"""Writing EMAN2's HDF files of images (layout as in `hdf.py`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

import h5py
import numpy as np

from mpirefine.storage.atomic import replacing
from mpirefine.storage.eman2.hdf_header import OWN_KEYS, PREFIX, stored_as

log = logging.getLogger(__name__)
ROOT = "/MDF/images"
MOST_BYTES = 60_000  # of an attribute: HDF5 has room for 64 KB in an object's header
FLOAT_TYPE = 7  # EMAN2's EM_FLOAT


def write_hdf(
    path: str | os.PathLike[str], images: Iterable[np.ndarray], headers: Iterable[Mapping[str, Any]], apix: float
) -> None:
    """Write images (y, x) or (z, y, x) as uncompressed float32; `apix` in Å. An interrupted write leaves no file.

    Header values that are None are left out, and so are those that a header cannot hold, with a warning.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        group = file.create_group(ROOT)
        count = 0
        for image, header in zip(images, headers, strict=True):
            _write_image(group.create_group(str(count)), np.ascontiguousarray(image, "<f4"), header, apix)
            count += 1
        group.attrs["imageid_max"] = np.array([count - 1], np.int32)


def _write_image(group: h5py.Group, image: np.ndarray, header: Mapping[str, Any], apix: float) -> None:
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
    """What EMAN2 keeps of an image's pixels in its header; sigma with n - 1."""
    values = image.astype(np.float64)
    return {
        "minimum": np.float32(values.min(initial=np.inf)),
        "maximum": np.float32(values.max(initial=-np.inf)),
        "mean": np.float32(values.mean()),
        "sigma": np.float32(values.std(ddof=min(1, values.size - 1))),
        "square_sum": np.float32((values**2).sum()),
        "datatype": FLOAT_TYPE,
        "is_complex": 0,
    }
