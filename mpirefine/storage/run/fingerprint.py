"""Fingerprints of input files - size, time and hash - to find out later whether a file has changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpirefine.data.partition import Partition
from mpirefine.errors import InputError
from mpirefine.storage.images import files_of_list

if TYPE_CHECKING:
    from mpirefine.distribution.team import Team

SAMPLE_BYTES, SAMPLES = 1 << 16, 18  # pieces that are hashed of a large file: the first, the last, and some between
WHOLE = (".star", ".lst")  # hashed whole: in text a single digit matters


@dataclass(frozen=True)
class Fingerprint:
    """One file: size in bytes, time of the last change in ns, and sha256 of its size and content or samples."""

    path: str
    size: int
    time: int
    digest: str

    @classmethod
    def of(cls, path: str) -> Fingerprint:
        """The fingerprint of a file as it is now. InputError when it cannot be read."""
        try:
            found = os.stat(path)
            return cls(path, found.st_size, found.st_mtime_ns, digest(path, found.st_size))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None

    def problem(self, *, thorough: bool) -> str:
        """What is wrong with the file as it is now, as the beginning of a sentence; empty when its content is the same.
        Unless `thorough`, equal size and time count as equal content.
        """
        try:
            found = os.stat(self.path)
            if (found.st_size, found.st_mtime_ns) == (self.size, self.time) and not thorough:
                return ""
            same = found.st_size == self.size and digest(self.path, self.size) == self.digest
            return "" if same else f"{self.path} is not the file with which"
        except OSError as error:
            return f"{self.path} cannot be read ({error.strerror}), with which"

    def now(self) -> Fingerprint:
        """The same with the present time of the file."""
        return replace(self, time=os.stat(self.path).st_mtime_ns)


class Watched:
    """The input files of a run; each rank checks its share of them."""

    def __init__(self, team: Team, files: Sequence[Fingerprint], folder: Path):
        self.team, self.folder = team, folder
        self._own = list(files[Partition.even(len(files), team.size)[team.rank].as_slice])

    def check(self, *, thorough: bool = False) -> None:
        """Collective. InputError that names every file whose content has changed since the start of the run."""
        own = [problem for file in self._own if (problem := file.problem(thorough=thorough))]
        problems = [problem for part in self.team.allgather(own) for problem in part]
        if problems:
            advice = f"{self.folder} was started: restore it, or start a new run"
            error = InputError(*(f"{problem} {advice}" for problem in problems))
            error.on_all_ranks = True
            raise error
        if thorough:
            self._own = [file.now() for file in self._own]


def record_fingerprints(team: Team, files: Sequence[str]) -> str:
    """Collective. Fingerprints of files as JSON; `files` is the same on all ranks. InputError when one cannot be
    read.
    """
    mine = Partition.even(len(files), team.size)[team.rank]
    with team.together("reading the input files"):
        own = [asdict(Fingerprint.of(file)) for file in files[mine.as_slice]]
    return json.dumps([fields for part in team.allgather(own) for fields in part])


def parse_fingerprints(text: str) -> list[Fingerprint]:
    """Inverse of `record_fingerprints`."""
    return [Fingerprint(**fields) for fields in json.loads(text)]


def digest(path: str, size: int) -> str:
    """sha256 of a file's size and content, or of samples of the content of a large file."""
    found = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        if size <= SAMPLES * SAMPLE_BYTES or Path(path).suffix.lower() in WHOLE:
            found.update(hashlib.file_digest(file, "sha256").digest())
            return found.hexdigest()
        for start in np.linspace(0, size - SAMPLE_BYTES, SAMPLES).astype(int):
            file.seek(int(start))
            found.update(file.read(SAMPLE_BYTES))
    return found.hexdigest()


def with_listed_files(files: Iterable[str]) -> list[str]:
    """The files, each once, and those that the lists of images among them name, directly or through other lists."""
    found: dict[str, None] = {}
    waiting = [file for file in files if file]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found[file] = None
            waiting += files_of_list(file)
    return sorted(found)
