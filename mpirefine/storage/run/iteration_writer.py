"""Writing one iteration to a file of its own: each rank its rows, by MPI-IO or through rank 0. The checksum of every
piece is kept, and the file is read back and compared at the end.
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

PIECE_BYTES = 1 << 29  # of one HDF5 call: MPI-IO counts in C ints, which end at 2 GB
RESERVE_BYTES = 1 << 20  # deleted before closing, so that HDF5 has room to write: parallel HDF5 hangs where it has none
_UNCLOSED: list[h5py.File] = []  # keeps files alive that HDF5 cannot close after a failure without hanging or crashing


class IterationWriter:
    """Writes the datasets of one iteration. Every method is collective, and raises StorageFailure on all ranks when one
    of them could not write, for example on a full disk. `remedy` is advice for the user in that message.
    """

    def __init__(self, path: Path, team: Team, transport: str, number: int, remedy: str):
        self.path, self.team, self.transport, self._number, self._remedy = path, team, transport, number, remedy
        self._file: h5py.File | None = None
        self._blocks: list[tuple[str, Block, int]] = []  # what this rank wrote: dataset, rows, checksum
        self._attributes: dict[str, Any] = {}
        self._broken = False
        self._problem = ""

    @property
    def _reserve(self) -> Path:
        """A file that takes RESERVE_BYTES of the disk until the iteration's file is closed."""
        return self.path.with_name("room.tmp")

    @property
    def _open_file(self) -> h5py.File:
        """The file, on the ranks that write it."""
        if self._file is None:
            raise RuntimeError("the file is not open on this rank")
        return self._file

    def open(self) -> None:
        """Collective. Create the file."""
        with self._writing("the file"):
            if self.team.is_root:
                self._reserve.write_bytes(bytes(RESERVE_BYTES))
                sync(self._reserve)
            if self.transport == "mpio":
                self._file = h5py.File(self.path, "w", driver="mpio", comm=self.team.comm, userblock_size=SEAL_BYTES)
            elif self.team.is_root:
                self._file = h5py.File(self.path, "w", userblock_size=SEAL_BYTES)

    def ensure_space(self, required: int) -> None:
        """Collective. StorageFailure when fewer bytes are free than the iteration needs."""
        ensure_space(self.team, self.path.parent, required, f"iteration {self._number}", self._remedy)

    @contextmanager
    def _trying(self, what: str) -> Iterator[None]:
        """Keep errors of the disk until `_agree`, so that no rank leaves a collective call in which others wait."""
        try:
            yield
        except (OSError, RuntimeError, KeyError) as error:
            self._broken = True
            self._problem = (
                self._problem or f"{what}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            )

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Collective at its end: StorageFailure on all ranks when one of them failed in the block."""
        with self._trying(what):
            yield
        self._agree()

    def _agree(self) -> None:
        """Collective. StorageFailure on all ranks, with the problem of the first rank that has one."""
        problems = [problem for problem in self.team.allgather(self._problem) if problem]
        if problems:
            self._broken = True
            free = shutil.disk_usage(self.path.parent).free
            failure = StorageFailure(
                f"iteration {self._number} was not written whole ({problems[0]}): is the disk full ({free:,} bytes "
                f"free)? {self._remedy}"
            )
            failure.on_all_ranks = failure.at_once = True
            raise failure

    def _create(self, name: str, shape: tuple[int, ...]) -> None:
        what = schema.item(name)
        if self._file is not None:
            dataset = self._file.create_dataset(what.name, shape, what.dtype)
            dataset.attrs["unit"], dataset.attrs["text"] = what.unit, what.text

    def begin_rows(self, name: str, rows: int, trailing: tuple[int, ...]) -> None:
        """Collective. Create a dataset that `put_rows` fills."""
        with self._writing(f"dataset {name}"):
            self._create(name, (rows, *trailing))

    def put_rows(self, name: str, block: Block, rows: np.ndarray) -> None:
        """Collective. Write the own block, at most 512 MB and possibly empty; all ranks call it equally often."""
        rows = schema.stored(name, rows)
        if len(rows):
            self._blocks.append((name, Block(block.start, block.start + len(rows)), crc_of(rows)))
        if self.transport == "mpio":
            with self._trying(f"dataset {name}"):
                self._put(self._open_file[name], block, rows)
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
                self._open_file[name][block.as_slice] = rows

    @staticmethod
    def _put(dataset: h5py.Dataset, block: Block, rows: np.ndarray) -> None:
        """One collective write. A rank without rows takes part with an empty selection: h5py's slicing would leave it
        out, and the others would wait for ever.
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
        """Collective. Write a dataset of which each rank has the rows of its block."""
        rows, mine = schema.stored(name, rows), partition[self.team.rank]
        self.begin_rows(name, partition.n, rows.shape[1:])
        per_call = max(1, PIECE_BYTES // max(1, int(np.prod(rows.shape[1:])) * rows.itemsize))
        for start in range(0, max(max(partition.counts), 1), per_call):
            stop = min(start + per_call, mine.size)
            start = min(start, mine.size)
            self.put_rows(name, Block(mine.start + start, mine.start + stop), rows[start:stop])

    def write_array(self, name: str, array: np.ndarray | None) -> None:
        """Collective. Write rank 0's array; `array` is not used on other ranks."""
        values = schema.stored(name, array) if array is not None and self.team.is_root else None
        shape = self.team.bcast(values.shape if values is not None else None)
        with self._writing(f"dataset {name}"):
            self._create(name, shape)
            if values is not None and values.size:
                self._blocks.append((name, Block(0, len(values)), crc_of(values)))
                self._open_file[name][...] = values  # not collective: the other ranks have nothing to write

    def attrs(self, values: Mapping[str, Any]) -> None:
        """Collective. Write attributes of the iteration, the same on all ranks."""
        self._attributes.update(values)
        with self._writing("attributes"):
            if self._file is not None:
                for name, value in values.items():
                    self._file.attrs[name] = value

    def close(self) -> None:
        """Collective. Flush, close and sync the file."""
        with self._writing("making room"):
            if self.team.is_root:
                self._reserve.unlink()
        for finish in ("flush", "close"):
            with self._writing("closing the file"):
                if self._file is not None:
                    getattr(self._file, finish)()
        self._file = None
        with self._writing("closing the file"):
            if self.team.is_root:
                sync(self.path)

    def verify(self) -> None:
        """Collective. Every rank reads back what it wrote: some MPI libraries report success for writes that a full
        disk did not take.
        """
        with self._writing("reading it back"):
            with h5py.File(self.path, "r") as file:
                for name, block, crc in self._blocks:
                    rows = f"dataset {name}, rows {block.start + 1} to {block.stop}"
                    with self._trying(rows):
                        if name not in file or crc_of(file[name][block.as_slice]) != crc:
                            raise OSError("the bytes read back are not those that were written")
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
        """Give up writing. With `remove`, when all ranks raised the same error: collective, and that file is deleted. A
        file in which a write failed is never closed, since HDF5 may hang.
        """
        if remove is not None:  # closing the file needs the room of the reserve
            if self.team.is_root:
                self._reserve.unlink(missing_ok=True)
            self.team.barrier()
        if self._broken and self._file is not None:
            _UNCLOSED.append(self._file)
        elif self._file is not None:
            with self._trying("closing the file"):
                self._file.close()
        self._file = None
        if self.team.is_root:
            self._reserve.unlink(missing_ok=True)
        if remove is not None:
            self.team.barrier()
            if self.team.is_root:
                remove.unlink(missing_ok=True)
