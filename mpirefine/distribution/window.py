"""Arrays in the shared memory of a node (MPI-3), filled by its ranks and then read by all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpirefine.distribution.team import Team


class Window:
    """One array per node. Collective to create, to seal and to leave; a context manager.

    The ranks of the node write to `writable` until `seal()`; then all read `array`. A rank that is alone on its node
    uses plain memory.
    """

    def __init__(self, team: Team, shape: Sequence[int], dtype: Any):
        self._node, self._window = team.node, None
        shape, dtype = tuple(int(n) for n in shape), np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        if self._node.size == 1:
            self._writable: np.ndarray | None = np.zeros(shape, dtype)
        else:
            from mpi4py import MPI

            own = max(count * dtype.itemsize, 1) if self._node.is_root else 0
            self._window = MPI.Win.Allocate_shared(own, dtype.itemsize, comm=self._node.comm)
            buffer: Any = self._window.Shared_query(0)[0]
            self._writable = np.ndarray(shape, dtype, buffer)
            self._window.Fence()
        self._array: np.ndarray | None = None

    @property
    def writable(self) -> np.ndarray:
        """The array while it is filled. RuntimeError after `seal`."""
        if self._writable is None:
            raise RuntimeError("the window is sealed")
        return self._writable

    @property
    def array(self) -> np.ndarray:
        """The sealed array, read-only. RuntimeError before `seal`."""
        if self._array is None:
            raise RuntimeError("the window is not sealed")
        return self._array

    def seal(self) -> None:
        """Collective. Make what the ranks of the node wrote visible to all of them, and writing impossible."""
        array = self.writable.view()
        if self._window is not None:
            self._window.Fence()
            self._node.barrier()
        array.flags.writeable = False
        self._array, self._writable = array, None

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *failure: object) -> None:
        self._array = self._writable = None
        if self._window is not None and not (failure and failure[0]):
            self._window.Free()  # collective, so never after an error on one rank alone
