"""The ranks that work together: small messages, decisions that all share, and errors that reach all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mpirefine.errors import RankFailure, RefineError


class Team:
    """A communicator with what the program needs of it. A context manager, which frees the communicator of the node.

    `bytes_sent` counts the bytes of arrays that this rank handed to the functions of `reduce.py`: one copy of each
    buffer, however MPI sends it.
    """

    debug = False  # whether `agree` compares the values of all ranks; set by tests

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
        """Collective. Rank 0's small object, on every rank."""
        return self.comm.bcast(value, root=0)

    def allgather(self, value: Any) -> list[Any]:
        """Collective. The small objects of all ranks, on every rank."""
        return self.comm.allgather(value)

    def alltoall(self, values: Sequence[Any]) -> list[Any]:
        """Collective. Send a small object to each rank; returns those that all ranks sent to this one."""
        return self.comm.alltoall(values)

    @contextmanager
    def together(self, what: str) -> Iterator[None]:
        """Collective. All ranks leave the block, or all raise the same error: a RefineError as it is, RankFailure for
        an error of files or memory; `what` says in the message what the block does.

        Any other error is a mistake in the program: the rank where it happened raises it unchanged, so that its
        traceback is printed. No collective call may be inside the block.
        """
        failure: Exception | None = None
        try:
            yield
        except Exception as error:  # of any kind: the other ranks must know before it is raised again
            failure = error
        own = None if failure is None else self._shared_error(failure, what)
        errors = [error for error in self.comm.allgather(own) if error is not None]
        if errors:
            if failure is not None and not isinstance(failure, (RefineError, OSError, MemoryError)):
                raise failure
            errors[0].on_all_ranks = True
            raise errors[0]

    def _shared_error(self, failure: Exception, what: str) -> RefineError:
        """The error that other ranks raise for a failure of this one."""
        if isinstance(failure, RefineError):
            return failure
        return RankFailure(f"rank {self.rank}, {what}: {type(failure).__name__}: {failure}")

    def from_root(self, func: Callable[..., Any], *args: Any) -> Any:
        """Collective. Call `func` on rank 0; every rank gets the small result, or raises the error."""
        result = None
        with self.together(getattr(func, "__name__", "work on rank 0")):
            if self.is_root:
                result = func(*args)
        return self.bcast(result)

    def agree(self, value: Any, what: str) -> Any:
        """Collective. Rank 0's value on every rank; with `Team.debug`, RankFailure when a rank had another value for
        `what`.
        """
        decided = self.bcast(value)
        if Team.debug:
            equal = self.allgather(value == decided)
            if not all(equal):
                raise RankFailure(f"rank {equal.index(False)} does not agree with rank 0 on {what}")
        return decided
