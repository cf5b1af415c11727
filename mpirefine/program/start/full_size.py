"""The grid of the maps at the particles' own size."""

from __future__ import annotations

from collections.abc import Sequence

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.errors import InputError
from mpirefine.program.start.defaults import TOO_LARGE


def full_size_grid(lenses: Sequence[Lens], box: int | None) -> Grid:
    """The largest grid that images were recorded on, the finer one of two boxes of one size; of its field, `box` voxels
    (--full-box) when they are given. InputError when these are more.
    """
    own = max((lens.grid for lens in lenses), key=lambda grid: (grid.nx, -grid.apix))
    if box is not None and box > own.nx:
        raise InputError(f"--full-box {box}: {TOO_LARGE.format(own.nx)}")
    return Grid(box, own.length / box) if box else own
