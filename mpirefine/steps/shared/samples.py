"""Which particles noise, grey scales and other estimates are made from."""

from __future__ import annotations

import numpy as np

from mpirefine.data.keys import SAMPLE as SAMPLED
from mpirefine.data.keys import uniform
from mpirefine.distribution import reduce
from mpirefine.steps.state import Context


def is_trusted(ctx: Context, trust: np.ndarray) -> np.ndarray:
    """(p,) bool, own particles that are neither set aside nor doubtful; `trust` as in State."""
    return ~ctx.particles.set_aside & (trust == 1)


def sampled_rows(ctx: Context, sample: int, least: int, kind: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Collective. Own rows drawn for an estimate: about `sample` over all ranks, and at least `least` of each kind.

    `kind` (g,) numbers the kinds that noise groups belong to; particles with a `trust` (p,) below 1 are left out. Rows
    are drawn by the names of their images, so that neither the number of ranks nor the order of rows matters.
    """
    table = ctx.particles.table
    own = kind[table.group]
    counts = np.bincount(own, minlength=kind.max() + 1).astype(np.float64)
    reduce.sum_in_place(ctx.team, counts)
    wanted = np.maximum(sample * counts / max(counts.sum(), 1), least)
    share = np.minimum(wanted / np.maximum(counts, 1), 1)
    return np.flatnonzero((uniform(table.key, SAMPLED) < share[own]) & is_trusted(ctx, trust))
