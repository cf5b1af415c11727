"""The command `fsc`: Fourier shell correlation of two maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.errors import InputError
from mpirefine.maths.fourier.fsc import fsc, resolution_at
from mpirefine.program import logs
from mpirefine.storage.images import read_volumes


def read_pair(first: str, second: str, mask: str | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Read two maps (zyx), multiplied by the mask if one is given, and Å per voxel of the first.

    InputError when a file cannot be read, or boxes differ.
    """
    names = [first, second, *([mask] if mask else [])]
    files = [read_volumes(name) for name in names]
    shape = files[0][0][0].shape
    for name, (volumes, _) in zip(names, files):
        if len(volumes) != 1 or volumes[0].shape != shape:
            raise InputError(
                f"{name}: {len(volumes)} maps of {len(volumes[0])} voxels: give a single map of {shape[0]} voxels, "
                f"as {first}"
            )
    weight = files[2][0][0] if mask else 1
    return files[0][0][0] * weight, files[1][0][0] * weight, files[0][1]


def compare_maps(first: str, second: str, mask: str | None, apix: float | None, out: Path | None) -> None:
    """Print the FSC of two maps, or write it to `out`, and print the resolution at 0.5 and 0.143.

    InputError when a file cannot be read, or boxes differ.
    """
    a, b, pixel = read_pair(first, second, mask)
    grid = Grid(len(a), apix or pixel or 1.0)
    curve = fsc(a, b)
    rows = np.column_stack([np.arange(len(curve)) / grid.length, curve])
    text = "\n".join(f"{frequency:.6f} {value:.6f}" for frequency, value in rows)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
    else:
        logs.say(text)
    logs.say(
        f"# FSC 0.5 at {resolution_at(curve, 0.5, grid):.2f} A, 0.143 at {resolution_at(curve, 0.143, grid):.2f} A"
    )
