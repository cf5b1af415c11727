"""The profile of a machine, which `bench` writes and `plan` reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mpirefine.errors import InputError


@dataclass(frozen=True)
class Machine:
    """Rates per rank while all ranks work, seconds per unit of work of each step, and MB of a rank without data."""

    ranks: int
    sgemm_gflops: float
    fft_gflops: float
    copy_gb_s: float
    allreduce_gb_s: float | None
    seconds_per_unit: dict[str, float]
    base_mb: float

    def to_json(self) -> dict[str, Any]:
        """The profile as plain values."""
        return asdict(self)

    @classmethod
    def read(cls, path: Path) -> Machine:
        """Read a file of `bench --out`; InputError when it holds no profile."""
        try:
            values = json.loads(path.read_text())
            return cls(**values["machine"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: no profile of a machine ({error}): make one with 'mpirun -n N python -m mpirefine bench "
                f"--out {path}'"
            ) from None
