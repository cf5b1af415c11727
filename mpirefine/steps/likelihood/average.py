"""Step: sum the particles of each class over all ranks, and insert the sums into each rank's slab of kz planes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.partition import Block, Partition
from mpirefine.distribution import reduce
from mpirefine.maths.fourier.polar import angular_band
from mpirefine.maths.likelihood.class_sums import ClassSums, RingSamples, average_images
from mpirefine.maths.likelihood.fourier_volume import Slab
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.likelihood.turner import Contributions, Turner
from mpirefine.steps.likelihood.volumes.slabs import insert, padded_box
from mpirefine.steps.shared.space import iteration_bytes
from mpirefine.steps.state import Context
from mpirefine.steps.workspace import RowStore

WIENER_IMAGE = 0.1  # Wiener constant of class averages for display, as a share of the mean weight of a block


@dataclass(frozen=True)
class Average:
    """Class sums, one block of classes in memory at a time; the averages of a block go to `store`, if there is one."""

    store: RowStore | None
    name = "average"

    def run(self, state: LikelihoodState, ctx: Context) -> LikelihoodState:
        """Collective. StorageFailure when the disk has too little space."""
        polar = ctx.plan.averaging_grid()
        orders = min(angular_band(ctx.grid.nx, polar.n_rings, ctx.plan.radius + 2), polar.half_shape[1])
        classes = len(state.orientations)
        samples = RingSamples.for_content(polar, ctx.plan.radius, ctx.plan.full_radius)
        per_block = max(1, ctx.settings.block_mb * 2**20 // samples.bytes_per_class)
        box = padded_box(ctx.grid.nx)
        slab = Slab(box, Partition.even(box, ctx.team.size)[ctx.team.rank], ctx.models)
        turner = Turner(state, ctx, polar, orders)
        contributions = Contributions.of(state)
        if self.store is not None:
            self.store.ensure_space(iteration_bytes(state, ctx))
            self.store.begin_rows("classes/average", classes, (ctx.grid.nx, ctx.grid.nx))
            self.store.begin_rows("classes/count", classes, ())
        for block in Block(0, classes).chunks(per_block):
            sums = ClassSums(block.size, samples)
            turner.add(contributions.of_classes(block), block, sums)
            for array in (sums.signal, sums.weight, sums.count):
                reduce.sum_in_place(ctx.team, array)
            with ctx.clock("insert"):
                insert(sums, block, state, ctx, slab)
            with ctx.clock("store averages"):
                if self.store is not None:
                    store_averages(self.store, sums, block, ctx)
        return replace(state, slab=slab)


def store_averages(store: RowStore, sums: ClassSums, block: Block, ctx: Context) -> None:
    """Collective. Each rank makes CTF-corrected images of its part of a block of classes, and stores them."""
    part = Partition.even(block.size, ctx.team.size)[ctx.team.rank]
    every = sums.count.sum(axis=1)
    count = every[part.as_slice]
    images = np.zeros((part.size, ctx.grid.nx, ctx.grid.nx), np.float32)
    filled = np.flatnonzero(count > 0)
    if len(filled):
        weight = sums.weight.sum(axis=1)
        # by the mean of the whole block, so that images do not depend on the number of ranks
        of_samples = weight[every > 0].mean(axis=0)
        rings = sums.samples.ring
        floor = WIENER_IMAGE * np.bincount(rings, of_samples) / np.bincount(rings) + 1e-20
        signal = sums.signal[part.as_slice][filled].sum(axis=1)
        images[filled] = average_images(signal, weight[part.as_slice][filled], sums.samples, floor)
    rows = Block(block.start + part.start, block.start + part.stop)
    store.put_rows("classes/average", rows, images)
    store.put_rows("classes/count", rows, count.astype(np.float32))
