"""Tables of particles from rank 0 to the ranks that work on them."""

from __future__ import annotations

from mpirefine.data.particles import ParticleTable
from mpirefine.data.partition import Partition
from mpirefine.distribution.reduce import bcast_large, scatter_rows
from mpirefine.distribution.team import Team


def scatter_table(team: Team, table: ParticleTable | None, partition: Partition) -> ParticleTable:
    """Collective. The rows of the own block out of rank 0's table; `table` is not used on other ranks.

    Names of files and groups are broadcast once, rows are sent as buffers, one column after the other.
    """
    columns = table.columns() if table is not None and team.is_root else {}
    blank = table.take(slice(0, 0)) if table is not None and team.is_root else None
    blank, names = bcast_large(team, (blank, tuple(columns)))
    return blank.from_columns({name: scatter_rows(team, columns.get(name), partition) for name in names})
