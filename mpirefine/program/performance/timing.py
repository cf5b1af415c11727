"""Seconds of each step, their spread over ranks, bytes sent and arithmetic; written to timing.json."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mpirefine.distribution.team import Team
from mpirefine.program.performance.rates import sgemm_rate
from mpirefine.storage.atomic import write_text


class Clock:
    """Measures steps: `with clock("simmx"):` adds to that step of the current iteration.

    The time of a step inside another step is not counted for the outer one.
    """

    def __init__(self, team: Team):
        self.team = team
        self.iterations: list[dict[str, Any]] = []
        self._own: dict[str, list[float]] = {}  # step: seconds, bytes, flop of this rank
        self._inner, self._steps = [0.0], [""]
        self._peak: float | None = None

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        began, sent = time.perf_counter(), self.team.bytes_sent
        self._inner.append(0.0)
        self._steps.append(step)
        own = self._own.setdefault(step, [0.0, 0.0, 0.0])
        try:
            yield
        finally:
            elapsed = time.perf_counter() - began
            own[0] += elapsed - self._inner.pop()
            own[1] += self.team.bytes_sent - sent
            self._inner[-1] += elapsed
            self._steps.pop()

    def count(self, flop: float) -> None:
        """Add arithmetic to the step that is running."""
        self._own.setdefault(self._steps[-1], [0.0, 0.0, 0.0])[2] += flop

    @contextmanager
    def iteration(self, number: int) -> Iterator[None]:
        """Collective at its end. Record the steps inside as those of one iteration."""
        self._own = {}
        yield
        ranks = self.team.allgather(self._own)
        peak = self.peak()
        steps = {step: self._summary([own.get(step, [0.0, 0.0, 0.0]) for own in ranks], peak) for step in self._own}
        self.iterations.append({"iteration": number, "steps": steps})

    def _summary(self, ranks: list[list[float]], peak: float) -> dict[str, float]:
        """Summarise a step: seconds over ranks, bytes and arithmetic of all ranks, and the rate against `peak`."""
        seconds = [own[0] for own in ranks]
        mean, flop = sum(seconds) / len(seconds), sum(own[2] for own in ranks)
        rate = flop / sum(seconds) / 1e9 if sum(seconds) > 0 else 0.0
        return {
            "min": round(min(seconds), 4),
            "mean": round(mean, 4),
            "max": round(max(seconds), 4),
            "imbalance": round(max(seconds) / mean, 3) if mean > 0 else 1.0,
            "bytes_sent": int(sum(own[1] for own in ranks)),
            "gflop": round(flop / 1e9, 3),
            "gflops_per_rank": round(rate, 2),
            "share_of_peak": round(rate / peak, 3),
        }

    def peak(self) -> float:
        """Collective at its first use. GFLOP/s of a matrix product on all ranks at once, as mean over ranks."""
        if self._peak is None:
            rates = self.team.allgather(sgemm_rate())
            self._peak = sum(rates) / len(rates)
        return self._peak

    def resume(self, path: Path, last: int) -> None:
        """Collective. Continue the record of an interrupted run after iteration `last`.

        The record starts empty when the file cannot be read.
        """

        def read() -> list[dict[str, Any]]:
            try:
                return json.loads(path.read_text())["iterations"]
            except (OSError, ValueError, KeyError):
                return []

        self.iterations = [record for record in self.team.from_root(read) if record["iteration"] <= last]

    def seconds(self, iteration: int) -> float:
        """Seconds of an iteration, as mean over ranks; 0 when it is not in the record."""
        return sum(
            step["mean"]
            for record in self.iterations
            if record["iteration"] == iteration
            for step in record["steps"].values()
        )

    def write(self, path: Path, total: float, particles: int) -> None:
        """Collective. Write timing.json on rank 0; `total` are the seconds of the run. RankFailure if it fails."""
        peak = self.team.allgather(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        nodes = sum(self.team.allgather(self.team.node.is_root))
        record = {
            "ranks": self.team.size,
            "nodes": nodes,
            "particles": particles,
            "total": round(total, 2),
            "sgemm_gflops_per_rank": round(self.peak(), 1),
            "peak_mb": {"max": round(max(peak), 1), "mean": round(sum(peak) / len(peak), 1)},
            "iterations": self.iterations,
        }
        with self.team.together("writing timing.json"):
            if self.team.is_root:
                write_text(path, json.dumps(record, indent=1))
