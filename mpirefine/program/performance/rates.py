"""Peak rate of a core, which the rates of steps are compared with."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

SGEMM_EDGE = 768  # rows and columns of the matrices


def best_seconds(work: Callable[[], object], least: float = 0.03, repeats: int = 3) -> float:
    """Seconds of the fastest run: after a warm-up, at least `repeats` runs and `least` seconds in total."""
    work()
    best, total, count = np.inf, 0.0, 0
    while total < least or count < repeats:
        began = time.perf_counter()
        work()
        took = time.perf_counter() - began
        best, total, count = min(best, took), total + took, count + 1
    return best


def sgemm_rate(edge: int = SGEMM_EDGE) -> float:
    """GFLOP/s of a product of square float32 matrices, with the threads that BLAS has."""
    a, b, out = (np.full((edge, edge), 0.5, np.float32) for _ in range(3))
    return 2 * edge**3 / best_seconds(lambda: np.matmul(a, b, out=out)) / 1e9
