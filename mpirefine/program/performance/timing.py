"""Seconds per step, their spread over ranks, and the bytes that went between them."""

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
    """`with clock("simmx"):` adds to that step of the current iteration; what runs inside another step is taken off
    that step's time.
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
        """Arithmetic done by the step that is running."""
        self._own.setdefault(self._steps[-1], [0.0, 0.0, 0.0])[2] += flop

    @contextmanager
    def iteration(self, number: int) -> Iterator[None]:
        """Collective at its end. Steps inside are those of one iteration."""
        self._own = {}
        yield
        ranks = self.team.allgather(self._own)
        peak = self.peak()
        steps = {step: self._summary([own.get(step, [0.0, 0.0, 0.0]) for own in ranks], peak) for step in self._own}
        self.iterations.append({"iteration": number, "steps": steps})

    def _summary(self, ranks: list[list[float]], peak: float) -> dict[str, float]:
        """One step: seconds over ranks, bytes of all, arithmetic of all and its rate per rank against the peak."""
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
        """Collective at its first use. GFLOP/s of a matrix product, all ranks at once, mean of ranks."""
        if self._peak is None:
            rates = self.team.allgather(sgemm_rate())
            self._peak = sum(rates) / len(rates)
        return self._peak

    def take_up(self, path: Path, last: int) -> None:
        """Collective. Continue the record of an interrupted run, as far as its iteration `last`; begin anew where there
        is none that can be read.
        """

        def read() -> list[dict[str, Any]]:
            try:
                return json.loads(path.read_text())["iterations"]
            except (OSError, ValueError, KeyError):
                return []

        self.iterations = [one for one in self.team.from_root(read) if one["iteration"] <= last]

    def seconds(self, iteration: int) -> float:
        """What an iteration of the record took, on the mean rank; 0 for one that is not there."""
        return sum(
            step["mean"] for one in self.iterations if one["iteration"] == iteration for step in one["steps"].values()
        )

    def write(self, path: Path, total: float, particles: int) -> None:
        """Collective. timing.json, by rank 0."""
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
