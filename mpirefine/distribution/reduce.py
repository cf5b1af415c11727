"""Arrays between ranks: always as buffers, in bounded pieces. All functions are collective."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from mpirefine.data.partition import Partition
from mpirefine.distribution.team import Team

SUM_BYTES = 1 << 22  # Allreduce in pieces of 4 MiB: 2-3 times faster than one large call
PIECE_BYTES = 1 << 29  # all other messages: MPI counts in C ints, which end at 2 GB


def _flat(array: np.ndarray) -> np.ndarray:
    if not array.flags.c_contiguous:
        raise ValueError("only C-contiguous arrays can be sent: make a copy first")
    return array.reshape(-1)


def _pieces(flat: np.ndarray, nbytes: int) -> list[np.ndarray]:
    step = max(1, nbytes // flat.itemsize)
    return [flat[start : start + step] for start in range(0, flat.size, step)]


def sum_in_place(team: Team, array: np.ndarray) -> None:
    """Collective. Add the arrays of all ranks, in place: every rank gets the sum. Same shape and dtype everywhere; must
    be contiguous.
    """
    from mpi4py import MPI  # here, so that commands without MPI can import this module

    flat = _flat(array)
    if team.size == 1:
        return
    for piece in _pieces(flat, SUM_BYTES):
        team.comm.Allreduce(MPI.IN_PLACE, piece)
    team.bytes_sent += array.nbytes


def bcast_array(team: Team, array: np.ndarray | None) -> np.ndarray:
    """Collective. Rank 0's array on every rank; rank 0 gets its own object back. `array` is not used on other ranks."""
    shape, dtype = team.bcast(None if array is None else (array.shape, array.dtype.str))
    found = np.empty(shape, dtype) if array is None or not team.is_root else np.ascontiguousarray(array)
    if team.size > 1:
        for piece in _pieces(_flat(found), PIECE_BYTES):
            team.comm.Bcast(piece, root=0)
        team.bytes_sent += found.nbytes if team.is_root else 0
    return found


def bcast_large(team: Team, value: Any) -> Any:
    """Collective. Rank 0's object, of any size, on every rank; rank 0 gets its own object back."""
    if team.size == 1:
        return value
    packed = bcast_array(team, np.frombuffer(pickle.dumps(value), np.uint8) if team.is_root else None)
    return value if team.is_root else pickle.loads(packed.data)


def gather_rows(team: Team, rows: np.ndarray, partition: Partition) -> np.ndarray | None:
    """Collective. All rows on rank 0, in order; None elsewhere. `rows` are those of the own block, contiguous, any
    trailing shape.
    """
    if team.size == 1:
        return rows
    flat = _flat(rows)
    if not team.is_root:
        for piece in _pieces(flat, PIECE_BYTES):
            team.comm.Send(piece, dest=0)
        team.bytes_sent += rows.nbytes
        return None
    whole = np.empty((partition.n, *rows.shape[1:]), rows.dtype)
    for source, block in enumerate(partition):
        target = whole[block.as_slice]
        if source == 0:
            target[:] = rows
            continue
        for piece in _pieces(target.reshape(-1), PIECE_BYTES):
            team.comm.Recv(piece, source=source)
    return whole


def scatter_rows(team: Team, rows: np.ndarray | None, partition: Partition) -> np.ndarray:
    """Collective. The rows of the own block out of rank 0's, any trailing shape; on rank 0 a view. `rows` is not used
    on other ranks.
    """
    if rows is not None and team.is_root:
        team.bcast((rows.shape[1:], rows.dtype.str))
        for target, block in enumerate(partition):
            if target > 0:
                own = np.ascontiguousarray(rows[block.as_slice])
                for piece in _pieces(_flat(own), PIECE_BYTES):
                    team.comm.Send(piece, dest=target)
                team.bytes_sent += own.nbytes
        return rows[partition[0].as_slice]
    shape, dtype = team.bcast(None)
    found = np.empty((partition[team.rank].size, *shape), dtype)
    for piece in _pieces(_flat(found), PIECE_BYTES):
        team.comm.Recv(piece, source=0)
    return found


def exchange(team: Team, send: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Collective. Rank i gets `send[i]` of every rank, in order of rank, with its shape. One dtype; shapes may differ
    and be empty.

    Ranks exchange in pairs, one partner after the other, so that no rank needs memory for more than its own parts.
    """
    shapes = team.comm.alltoall([part.shape for part in send])
    received = [np.empty(shape, send[0].dtype) for shape in shapes]
    received[team.rank][...] = send[team.rank]
    for step in range(1, team.size):
        to, source = (team.rank + step) % team.size, (team.rank - step) % team.size
        requests = [team.comm.Irecv(piece, source=source) for piece in _pieces(_flat(received[source]), PIECE_BYTES)]
        requests += [team.comm.Isend(piece, dest=to) for piece in _pieces(_flat(send[to]), PIECE_BYTES)]
        for request in requests:
            request.Wait()
        team.bytes_sent += send[to].nbytes
    return received
