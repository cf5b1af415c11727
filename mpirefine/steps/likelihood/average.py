"""Step: class sums in blocks of classes, Allreduced one block at a time and inserted into each rank's own kz slab."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.partition import Block, Partition
from mpirefine.distribution import reduce
from mpirefine.maths.fourier.polar import angular_band
from mpirefine.maths.likelihood.class_sums import ClassSums, average_images
from mpirefine.maths.likelihood.fourier_volume import Slab
from mpirefine.steps.likelihood.slabs import insert, padded_box
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.likelihood.turner import Contributions, Turner
from mpirefine.steps.shared.space import iteration_bytes
from mpirefine.steps.state import Context
from mpirefine.steps.workspace import RowStore

WIENER_IMAGE = 0.1  # class averages for the eye: weights below this share of the block's mean weight are damped


@dataclass(frozen=True)
class Average:
    """Particles to class sums to slabs. One block of classes is in memory at a time; its averages go to `store`."""

    store: RowStore | None
    name = "average"

    def run(self, state: LikelihoodState, ctx: Context) -> LikelihoodState:
        """Collective."""
        polar = ctx.plan.averaging_grid()
        orders = min(angular_band(ctx.grid.nx, polar.n_rings, ctx.plan.radius + 2), polar.half_shape[1])
        classes = len(state.orientations)
        per_block = max(1, ctx.settings.block_mb * 2**20 // ClassSums.bytes_per_class(polar))
        box = padded_box(ctx.grid.nx)
        slab = Slab(box, Partition.even(box, ctx.team.size)[ctx.team.rank], ctx.models)
        turner = Turner(state, ctx, polar, orders)
        pairs = Contributions.of(state)
        if self.store is not None:
            self.store.ensure_space(iteration_bytes(state, ctx))
            self.store.begin_rows("classes/average", classes, (ctx.grid.nx, ctx.grid.nx))
            self.store.begin_rows("classes/count", classes, ())
        for block in Block(0, classes).chunks(per_block):
            sums = ClassSums(block.size, polar)
            turner.add(pairs.of_classes(block), block, sums)
            for array in (sums.signal, sums.weight, sums.count):
                reduce.sum_in_place(ctx.team, array)
            with ctx.clock("insert"):
                insert(sums, block, state, ctx, slab)
            with ctx.clock("store averages"):
                if self.store is not None:
                    store_averages(self.store, sums, block, ctx)
        return replace(state, slab=slab)


def store_averages(store: RowStore, sums: ClassSums, block: Block, ctx: Context) -> None:
    """Collective. Each rank makes the images of its part of the block, CTF corrected, and puts them into the store."""
    part = Partition.even(block.size, ctx.team.size)[ctx.team.rank]
    every = sums.count.sum(axis=1)
    count = every[part.as_slice]
    images = np.zeros((part.size, ctx.grid.nx, ctx.grid.nx), np.float32)
    filled = np.flatnonzero(count > 0)
    if len(filled):
        weight = sums.weight.sum(axis=1)
        # by the mean of the whole block, which is the same for any number of ranks
        floor = WIENER_IMAGE * weight[every > 0].mean(axis=(0, 2)) + 1e-20
        signal = sums.signal[part.as_slice][filled].sum(axis=1)
        images[filled] = average_images(signal, weight[part.as_slice][filled], sums.polar, floor)
    rows = Block(block.start + part.start, block.start + part.stop)
    store.put_rows("classes/average", rows, images)
    store.put_rows("classes/count", rows, count.astype(np.float32))
