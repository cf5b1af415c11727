"""Writing one iteration: every rank its rows, by MPI-IO or through rank 0, each piece remembered by its checksum and
read back at the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from mpirefine.data.partition import Block, Partition
from mpirefine.errors import StorageFailure
from mpirefine.storage.atomic import sync
from mpirefine.storage.run import schema
from mpirefine.storage.run.checksum import SEAL_BYTES, crc_of
from mpirefine.storage.run.space import ensure_space

if TYPE_CHECKING:
    from mpirefine.distribution.team import Team

PIECE_BYTES = 1 << 29  # one HDF5 call moves less than the 2 GB that MPI-IO counts
BALLAST_BYTES = 1 << 20  # kept free for what HDF5 writes when it closes a file: where that fails, parallel HDF5 hangs
_LOST: list[h5py.File] = []  # files that cannot be closed any more: HDF5 would hang, or crash


class IterationWriter:
    """Writes the datasets of one iteration; every method is collective, and raises StorageFailure on all ranks when the
    disk takes no more.
    """

    def __init__(self, path: Path, team: Team, transport: str, number: int, remedy: str):
        self.path, self.team, self.transport, self._number, self._remedy = path, team, transport, number, remedy
        self._file: h5py.File | None = None
        self._blocks: list[tuple[str, Block, int]] = []  # what this rank handed over: dataset, rows, checksum
        self._attributes: dict[str, Any] = {}
        self._broken = False
        self._problem = ""

    @property
    def _ballast(self) -> Path:
        return self.path.with_name("room.tmp")

    def open(self) -> None:
        """Collective."""
        with self._writing("the file"):
            if self.team.is_root:
                self._ballast.write_bytes(bytes(BALLAST_BYTES))
                sync(self._ballast)
            if self.transport == "mpio":
                self._file = h5py.File(self.path, "w", driver="mpio", comm=self.team.comm, userblock_size=SEAL_BYTES)
            elif self.team.is_root:
                self._file = h5py.File(self.path, "w", userblock_size=SEAL_BYTES)

    def ensure_space(self, needed: int) -> None:
        """Collective. StorageFailure when fewer bytes are free than the iteration needs."""
        ensure_space(self.team, self.path.parent, needed, f"iteration {self._number}", self._remedy)

    @contextmanager
    def _trying(self, what: str) -> Iterator[None]:
        """Errors of the disk are kept until all ranks speak of them, so that none waits for another."""
        try:
            yield
        except (OSError, RuntimeError, KeyError) as error:
            self._broken = True
            self._problem = (
                self._problem or f"{what}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            )

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Collective at its end."""
        with self._trying(what):
            yield
        self._agree()

    def _agree(self) -> None:
        """Collective. All go on, or all raise what the first rank met that failed."""
        said = [problem for problem in self.team.allgather(self._problem) if problem]
        if said:
            self._broken = True
            free = shutil.disk_usage(self.path.parent).free
            failure = StorageFailure(
                f"iteration {self._number} was not written whole ({said[0]}): is the disk full ({free:,} bytes free)? "
                f"{self._remedy}"
            )
            failure.on_all_ranks = failure.at_once = True
            raise failure

    def _create(self, name: str, shape: tuple[int, ...]) -> None:
        what = schema.item(name)
        if self._file is not None:
            dataset = self._file.create_dataset(what.name, shape, what.dtype)
            dataset.attrs["unit"], dataset.attrs["text"] = what.unit, what.text

    def begin_rows(self, name: str, rows: int, trailing: tuple[int, ...]) -> None:
        """Collective. Make a dataset that `put_rows` fills."""
        with self._writing(f"dataset {name}"):
            self._create(name, (rows, *trailing))

    def put_rows(self, name: str, block: Block, rows: np.ndarray) -> None:
        """Collective. Each rank its own, possibly empty, block of at most 512 MB; as many calls on every rank."""
        rows = schema.stored(name, rows)
        if len(rows):
            self._blocks.append((name, Block(block.start, block.start + len(rows)), crc_of(rows)))
        if self.transport == "mpio":
            with self._trying(f"dataset {name}"):
                self._put(self._file[name], block, rows)
        elif self.team.is_root:
            self._put_serial(name, Block(block.start, block.start + len(rows)), rows)
            for source in range(1, self.team.size):
                start, stop = self.team.comm.recv(source=source)
                if stop > start:
                    part = np.empty((stop - start, *rows.shape[1:]), rows.dtype)
                    self.team.comm.Recv(part, source=source)
                    self._put_serial(name, Block(start, stop), part)
        else:
            self.team.comm.send((block.start, block.start + len(rows)), dest=0)
            if len(rows):
                self.team.comm.Send(rows, dest=0)
        self._agree()

    def _put_serial(self, name: str, block: Block, rows: np.ndarray) -> None:
        """On rank 0."""
        with self._trying(f"dataset {name}"):
            if len(rows) and not self._broken:
                self._file[name][block.as_slice] = rows

    @staticmethod
    def _put(dataset: h5py.Dataset, block: Block, rows: np.ndarray) -> None:
        """One collective write; a rank without rows takes part with an empty selection (h5py's slicing would leave it
        out and hang).
        """
        collective = h5py.h5p.create(h5py.h5p.DATASET_XFER)
        collective.set_dxpl_mpio(h5py.h5fd.MPIO_COLLECTIVE)
        disk = dataset.id.get_space()
        if len(rows) and rows.size:
            disk.select_hyperslab((block.start, *(0,) * (rows.ndim - 1)), rows.shape)
            memory = h5py.h5s.create_simple(rows.shape)
        else:
            disk.select_none()
            memory = h5py.h5s.create_simple((1,))
            memory.select_none()
            rows = np.zeros(1, rows.dtype)
        dataset.id.write(memory, disk, rows, dxpl=collective)

    def write_rows(self, name: str, rows: np.ndarray, partition: Partition) -> None:
        """Collective. A dataset whose rows are dealt over ranks by `partition`."""
        rows, mine = schema.stored(name, rows), partition[self.team.rank]
        self.begin_rows(name, partition.n, rows.shape[1:])
        per_call = max(1, PIECE_BYTES // max(1, int(np.prod(rows.shape[1:])) * rows.itemsize))
        for start in range(0, max(max(partition.counts), 1), per_call):
            stop = min(start + per_call, mine.size)
            start = min(start, mine.size)
            self.put_rows(name, Block(mine.start + start, mine.start + stop), rows[start:stop])

    def write_array(self, name: str, array: np.ndarray | None) -> None:
        """Collective. Rank 0's array; the others' is not looked at."""
        values = schema.stored(name, array) if self.team.is_root else None
        shape = self.team.bcast(values.shape if values is not None else None)
        with self._writing(f"dataset {name}"):
            self._create(name, shape)
            if values is not None and values.size:
                self._blocks.append((name, Block(0, len(values)), crc_of(values)))
                self._file[name][...] = values  # independent: only rank 0 has anything to say

    def attrs(self, values: Mapping[str, Any]) -> None:
        """Collective. Attributes of the iteration, the same on all ranks."""
        self._attributes.update(values)
        with self._writing("attributes"):
            if self._file is not None:
                for name, value in values.items():
                    self._file.attrs[name] = value

    def close(self) -> None:
        """Collective. Everything is on the disk, as far as the system says."""
        with self._writing("making room"):
            if self.team.is_root:
                self._ballast.unlink()
        for finish in ("flush", "close"):
            with self._writing("closing the file"):
                if self._file is not None:
                    getattr(self._file, finish)()
        self._file = None
        with self._writing("closing the file"):
            if self.team.is_root:
                sync(self.path)

    def verify(self) -> None:
        """Collective. Every rank reads back what it handed over: some MPI-IO reports a write as done that a full disk
        did not take.
        """
        with self._writing("reading it back"):
            with h5py.File(self.path, "r") as file:
                for name, block, crc in self._blocks:
                    rows = f"dataset {name}, rows {block.start + 1} to {block.stop}"
                    with self._trying(rows):
                        if name not in file or crc_of(file[name][block.as_slice]) != crc:
                            raise OSError("other bytes came back than were written")
                if self.team.is_root:
                    self._verify_attributes(file)

    def _verify_attributes(self, file: h5py.File) -> None:
        for name in {name for name, _, _ in self._blocks}:
            what, found = schema.item(name), file[name].attrs
            if (found.get("unit"), found.get("text")) != (what.unit, what.text):
                raise OSError(f"the attributes of {name} are not those that were written")
        for name, value in self._attributes.items():
            if name not in file.attrs or not np.array_equal(file.attrs[name], value):
                raise OSError(f"attribute {name} is not what was written")

    def abandon(self, remove: Path | None) -> None:
        """Nothing more is written; Collective where all ranks raised the same error, and then the file is removed. A
        file that took no more is
        never closed.
        """
        if remove is not None:  # closing needs room, which the ballast takes
            if self.team.is_root:
                self._ballast.unlink(missing_ok=True)
            self.team.barrier()
        if self._broken and self._file is not None:
            _LOST.append(self._file)
        elif self._file is not None:
            with self._trying("closing the file"):
                self._file.close()
        self._file = None
        if self.team.is_root:
            self._ballast.unlink(missing_ok=True)
        if remove is not None:
            self.team.barrier()
            if self.team.is_root:
                remove.unlink(missing_ok=True)
