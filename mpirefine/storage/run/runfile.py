"""The results of a run on the disk: `run.h5` and one HDF5 file for each iteration.

`run.h5` is small: options, versions, fingerprints of the inputs, and an external link to `iterations/NN.h5` for each
complete iteration. All ranks write an iteration to `NN.h5.tmp`; it is closed, synced, read back by the ranks that wrote
it (MPI-IO does not always report a full disk), sealed with a checksum, renamed, and only then linked. `run.h5` itself
is written under another name and renamed. So a run that is killed at any moment leaves readable files with complete
iterations only.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from mpirefine.data.partition import Block
from mpirefine.errors import FormatError, InputError
from mpirefine.storage.atomic import replacing, sync
from mpirefine.storage.run import checksum, schema
from mpirefine.storage.run.fingerprint import Watched, parse_fingerprints
from mpirefine.storage.run.iteration_writer import IterationWriter
from mpirefine.storage.run.space import ensure_space

if TYPE_CHECKING:
    from mpirefine.distribution.team import Team

log = logging.getLogger(__name__)
INDEX = "run"  # content named in the seal of run.h5; that of an iteration names "iteration N"
UNREADABLE = (OSError, KeyError, RuntimeError, ValueError)  # what h5py raises for files that are damaged


def has_parallel_hdf5() -> bool:
    """Whether h5py was built against an MPI."""
    return bool(h5py.get_config().mpi)


def python_values(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of HDF5 with Python's types in place of numpy's."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in attributes.items()}


def seal_of(iteration: int) -> str:
    """The content that the seal of an iteration names."""
    return f"iteration {iteration}"


class RunFile:
    """The results of a run in a folder. `transport` is "mpio" (all ranks write) or "gather" (through rank 0)."""

    def __init__(self, folder: Path, team: Team, header: Mapping[str, Any], transport: str | None = None):
        self.folder, self.team, self.header = Path(folder), team, dict(header)
        self.transport = transport or ("mpio" if team.size > 1 and has_parallel_hdf5() else "gather")
        self.inputs = Watched(team, parse_fingerprints(self.header.get("inputs", "[]")), self.folder)
        self._whole: set[int] = set()  # iterations whose checksum this process has verified

    @classmethod
    def create(cls, folder: Path, team: Team, header: Mapping[str, Any], transport: str | None = None) -> RunFile:
        """Collective. Create a run without iterations."""
        run = cls(folder, team, {**header, "format": schema.VERSION}, transport)
        with team.together("creating run.h5"):
            if team.is_root:
                (run.folder / "iterations").mkdir(parents=True, exist_ok=True)
                run._write_index()
        return run

    @classmethod
    def open(cls, folder: Path, team: Team, transport: str | None = None) -> RunFile:
        """Collective. Open an existing run and delete the rest of interrupted writes. A damaged run.h5 is restored from
        the copy of its content in the newest complete iteration.

        InputError when there is no run, or one of another format version.
        """
        return cls(folder, team, team.from_root(cls(folder, team, {}, transport)._read_header), transport)

    def _read_header(self) -> dict[str, Any]:
        """On rank 0. The attributes of run.h5, restored if necessary. InputError as of `open`."""
        path = self.folder / "run.h5"
        if not path.is_file() and not self._found():
            raise InputError(f"{self.folder}: no run.h5 here: give the folder of a run (multi_01)")
        header: dict[str, Any] = {}
        problem = checksum.problem(path, INDEX)
        try:
            with h5py.File(path, "r") as file:
                header = python_values(file.attrs)
        except UNREADABLE as error:
            problem = problem or _first_line(error)
        for left in (*(self.folder / "iterations").glob("*.tmp"), self.folder / "run.h5.tmp"):
            left.unlink(missing_ok=True)
        if not problem and header.get("format") == schema.VERSION:
            return header
        copy = self._copied_header()
        if copy is None and header.get("format", schema.VERSION) != schema.VERSION:
            raise InputError(
                f"{path}: written in format {header.get('format')}, this version reads {schema.VERSION}: start a new "
                "run"
            )
        if copy is None:
            raise InputError(
                f"{path}: damaged ({problem}), and no complete iteration to restore it from: start a new run"
            )
        log.warning("warning: %s: damaged (%s): restored from the iterations beside it", path, problem)
        self.header = copy
        self._write_index()
        return copy

    def _copied_header(self) -> dict[str, Any] | None:
        """On rank 0. The copy of the header in the newest complete iteration; None when there is none."""
        for iteration in reversed(self._found()):
            try:
                with self._opened(iteration) as file:
                    return json.loads(file.attrs["run"])
            except FormatError:
                continue
        return None

    def __enter__(self) -> RunFile:
        return self

    def __exit__(self, *failure: object) -> None:
        """Nothing stays open between iterations."""

    def path_of(self, iteration: int) -> Path:
        """The file of an iteration."""
        return self.folder / "iterations" / f"{iteration:02d}.h5"

    def iterations(self) -> list[int]:
        """Collective. Numbers of the complete iterations, in order."""
        return self.team.from_root(self._found)

    def _found(self) -> list[int]:
        return sorted(int(path.stem) for path in (self.folder / "iterations").glob("*.h5") if path.stem.isdigit())

    def _write_index(self) -> None:
        """On rank 0. Write run.h5, with links to the iterations that exist."""
        with replacing(self.folder / "run.h5") as temporary:
            with h5py.File(temporary, "w", userblock_size=checksum.SEAL_BYTES) as file:
                for name, value in self.header.items():
                    file.attrs[name] = value
                links = file.create_group("iterations")
                for iteration in self._found():
                    links[f"{iteration:02d}"] = h5py.ExternalLink(f"iterations/{iteration:02d}.h5", "/")
            checksum.seal(temporary, INDEX)

    def ensure_space(self, required: int, what: str) -> None:
        """Collective. StorageFailure when the disk of the run has fewer than the `required` bytes for `what`."""
        ensure_space(self.team, self.folder, required, what, self.remedy)

    @property
    def remedy(self) -> str:
        """Advice for the user when the disk is full."""
        return f"free space and go on with 'python -m mpirefine resume {self.folder}'"

    @contextmanager
    def write_iteration(
        self, iteration: int, clock: Callable[[str], AbstractContextManager[Any]] = nullcontext
    ) -> Iterator[IterationWriter]:
        """Collective. Write an iteration in the block; it becomes visible when the block ends without an error and all
        of it could be read back, otherwise nothing does. StorageFailure on all ranks when writing failed. `clock` times
        reading back and sealing as "verify".
        """
        final = self.path_of(iteration)
        temporary = final.with_name(final.name + ".tmp")
        with self.team.together("opening " + temporary.name):
            if self.team.is_root:
                temporary.unlink(missing_ok=True)
        writer = IterationWriter(temporary, self.team, self.transport, iteration, self.remedy)
        try:
            writer.open()
            yield writer
            with clock("verify"):
                writer.attrs({"run": json.dumps(self.header)})
                writer.close()
                writer.verify()
        except BaseException as error:
            together = getattr(error, "on_all_ranks", False)
            if self.transport == "gather" or together:  # closing a parallel file is collective
                writer.abandon(temporary if together else None)
            raise
        with clock("verify"), self.team.together("finishing " + final.name):
            if self.team.is_root:
                checksum.seal(temporary, seal_of(iteration))
                sync(temporary)
                os.replace(temporary, final)
                sync(final.parent)
                self._write_index()
        self._whole.discard(iteration)

    def verify(self, iteration: int) -> None:
        """Collective. FormatError when the file of an iteration does not have its checksum; rank 0 reads it once."""
        self.team.from_root(self._verify, iteration)
        self._whole.add(iteration)

    def _verify(self, iteration: int) -> None:
        if iteration in self._whole:
            return
        problem = checksum.problem(self.path_of(iteration), seal_of(iteration))
        if problem:
            raise FormatError(f"{self.path_of(iteration)}: damaged: {problem}")
        self._whole.add(iteration)

    def set_aside(self, iteration: int) -> Path:
        """Collective. Rename the file of a damaged iteration, so that it no longer counts; returns the new name."""
        path = self.path_of(iteration)
        kept = path.with_name(path.name + ".damaged")
        with self.team.together("setting aside " + path.name):
            if self.team.is_root:
                os.replace(path, kept)
                self._write_index()
        return kept

    @contextmanager
    def _opened(self, iteration: int) -> Iterator[h5py.File]:
        """Open an iteration for reading on this rank alone. FormatError when it is damaged."""
        self._verify(iteration)
        try:
            with h5py.File(self.path_of(iteration), "r") as file:
                yield file
        except UNREADABLE as error:
            raise FormatError(f"{self.path_of(iteration)}: damaged: {_first_line(error)}") from None

    def read_attrs(self, iteration: int) -> dict[str, Any]:
        """Collective. Attributes of an iteration."""

        def read() -> dict[str, Any]:
            with self._opened(iteration) as file:
                return python_values(file.attrs)

        return self.team.from_root(read)

    def shapes(self, iteration: int) -> dict[str, tuple[int, ...]]:
        """Shapes of all datasets of an iteration, read by this rank alone. FormatError when it is damaged."""
        with self._opened(iteration) as file:
            return {name: file[name].shape for name in schema.ITEMS if name in file}

    def read_rows(self, iteration: int, name: str, block: Block) -> np.ndarray:
        """The rows of a block of a dataset, read by this rank alone. FormatError when the file is damaged."""
        name = schema.item(name).name
        with self._opened(iteration) as file:
            return file[name][block.as_slice]

    def read_array(self, iteration: int, name: str) -> np.ndarray:
        """A whole dataset, read by this rank alone. FormatError when the file is damaged."""
        name = schema.item(name).name
        with self._opened(iteration) as file:
            return file[name][()]


def library_version() -> str:
    """The version of h5py."""
    return h5py.__version__


def _first_line(error: BaseException) -> str:
    """The first line of HDF5's error."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
