"""Which content a file had: its size, time and a hash, to tell later whether it is still the same."""

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

SAMPLE_BYTES, SAMPLES = (
    1 << 16,
    18,
)  # pieces that are hashed of a large file: the first, the last, and others between them
WHOLE = (".star", ".lst")  # text, where one digit matters, is hashed whole


@dataclass(frozen=True)
class Fingerprint:
    """Of one file: bytes, time of the last change in ns, and sha256 of its size and samples."""

    path: str
    size: int
    time: int
    digest: str

    @classmethod
    def of(cls, path: str) -> Fingerprint:
        """InputError when the file cannot be read."""
        try:
            found = os.stat(path)
            return cls(path, found.st_size, found.st_mtime_ns, digest(path, found.st_size))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None

    def problem(self, *, thorough: bool) -> str:
        """What is wrong with the file as it is now; nothing when it has the content it had. Unless `thorough`, an
        unchanged size and time is
        believed.
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
        """With the time that the file has now."""
        return replace(self, time=os.stat(self.path).st_mtime_ns)


class Watched:
    """The input files of a run, dealt over ranks."""

    def __init__(self, team: Team, files: Sequence[Fingerprint], folder: Path):
        self.team, self.folder = team, folder
        self._own = list(files[Partition.even(len(files), team.size)[team.rank].as_slice])

    def check(self, *, thorough: bool = False) -> None:
        """Collective. InputError that names every file whose content is another one than at the start."""
        problems = [problem for file in self._own if (problem := file.problem(thorough=thorough))]
        told = [problem for part in self.team.allgather(problems) for problem in part]
        if told:
            error = InputError(
                *(f"{problem} {self.folder} was started: restore it, or start a new run" for problem in told)
            )
            error.on_all_ranks = True
            raise error
        if thorough:
            self._own = [file.now() for file in self._own]


def take(team: Team, files: Sequence[str]) -> str:
    """Collective. Fingerprints of files, the same list on all ranks, as JSON. InputError when one cannot be read."""
    mine = Partition.even(len(files), team.size)[team.rank]
    with team.together("looking at the input files"):
        own = [asdict(Fingerprint.of(file)) for file in files[mine.as_slice]]
    return json.dumps([one for part in team.allgather(own) for one in part])


def taken(text: str) -> list[Fingerprint]:
    """Inverse of `take`."""
    return [Fingerprint(**one) for one in json.loads(text)]


def digest(path: str, size: int) -> str:
    """sha256 of a file's size and content, or of samples of its content."""
    found = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        if size <= SAMPLES * SAMPLE_BYTES or Path(path).suffix.lower() in WHOLE:
            found.update(hashlib.file_digest(file, "sha256").digest())
            return found.hexdigest()
        for start in np.linspace(0, size - SAMPLE_BYTES, SAMPLES).astype(int):
            file.seek(int(start))
            found.update(file.read(SAMPLE_BYTES))
    return found.hexdigest()


def with_lists(files: Iterable[str]) -> list[str]:
    """The files, each once, and those that the EMAN2 lists among them name."""
    found: dict[str, None] = {}
    waiting = [file for file in files if file]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found[file] = None
            waiting += files_of_list(file)
    return sorted(found)
