"""What lives as long as one iteration: windows that ranks of a node share, and the store of class averages."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Protocol

import numpy as np

from mpirefine.data.partition import Block
from mpirefine.distribution.team import Team
from mpirefine.distribution.window import Window


class RowStore(Protocol):
    """Where rows of a large array are put, by all ranks together."""

    def ensure_space(self, required: int) -> None:
        """Collective. StorageFailure when the disk has fewer than `required` bytes."""

    def begin_rows(self, name: str, rows: int, trailing: tuple[int, ...]) -> None:
        """Collective. Begin an array of `rows` rows of shape `trailing`."""

    def put_rows(self, name: str, block: Block, rows: np.ndarray) -> None:
        """Collective. Write own `rows` at `block`, which may be empty, into a begun array."""


class Workspace:
    """Windows that are freed at the end of `with`; `store` is None where class averages are not kept."""

    def __init__(self, store: RowStore | None = None):
        self.store = store
        self._resources = ExitStack()

    def window(self, team: Team, shape: tuple[int, ...]) -> Window:
        """Collective. A float32 window of the node, to be filled and sealed; freed with this workspace."""
        return self._resources.enter_context(Window(team, shape, np.float32))

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._resources.__exit__(kind, error, at)
