"""Each rank's own rows of a particle file, and their pixels."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.distribution.scatter import scatter_table
from mpirefine.distribution.team import Team
from mpirefine.maths.image.background import outside_circle
from mpirefine.program.options import Options
from mpirefine.program.reports.images import background_report
from mpirefine.steps.shared.particles import OUTLIER, REASONS, OwnParticles
from mpirefine.storage.particle_file import ParticleInput
from mpirefine.storage.scratch import scratch_array
from mpirefine.storage.stack import ParticleStack

log = logging.getLogger(__name__)
Keep = Callable[[tuple[int, ...]], np.ndarray]  # an empty float32 array of a shape
NAMED_ROWS = 10  # row numbers that a warning shows at most


def read_own(
    team: Team,
    source: ParticleInput | None,
    partition: Partition,
    grid: Grid,
    *,
    keep: Keep | None = None,
    outside: np.ndarray | None = None,
) -> OwnParticles:
    """Collective. Scatter the rows of a particle table from rank 0, and open their images, resampled to `grid`.

    `source` is on rank 0. `keep` says where pixels are kept; None: they are read again when they are asked for.
    `outside` (yx) bool as in OwnParticles. InputError when a stack cannot be read, StorageFailure when there is too
    little space for pixels.
    """
    table = scatter_table(team, source.table if source is not None else None, partition)
    with team.together("reading particles"):
        pixels = keep((len(table), grid.nx, grid.nx)) if keep is not None else None
        return OwnParticles(table, ParticleStack(table), grid, pixels=pixels, outside=outside)


def read_normalised(
    team: Team, source: ParticleInput | None, partition: Partition, grid: Grid, radius: float, options: Options
) -> OwnParticles:
    """Collective. As `read_own`, with images normalised: background of mean 0, no slope, standard deviation 1.

    The background is what lies farther than `radius` (pixels) from the centre; --no-normalise leaves images as they
    are. Rank 0 logs the values before. InputError when a stack cannot be read.
    """
    outside = None if options.no_normalise else outside_circle(grid.nx, radius)
    particles = read_own(team, source, partition, grid, keep=keep_pixels(options), outside=outside)
    if outside is not None:
        before = particles.background
        columns = np.column_stack([before.level, before.slope, before.scale, particles.set_aside])
        values = reduce.gather_rows(team, columns, partition)
        if values is not None and source is not None:
            cropped = source.grid.nx != grid.nx
            log.info("%s", background_report(values[values[:, 4] == 0], grid.nx, cropped=cropped))
    reason = reduce.gather_rows(team, particles.reason, partition)
    if reason is not None:
        _warn_of_unusable(reason)
    return particles


def keep_pixels(options: Options) -> Keep:
    """Where pixels are kept: in memory, or with --lowmem in a file."""
    if not options.lowmem:
        return lambda shape: np.empty(shape, np.float32)
    return lambda shape: scratch_array(options.scratch or tempfile.gettempdir(), shape)


def _warn_of_unusable(reason: np.ndarray) -> None:
    """On rank 0. Warn of particles that are set aside; `reason` (p,) holds indices of REASONS."""
    for code, text in enumerate(REASONS[1:OUTLIER], 1):
        rows = np.flatnonzero(reason == code)
        if len(rows):
            log.warning(
                "%d of %d particles are set aside because %s: rows %s%s",
                len(rows),
                len(reason),
                text,
                ", ".join(str(r + 1) for r in rows[:NAMED_ROWS]),
                " ..." if len(rows) > NAMED_ROWS else "",
            )
