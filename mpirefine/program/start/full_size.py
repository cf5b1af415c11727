"""The grid of the maps at the particles' own size."""

from __future__ import annotations

from collections.abc import Sequence

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens


def full_size_grid(lenses: Sequence[Lens], box: int | None) -> Grid:
    """The largest grid that images were recorded on, the finer one of two boxes of one size; of its field, `box` voxels
    when they are given.
    """
    own = max((lens.grid for lens in lenses), key=lambda grid: (grid.nx, -grid.apix))
    return Grid(box, own.length / box) if box else own
