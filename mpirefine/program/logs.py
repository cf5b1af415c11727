"""What is said and where: rank 0 on the terminal and in run.log, other ranks only warnings, with their number."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

from mpirefine.program.launcher import launched_rank

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
PLAIN_SECONDS = 15.0  # between lines of progress where there is no terminal
_state: dict[str, Any] = {"root": False, "verbose": 0}


def set_up(rank: int, size: int, verbose: int) -> None:
    """Set up logging of a run: called once on every rank. What is said before the folder is known is kept for
    `into`.
    """
    root = logging.getLogger("mpirefine")
    for handler in list(root.handlers):  # of an earlier run in this process
        handler.close()
        root.removeHandler(handler)
    root.propagate = False
    logging.raiseExceptions = False  # a full disk under run.log is told where results are written, not by a traceback
    root.setLevel(LEVELS[min(verbose, 2)] if rank == 0 else logging.WARNING)
    terminal = logging.StreamHandler(sys.stdout if rank == 0 else sys.stderr)
    terminal.setFormatter(logging.Formatter("%(message)s" if rank == 0 else f"[rank {rank} of {size}] %(message)s"))
    root.addHandler(terminal)
    if rank == 0:
        root.addHandler(MemoryHandler(1 << 20, flushLevel=logging.CRITICAL + 1))
    _state.update(root=rank == 0, verbose=verbose)


def into(folder: Path) -> None:
    """On rank 0. What was said and will be said goes to run.log too."""
    root = logging.getLogger("mpirefine")
    file = logging.FileHandler(folder / "run.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    for handler in [h for h in root.handlers if isinstance(h, MemoryHandler)]:
        handler.setTarget(file)
        handler.close()
        root.removeHandler(handler)
    root.addHandler(file)


def say(text: str, *, error: bool = False) -> None:
    """One message of a command, outside of a run: by the first rank."""
    if launched_rank() > 0:
        return
    stream = sys.stderr if error else sys.stdout
    stream.write(text.rstrip("\n") + "\n")
    stream.flush()


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: text left, the rest right."""
    width = [max(len(str(row[i])) for row in (headers, *rows)) for i in range(len(headers))]
    lines = ["  " + "  ".join(str(cell).rjust(w) for cell, w in zip(row, width)) for row in (headers, *rows)]
    return "\n".join(lines)


class _Plain:
    """Progress without a terminal: a line now and then."""

    def __init__(self, total: int, label: str):
        self.total, self.label, self.done = total, label, 0
        self.began = self.said = time.monotonic()

    def update(self, count: int) -> None:
        """`count` more are done."""
        self.done += count
        now = time.monotonic()
        if now - self.said > PLAIN_SECONDS and self.done < self.total:
            self.said = now
            left = (now - self.began) * (self.total - self.done) / max(self.done, 1)
            say(f"  {self.label}: {100 * self.done // self.total} %, about {left:.0f} s left", error=True)


class _Nothing:
    """Progress of other ranks."""

    def update(self, count: int) -> None:
        """Say nothing."""


@contextmanager
def progress(total: int, label: str) -> Iterator[Any]:
    """A bar with the time left on rank 0's terminal; its own share stands for all."""
    if not _state["root"] or _state["verbose"] < 1 or total == 0:
        yield _Nothing()
    elif sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=label, leave=False, unit="particle", file=sys.stderr) as bar:
            yield bar
    else:
        yield _Plain(total, label)
