"""The ranks that work together, and the ways in which they fail, agree and talk in small messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mpirefine.errors import RankFailure, RefineError


class Team:
    """A communicator with what the program needs of it. A context manager: sub-teams made on the way are freed.

    `bytes_sent` counts the payload this rank handed to collective calls (one copy of each buffer, however the MPI moves
    it); the
    functions in `reduce.py` add to it.
    """

    debug = False

    def __init__(self, comm: Any):
        self.comm = comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.bytes_sent = 0
        self._node: Team | None = None

    @classmethod
    def world(cls) -> Team:
        """Collective. All ranks of the job."""
        from mpi4py import MPI

        return cls(MPI.COMM_WORLD)

    @property
    def is_root(self) -> bool:
        return self.rank == 0

    @property
    def node(self) -> Team:
        """Collective at its first use. The ranks that share this rank's memory."""
        if self._node is None:
            from mpi4py import MPI

            self._node = Team(self.comm.Split_type(MPI.COMM_TYPE_SHARED, key=self.rank))
        return self._node

    def first(self, count: int) -> Team | None:
        """Collective. A team of the first `count` ranks; None on the others."""
        from mpi4py import MPI

        part = self.comm.Split(0 if self.rank < count else MPI.UNDEFINED, self.rank)
        return Team(part) if part != MPI.COMM_NULL else None

    def close(self) -> None:
        """Collective. Free the node's communicator."""
        if self._node is not None:
            self._node.comm.Free()
            self._node = None

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def barrier(self) -> None:
        """Collective."""
        self.comm.Barrier()

    def bcast(self, value: Any) -> Any:
        """Collective. Rank 0's small object."""
        return self.comm.bcast(value, root=0)

    def allgather(self, value: Any) -> list[Any]:
        """Collective. Every rank's small object."""
        return self.comm.allgather(value)

    def scatter(self, values: Sequence[Any] | None) -> Any:
        """Collective. Rank 0 hands each rank its own object."""
        return self.comm.scatter(values, root=0)

    def alltoall(self, values: Sequence[Any]) -> list[Any]:
        """Collective. A small object for each rank; those of all ranks for this one."""
        return self.comm.alltoall(values)

    @contextmanager
    def together(self, what: str) -> Iterator[None]:
        """Collective. All ranks leave the block, or all raise the same error: a RefineError as it is, RankFailure for a
        file or memory error.

        Any other error is a mistake in the program: it stays itself on the rank where it happened, so that its
        traceback is seen. No
        collective call may stand inside the block.
        """
        failure: Exception | None = None
        try:
            yield
        except Exception as error:  # whatever it is, the other ranks must hear of it before it goes on
            failure = error
        said = [
            error
            for error in self.comm.allgather(None if failure is None else self._portable(failure, what))
            if error is not None
        ]
        if said:
            mistake = failure is not None and not isinstance(failure, (RefineError, OSError, MemoryError))
            if mistake:
                raise failure
            said[0].on_all_ranks = True
            raise said[0]

    def _portable(self, failure: Exception, what: str) -> RefineError:
        """The error as other ranks raise it."""
        if isinstance(failure, RefineError):
            return failure
        return RankFailure(f"rank {self.rank}, {what}: {type(failure).__name__}: {failure}")

    def from_root(self, func: Callable[..., Any], *args: Any) -> Any:
        """Collective. Run on rank 0; every rank gets the small result, or raises the error."""
        result = None
        with self.together(getattr(func, "__name__", "work on rank 0")):
            if self.is_root:
                result = func(*args)
        return self.bcast(result)

    def agree(self, value: Any, what: str) -> Any:
        """Collective. Rank 0's value; with `Team.debug`, RankFailure when another rank had a different one."""
        decided = self.bcast(value)
        if Team.debug:
            others = self.allgather(value == decided)
            if not all(others):
                raise RankFailure(f"rank {others.index(False)} does not agree with rank 0 on {what}")
        return decided
