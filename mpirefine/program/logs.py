"""Logging: rank 0 writes to the terminal and run.log; other ranks only warn, with their number."""

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
PLAIN_SECONDS = 15.0  # between lines of progress when the output is no terminal
_state: dict[str, Any] = {"root": False, "verbose": 0}


def set_up(rank: int, size: int, verbose: int) -> None:
    """Set up logging, once on every rank. Rank 0 keeps its messages until `log_to` gives the folder."""
    root = logging.getLogger("mpirefine")
    for handler in list(root.handlers):  # of an earlier run in this process
        handler.close()
        root.removeHandler(handler)
    root.propagate = False
    logging.raiseExceptions = False  # no traceback when the disk of run.log is full: writing the results reports it
    root.setLevel(LEVELS[min(verbose, 2)] if rank == 0 else logging.WARNING)
    terminal = logging.StreamHandler(sys.stdout if rank == 0 else sys.stderr)
    terminal.setFormatter(logging.Formatter("%(message)s" if rank == 0 else f"[rank {rank} of {size}] %(message)s"))
    root.addHandler(terminal)
    if rank == 0:
        root.addHandler(MemoryHandler(1 << 20, flushLevel=logging.CRITICAL + 1))
    _state.update(root=rank == 0, verbose=verbose)


def log_to(folder: Path) -> None:
    """On rank 0. Write earlier and later messages to run.log in a folder too."""
    root = logging.getLogger("mpirefine")
    file = logging.FileHandler(folder / "run.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    for handler in [h for h in root.handlers if isinstance(h, MemoryHandler)]:
        handler.setTarget(file)
        handler.close()
        root.removeHandler(handler)
    root.addHandler(file)


def say(text: str, *, error: bool = False) -> None:
    """Print a message of a command on the first rank, without the log of a run."""
    if launched_rank() > 0:
        return
    stream = sys.stderr if error else sys.stdout
    stream.write(text.rstrip("\n") + "\n")
    stream.flush()


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns, all to the right."""
    width = [max(len(str(row[i])) for row in (headers, *rows)) for i in range(len(headers))]
    lines = ["  " + "  ".join(str(cell).rjust(w) for cell, w in zip(row, width)) for row in (headers, *rows)]
    return "\n".join(lines)


class _Plain:
    """Progress when the output is no terminal: a line every PLAIN_SECONDS."""

    def __init__(self, total: int, label: str):
        self.total, self.label, self.done = total, label, 0
        self.began = self.last_line = time.monotonic()

    def update(self, count: int) -> None:
        """Add `count` finished items."""
        self.done += count
        now = time.monotonic()
        if now - self.last_line > PLAIN_SECONDS and self.done < self.total:
            self.last_line = now
            left = (now - self.began) * (self.total - self.done) / max(self.done, 1)
            say(f"  {self.label}: {100 * self.done // self.total} %, about {left:.0f} s left", error=True)


class _Silent:
    """Progress of other ranks: nothing is shown."""

    def update(self, count: int) -> None:
        """Show nothing."""


@contextmanager
def progress(total: int, label: str) -> Iterator[Any]:
    """Show the progress of rank 0's share of the work, with the time left, on its terminal."""
    if not _state["root"] or _state["verbose"] < 1 or total == 0:
        yield _Silent()
    elif sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=label, leave=False, unit="particle", file=sys.stderr) as bar:
            yield bar
    else:
        yield _Plain(total, label)
