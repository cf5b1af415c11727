"""Half-sets of the particles: the particle file's where they are sound, else drawn by the names of the images."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from mpirefine.data.keys import HALF_ANEW, halves, image_keys
from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.maths.statistics.half_sets import copies, missing_half, shared_keys, unsound
from mpirefine.steps.shared.particles import OwnParticles
from mpirefine.steps.state import Context

log = logging.getLogger(__name__)
NOT_USED = "half-sets of the particle file are not used: %s; new ones are drawn by the images' names"


def settle_half_sets(team: Team, particles: OwnParticles, partition: Partition, seed: int) -> None:
    """Collective. Decide the half-sets of all particles; `particles.table` is replaced.

    Copies of an image are found by their pixels and get the same key and half-set. The particle file's half-sets are
    kept if they are sound.
    """
    table = particles.table
    columns = dict(
        print=particles.fingerprint,
        key=image_keys(table.files, table.file, table.image, seed),
        used=particles.reason == 0,
        subset=np.full(len(table), -1, np.int8) if table.subset is None else table.subset,
    )
    gathered = {
        name: reduce.gather_rows(team, np.ascontiguousarray(values), partition) for name, values in columns.items()
    }
    every = {name: values for name, values in gathered.items() if values is not None}  # on rank 0
    key = repeat = half = None
    if team.is_root:
        first = copies(every["print"], every["used"])
        key, repeat = shared_keys(every["key"], first), first != np.arange(len(first))
        if repeat.any():
            log.info(
                "%d of %d rows repeat an image of another row (an expanded or joined file): copies are in one half-set "
                "and held out together",
                repeat.sum(),
                len(repeat),
            )
        half = halves(key) if table.subset is None else half_sets_of_file(every["subset"], first, key)
        half = half.astype(np.int8)
    own_key, repeat, half = (reduce.scatter_rows(team, values, partition) for values in (key, repeat, half))
    particles.table = replace(table, own_key=own_key, repeat=repeat, half=half)


def half_sets_of_file(subset: np.ndarray, first: np.ndarray, key: np.ndarray) -> np.ndarray:
    """On rank 0. Half-sets (p,) of the particle file, or new ones where these are not sound.

    New ones are drawn with another seed than the default ones: those may be what an earlier run wrote into the file.
    """
    why = unsound(subset, first)
    if not why:
        return subset
    log.warning(NOT_USED, why)
    return halves(key, HALF_ANEW)


def replace_incomplete_half_sets(ctx: Context, rows: np.ndarray, model: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Collective. Half-sets (p,) of own particles: `half`, or new ones where a map lacks one of the file's two.

    That is judged by the maps `model` (n,) that own sampled `rows` (n,) chose.
    """
    table = ctx.particles.table
    of_ranks = ctx.team.allgather((model, half[rows], table.subset is not None))
    if not any(from_file for _, _, from_file in of_ranks):
        return half
    sample_model, sample_half = (np.concatenate([part[i] for part in of_ranks]) for i in (0, 1))
    why = missing_half(sample_model, sample_half, ctx.models)
    if not why:
        return half
    if ctx.team.is_root:
        log.warning(NOT_USED, why)
    return halves(table.key, HALF_ANEW)
