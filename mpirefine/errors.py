"""All errors that mpirefine raises on purpose, and a collector of problems that are raised as one error."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

ROWS_NAMED = 5  # rows that one problem names; the others are counted
PROBLEMS_SHOWN = 20  # problems of one particle file that are shown; the others are counted


class RefineError(Exception):
    """Base of the errors that the command line prints without a traceback, one line for each problem."""

    exit_status = 2
    on_all_ranks = False  # True when every rank raises the same error, so that rank 0 alone prints it
    at_once = False  # True when the process must end without closing files: HDF5 hangs on a file that a full disk cut

    def __init__(self, *problems: str):
        super().__init__(*problems)

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems, one line each."""
        return self.args

    def __str__(self) -> str:
        return "\n".join(self.problems)


class InputError(RefineError):
    """A file, a row of it, or a combination of files cannot be used."""


class FormatError(InputError):
    """A file breaks the rules of its format: truncated, wrong header, text in place of a number."""


class ParameterError(RefineError):
    """An option or a parameter of a component has an unknown name or value."""


class RankFailure(RefineError):
    """Another rank failed; the message names the rank and repeats its error."""

    exit_status = 1


class StorageFailure(RefineError):
    """Writing failed, for example on a full disk. Earlier iterations are intact and the run can be resumed."""

    exit_status = 1


class Problems:
    """Collects problems, so that the user sees all of them at once.

    `most` limits how many are shown when they are raised; the others are counted in a last line.
    """

    def __init__(self, most: int | None = None) -> None:
        self.texts: list[str] = []
        self._most = most

    def __bool__(self) -> bool:
        return bool(self.texts)

    def add(self, *texts: str) -> None:
        """Add problems, one line each."""
        self.texts += texts

    def add_rows(self, path: Path, rows: Collection[int], text: str) -> None:
        """Add one problem that concerns many rows (counted from 0) of a file and names the first of them; nothing when
        there are no rows.
        """
        if len(rows):
            first = ", ".join(str(row + 1) for row in islice(rows, ROWS_NAMED))
            more = f" and {len(rows) - ROWS_NAMED} more" if len(rows) > ROWS_NAMED else ""
            self.add(f"{path}: row{'s' * (len(rows) > 1)} {first}{more}: {text}")

    @contextmanager
    def collect(self, prefix: str = "") -> Iterator[None]:
        """Catch an InputError or ParameterError of the block and keep its problems, each with `prefix` in front."""
        try:
            yield
        except (InputError, ParameterError) as error:
            self.add(*(prefix + line for line in str(error).splitlines()))

    def raise_if_any(self, kind: type[RefineError] = InputError) -> None:
        """Raise an error of `kind`, by default InputError, with all problems; do nothing when there are none."""
        if self.texts:
            hidden = 0 if self._most is None else len(self.texts) - self._most
            more = [f"... and {hidden} more problems"] if hidden > 0 else []
            raise kind(*self.texts[: self._most], *more)
