"""Column rlnImageName of RELION's particle files: which stack and section each particle is, and whether they exist."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpirefine.errors import InputError, Problems
from mpirefine.storage.image_file import StackHeader
from mpirefine.storage.images import stack_header
from mpirefine.storage.particle_checks import rows_by_file
from mpirefine.storage.places import Place, find, shortened
from mpirefine.storage.star import CHUNK_ROWS, StarTable

log = logging.getLogger(__name__)
COLUMN = "rlnImageName"
MOST_DIGITS = 15  # of an index


@dataclass(frozen=True)
class ImageNames:
    """The images of p rows: names of stacks as written, and for each row the stack (-1: unreadable) and section."""

    stacks: tuple[str, ...]
    file: np.ndarray  # (p,) int32
    image: np.ndarray  # (p,) int64, from 0


def parse_image_names(path: Path, particles: StarTable, problems: Problems) -> ImageNames:
    """Stack and section of every row; a problem for names that are not index@stack."""
    count = len(particles)
    file, image = np.full(count, -1, np.int32), np.zeros(count, np.int64)
    known: dict[bytes, int] = {}
    wrong: list[int] = []
    for start in range(0, count, CHUNK_ROWS):
        for row, cell in enumerate(particles.cells(COLUMN, slice(start, start + CHUNK_ROWS)), start):
            index, _, stack = cell.partition(b"@")
            if stack and index.isdigit() and len(index) <= MOST_DIGITS and int(index) > 0:
                file[row] = known.setdefault(stack, len(known))
                image[row] = int(index) - 1
            else:
                wrong.append(row)
    if wrong:
        text = shortened(particles.cell(COLUMN, wrong[0]))
        expected = "an image is named index@stack.mrcs, with an index from 1"
        problems.add_rows(path, np.array(wrong), f"column _{COLUMN}: {expected}, not '{text}'")
    return ImageNames(tuple(stack.decode("utf-8", "replace") for stack in known), file, image)


class Stacks:
    """The stacks that a particle file names: where each was found, and its header, None where it cannot be read."""

    def __init__(self, path: Path, names: ImageNames, problems: Problems):
        self.places = [find(stack, path) for stack in names.stacks]
        self.headers: list[StackHeader | None] = []
        self._path, self._names = path, names
        self._rows = rows_by_file(names.file, len(names.stacks))
        for place, rows in zip(self.places, self._rows):
            self.headers.append(self._header(place, rows, problems))
        self._check_indices(problems)

    def _header(self, place: Place, rows: np.ndarray, problems: Problems) -> StackHeader | None:
        try:
            if place.missing:
                raise InputError(place.missing)
            return stack_header(place.path)
        except InputError as error:
            problems.add_rows(self._path, rows, f"column _{COLUMN}: {error}")
            return None

    def _check_indices(self, problems: Problems) -> None:
        for header, rows in zip(self.headers, self._rows):
            if header is not None:
                image = self._names.image[rows]
                beyond = image >= header.shape[0]
                problems.add_rows(
                    self._path,
                    rows[beyond],
                    f"column _{COLUMN}: image {int(image.max(initial=0)) + 1} of {header.path}, which holds "
                    f"{header.shape[0]}: wrong stack, or not copied whole",
                )

    @property
    def paths(self) -> tuple[str, ...]:
        """Absolute paths."""
        return tuple(str(place.path.resolve()) for place in self.places)

    def warn(self) -> None:
        """Log what is odd about places and headers."""
        for note in (*(place.note for place in self.places), *(h.note for h in self.headers if h is not None)):
            if note:
                log.warning("%s", note)
