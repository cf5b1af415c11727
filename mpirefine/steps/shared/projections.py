"""Projections of all maps in one list, and the share of them that a rank makes for its node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mpirefine.data.partition import Partition
from mpirefine.data.poses import Orientations
from mpirefine.distribution.team import Team


def views_of_maps(
    symmetries: Sequence[str], dropped: Sequence[int], views: Callable[[str], np.ndarray]
) -> Orientations:
    """The views of all maps in one list; none of maps that were `dropped`.

    `views` gives the rotations (n, 3, 3) for a symmetry.
    """
    rotation = [views(symmetry)[: 0 if m in dropped else None] for m, symmetry in enumerate(symmetries)]
    model = [np.full(len(rows), m, np.int32) for m, rows in enumerate(rotation)]
    return Orientations(np.concatenate(rotation), np.concatenate(model))


def spans_of_rank(team: Team, orientations: Orientations, model: int, batch: int) -> Iterator[slice]:
    """The rows of one map's projections that this rank makes for its node, at most `batch` at a time."""
    rows = orientations.of_model(model)
    share = Partition.even(rows.stop - rows.start, team.node.size)[team.node.rank]
    for part in share.chunks(batch):
        yield slice(rows.start + part.start, rows.start + part.stop)
