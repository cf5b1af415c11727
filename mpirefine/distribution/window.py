"""One array per node, filled by the ranks of the node and then read by all of them: MPI-3 shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpirefine.distribution.team import Team


class Window:
    """Collective to make, to seal and to leave. `writable` until `seal()`, then `array`, read-only; plain memory when
    alone on a node.
    """

    def __init__(self, team: Team, shape: Sequence[int], dtype: Any):
        self._node, self._window = team.node, None
        shape, dtype = tuple(int(n) for n in shape), np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        if self._node.size == 1:
            self.writable: np.ndarray | None = np.zeros(shape, dtype)
        else:
            from mpi4py import MPI

            own = max(count * dtype.itemsize, 1) if self._node.is_root else 0
            self._window = MPI.Win.Allocate_shared(own, dtype.itemsize, comm=self._node.comm)
            buffer, _ = self._window.Shared_query(0)
            # type: ignore[arg-type]  # mpi4py.MPI.buffer has the protocol
            self.writable = np.ndarray(shape, dtype, buffer)
            self._window.Fence()
        self._array: np.ndarray | None = None

    @property
    def array(self) -> np.ndarray:
        """The sealed array, read-only."""
        if self._array is None:
            raise RuntimeError("the window is not sealed")
        return self._array

    def seal(self) -> None:
        """Collective. What all ranks of the node wrote becomes visible to all, and nobody writes any more."""
        if self._window is not None:
            self._window.Fence()
            self._node.barrier()
        self._array, self.writable = self.writable.view(), None
        self._array.flags.writeable = False

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *failure: object) -> None:
        self._array = self.writable = None
        if self._window is not None and not (failure and failure[0]):
            self._window.Free()  # collective: after an error on one rank the others may never come
