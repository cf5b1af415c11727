"""The run file, and the one place that knows parallel HDF5.

`run.h5` is small: options, versions, digest, and one external link per whole iteration to `iterations/NN.h5`. An iteration is written to
`NN.h5.tmp` by all ranks, closed, synced and renamed, and only then linked (run.h5 itself is written beside and renamed): a run that is
killed at any moment leaves files that open, and shows whole iterations only.
"""
from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping

import h5py
import numpy as np

from mpirefine.data.partition import Block, Partition
from mpirefine.errors import InputError
from mpirefine.storage import schema

if TYPE_CHECKING:
    from mpirefine.distribution.team import Team

PIECE_BYTES = 1 << 29      # one HDF5 call moves less than the 2 GB that MPI-IO counts


def has_parallel_hdf5() -> bool:
    """Whether h5py was built against an MPI."""
    return bool(h5py.get_config().mpi)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class RunFile:
    """The results of a run in a folder. `transport` is "mpio" (all ranks write) or "gather" (through rank 0)."""

    def __init__(self, folder: Path, team: "Team", header: Mapping[str, Any], transport: str | None = None):
        self.folder, self.team, self.header = Path(folder), team, dict(header)
        self.transport = transport or ("mpio" if team.size > 1 and has_parallel_hdf5() else "gather")

    @classmethod
    def create(cls, folder: Path, team: "Team", header: Mapping[str, Any], transport: str | None = None) -> "RunFile":
        """Collective. A run without iterations."""
        run = cls(folder, team, {**header, "format": schema.VERSION}, transport)
        with team.together("making run.h5"):
            if team.is_root:
                (run.folder / "iterations").mkdir(parents=True, exist_ok=True)
                run._write_index()
        return run

    @classmethod
    def open(cls, folder: Path, team: "Team", transport: str | None = None) -> "RunFile":
        """Collective. An earlier run; leftovers of interrupted writes are removed. InputError when there is none."""
        def read() -> dict[str, Any]:
            path = Path(folder) / "run.h5"
            if not path.is_file():
                raise InputError(f"{folder}: no run.h5 here: give the folder of a run (multi_01)")
            with h5py.File(path, "r") as file:
                header = {name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()}
            if header.get("format") != schema.VERSION:
                raise InputError(f"{path}: written in format {header.get('format')}, this version reads {schema.VERSION}")
            for left in (Path(folder) / "iterations").glob("*.tmp"):
                left.unlink()
            return header
        return cls(folder, team, team.from_root(read), transport)

    def __enter__(self) -> "RunFile":
        return self

    def __exit__(self, *failure: object) -> None:
        """Nothing stays open between iterations."""

    def path_of(self, iteration: int) -> Path:
        """The file of an iteration."""
        return self.folder / "iterations" / f"{iteration:02d}.h5"

    def iterations(self) -> list[int]:
        """Collective. Whole iterations, in order."""
        return self.team.from_root(self._whole)

    def _whole(self) -> list[int]:
        return sorted(int(path.stem) for path in (self.folder / "iterations").glob("*.h5"))

    def _write_index(self) -> None:
        """On rank 0."""
        beside = self.folder / "run.h5.tmp"
        with h5py.File(beside, "w") as file:
            for name, value in self.header.items():
                file.attrs[name] = value
            links = file.create_group("iterations")
            for iteration in self._whole():
                links[f"{iteration:02d}"] = h5py.ExternalLink(f"iterations/{iteration:02d}.h5", "/")
        _sync(beside)
        os.replace(beside, self.folder / "run.h5")
        _sync(self.folder)

    @contextmanager
    def write_iteration(self, iteration: int) -> Iterator["IterationWriter"]:
        """Collective. What is written inside becomes visible when the block ends without an error; otherwise nothing does."""
        final = self.path_of(iteration)
        beside = final.with_name(final.name + ".tmp")
        with self.team.together("opening " + beside.name):
            if self.team.is_root:
                beside.unlink(missing_ok=True)
        writer = IterationWriter(beside, self.team, self.transport)
        try:
            yield writer
        except BaseException:
            if self.transport == "gather":          # closing a parallel file is collective: others may never come
                writer.close()
            raise
        writer.close()
        self.team.barrier()
        with self.team.together("finishing " + final.name):
            if self.team.is_root:
                _sync(beside)
                os.replace(beside, final)
                _sync(final.parent)
                self._write_index()

    def read_attrs(self, iteration: int) -> dict[str, Any]:
        """Collective. Attributes of an iteration."""
        def read() -> dict[str, Any]:
            with h5py.File(self.path_of(iteration), "r") as file:
                return {name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()}
        return self.team.from_root(read)

    def read_rows(self, iteration: int, name: str, block: Block) -> np.ndarray:
        """Own rows of a dataset; each rank reads by itself."""
        name = schema.item(name).name
        with h5py.File(self.path_of(iteration), "r") as file:
            return file[name][block.as_slice]

    def read_array(self, iteration: int, name: str) -> np.ndarray:
        """A whole dataset; each rank that asks reads it."""
        name = schema.item(name).name
        with h5py.File(self.path_of(iteration), "r") as file:
            return file[name][()]


class IterationWriter:
    """Writes the datasets of one iteration; every method is collective."""

    def __init__(self, path: Path, team: "Team", transport: str):
        self.team, self.transport = team, transport
        self._file: h5py.File | None = None
        if transport == "mpio":
            self._file = h5py.File(path, "w", driver="mpio", comm=team.comm)
        else:
            with team.together("making " + path.name):
                if team.is_root:
                    self._file = h5py.File(path, "w")

    def _create(self, name: str, shape: tuple[int, ...]) -> None:
        what = schema.item(name)
        if self._file is not None:
            dataset = self._file.create_dataset(what.name, shape, what.dtype)
            dataset.attrs["unit"], dataset.attrs["text"] = what.unit, what.text

    def begin_rows(self, name: str, rows: int, trailing: tuple[int, ...]) -> None:
        """Collective. Make a dataset that `put_rows` fills."""
        self._create(name, (rows, *trailing))

    def put_rows(self, name: str, block: Block, rows: np.ndarray) -> None:
        """Collective. Each rank its own, possibly empty, block of at most 512 MB; as many calls on every rank."""
        rows = schema.stored(name, rows)
        if self.transport == "mpio":
            self._put(self._file[name], block, rows)
        elif self.team.size == 1:
            self._file[name][block.as_slice] = rows
        elif self.team.is_root:
            self._file[name][block.as_slice] = rows
            for source in range(1, self.team.size):
                start, stop = self.team.comm.recv(source=source)
                if stop > start:
                    part = np.empty((stop - start, *rows.shape[1:]), rows.dtype)
                    self.team.comm.Recv(part, source=source)
                    self._file[name][start:stop] = part
        else:
            self.team.comm.send((block.start, block.start + len(rows)), dest=0)
            if len(rows):
                self.team.comm.Send(rows, dest=0)

    @staticmethod
    def _put(dataset: h5py.Dataset, block: Block, rows: np.ndarray) -> None:
        """One collective write; a rank without rows takes part with an empty selection (h5py's slicing would leave it out and hang)."""
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
        self._create(name, (partition.n, *rows.shape[1:]))
        per_call = max(1, PIECE_BYTES // max(1, int(np.prod(rows.shape[1:])) * rows.itemsize))
        for start in range(0, max(max(partition.counts), 1), per_call):
            stop = min(start + per_call, mine.size)
            start = min(start, mine.size)
            self.put_rows(name, Block(mine.start + start, mine.start + stop), rows[start:stop])

    def write_array(self, name: str, array: np.ndarray | None) -> None:
        """Collective. Rank 0's array; the others' is not looked at."""
        values = schema.stored(name, array) if self.team.is_root else None
        shape = self.team.bcast(values.shape if values is not None else None)
        self._create(name, shape)
        if values is not None and values.size:
            self._file[name][...] = values          # independent: only rank 0 has anything to say

    def attrs(self, values: Mapping[str, Any]) -> None:
        """Collective. Attributes of the iteration, the same on all ranks."""
        if self._file is not None:
            for name, value in values.items():
                self._file.attrs[name] = value

    def close(self) -> None:
        """Collective for a parallel file."""
        if self._file is not None:
            self._file.close()
            self._file = None
