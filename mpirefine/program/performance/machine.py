"""The profile of a machine, as `bench` makes it and `plan` reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mpirefine.errors import InputError


@dataclass(frozen=True)
class Machine:
    """Rates per rank with all ranks at work, seconds per unit of work of each step, and MB of a rank that has done
    nothing yet.
    """

    ranks: int
    sgemm_gflops: float
    fft_gflops: float
    copy_gb_s: float
    allreduce_gb_s: float | None
    seconds_per_unit: dict[str, float]
    base_mb: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def read(cls, path: Path) -> Machine:
        """InputError when the file is no profile."""
        try:
            values = json.loads(path.read_text())
            return cls(**values["machine"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: no profile of a machine ({error}): 'mpirun -n N python -m mpirefine bench --out {path}' "
                "makes one"
            ) from None
