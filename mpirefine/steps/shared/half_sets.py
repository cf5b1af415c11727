"""Which half of the particles each one is in, decided on rank 0 from all of them."""

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
NOT_USED = "half-sets of the particle file are not used: %s; made anew from the images' names"


def settle_half_sets(team: Team, particles: OwnParticles, partition: Partition, seed: int) -> None:
    """Collective. Half-sets of own particles, in `particles.table`, which is replaced.

    Copies of an image are found by their pixels and get one key and half; the particle file's half-sets are kept if
    they
    are sound.
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
                "%d of %d rows repeat an image of another row (an expanded or joined file): copies share a half and "
                "are held out together",
                repeat.sum(),
                len(repeat),
            )
        half = halves(key) if table.subset is None else half_sets_of_file(every["subset"], first, key)
        half = half.astype(np.int8)
    own_key, repeat, half = (reduce.scatter_rows(team, values, partition) for values in (key, repeat, half))
    particles.table = replace(table, own_key=own_key, repeat=repeat, half=half)


def half_sets_of_file(subset: np.ndarray, first: np.ndarray, key: np.ndarray) -> np.ndarray:
    """On rank 0. (p,) half-sets of a particle file, or new ones where they are not sound.

    New ones differ from those that this program draws by default, and may have written into the file.
    """
    why = unsound(subset, first)
    if not why:
        return subset
    log.warning(NOT_USED, why)
    return halves(key, HALF_ANEW)


def replace_incomplete_half_sets(ctx: Context, rows: np.ndarray, model: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Collective. Half-sets (p,) of own particles: `half`, or others where a map would have only one of the file's two.

    That is judged by the maps (n,) that own sampled `rows` chose.
    """
    table = ctx.particles.table
    told_by_ranks = ctx.team.allgather((model, half[rows], table.subset is not None))
    if not any(from_file for _, _, from_file in told_by_ranks):
        return half
    models, halves_of = (np.concatenate([part[i] for part in told_by_ranks]) for i in (0, 1))
    why = missing_half(models, halves_of, ctx.models)
    if not why:
        return half
    if ctx.team.is_root:
        log.warning(NOT_USED, why)
    return halves(table.key, HALF_ANEW)
