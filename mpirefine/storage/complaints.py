"""Everything that is wrong with a particle file, told together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpirefine.errors import InputError

TOLD = 20  # complaints told in full; the rest are counted


class Complaints:
    """Problems found so far; raised together."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, *problems: str) -> None:
        self.found += problems

    def rows(self, path: Path, rows: np.ndarray, text: str) -> None:
        """One complaint for many rows: the first ones are named."""
        if len(rows):
            shown = ", ".join(str(r + 1) for r in rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
            self.add(f"{path}: row{'s' * (len(rows) > 1)} {shown}: {text}")

    def stop_if_any(self) -> None:
        if self.found:
            more = [f"... and {len(self.found) - TOLD} more problems"] if len(self.found) > TOLD else []
            raise InputError(*self.found[:TOLD], *more)
