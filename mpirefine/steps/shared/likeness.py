"""How alike two maps are, against what their noise lets expect of two maps of one structure."""

from __future__ import annotations

import numpy as np

from mpirefine.steps.state import State


def fsc_excess(between: np.ndarray, half_a: np.ndarray, half_b: np.ndarray, rings: int) -> float:
    """FSC (k,) of two maps less that expected of two maps of one structure, mean over rings 1 .. `rings`.

    A map whose half-maps have the FSC F correlates with the truth by √(2F / (1 + F)) (Rosenthal & Henderson 2003): two
    such maps of one structure correlate by the product.
    """
    full = [2 * np.clip(half, 0, 1) / (1 + np.clip(half, 0, 1)) for half in (half_a, half_b)]
    span = slice(1, rings + 1)
    return float(np.mean(between[span]) - np.mean(np.sqrt(full[0] * full[1])[span]))


def likeness(state: State, a: int, b: int, rings: int) -> float:
    """On rank 0. `fsc_excess` of two maps on the rings both are matched on, at most `rings`.

    About 0 for maps of one structure, negative for different ones; -inf where a half-map is empty, so that nothing is
    known.
    """
    halves = state.curves["half_fsc"]
    if np.isnan(halves[[a, b]]).any():
        return -np.inf
    used = min(state.last_rings[a], state.last_rings[b], rings)
    return fsc_excess(state.curves["between_fsc"][a, b], halves[a], halves[b], used)
