"""Arrays in files of a scratch folder on a node's own disk: the kernel keeps of them in memory what fits."""

from __future__ import annotations

import os
import shutil
import tempfile

import numpy as np

from mpirefine.errors import InputError, StorageFailure


def scratch_array(folder: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array (float32, zeros) in a file of its own in `folder`. The file has no name any more when this returns: its
    space is free again as soon as the array is gone, however the program ends.

    All its space is taken at once, since a disk that is full later ends the process without a word. InputError when no
    file can be made there, StorageFailure when there is too little space.
    """
    size = 4 * int(np.prod(shape))
    if not size:
        return np.zeros(shape, np.float32)
    try:
        descriptor, name = tempfile.mkstemp(prefix="mpirefine-", suffix=".pixels", dir=folder)
    except OSError as error:
        raise InputError(f"--scratch {folder}: no file can be made there ({error.strerror})") from None
    try:
        with os.fdopen(descriptor, "r+b") as file:
            os.unlink(name)
            os.posix_fallocate(descriptor, 0, size)
            return np.memmap(file, np.float32, "r+", shape=shape)
    except OSError:
        raise StorageFailure(
            f"--lowmem keeps {size:,} bytes of each rank's particles in {folder}, where "
            f"{shutil.disk_usage(folder).free:,} are free: give another folder with --scratch"
        ) from None
