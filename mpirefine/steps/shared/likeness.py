"""How alike two maps are, compared with what is expected of two noisy maps of one structure."""

from __future__ import annotations

import numpy as np

from mpirefine.steps.state import State


def fsc_excess(between: np.ndarray, half_a: np.ndarray, half_b: np.ndarray, rings: int) -> float:
    """FSC of two maps minus that expected of two maps of one structure, mean over shells 1 .. `rings`.

    `between` (k,) is the FSC of the maps, `half_a` and `half_b` (k,) those of their half-maps. A map whose half-maps
    have the FSC F correlates with the truth by √(2F / (1 + F)) (Rosenthal & Henderson 2003), and two maps of one
    structure by the product.
    """
    full = [2 * np.clip(half, 0, 1) / (1 + np.clip(half, 0, 1)) for half in (half_a, half_b)]
    span = slice(1, rings + 1)
    return float(np.mean(between[span]) - np.mean(np.sqrt(full[0] * full[1])[span]))


def likeness(state: State, a: int, b: int, rings: int) -> float:
    """On rank 0. `fsc_excess` of maps `a` and `b` on the rings that both are matched on, at most `rings`.

    About 0 for maps of one structure, negative for different ones; -inf where it is unknown since a half-map is empty.
    """
    halves = state.curves["half_fsc"]
    if np.isnan(halves[[a, b]]).any():
        return -np.inf
    used = min(state.last_rings[a], state.last_rings[b], rings)
    return fsc_excess(state.curves["between_fsc"][a, b], halves[a], halves[b], used)
