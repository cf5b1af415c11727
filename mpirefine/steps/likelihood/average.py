"""Step: class sums in blocks of classes, Allreduced one block at a time and inserted into each rank's own kz slab at
once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.partition import Block, Partition
from mpirefine.data.poses import InPlanePoses
from mpirefine.distribution import reduce
from mpirefine.maths.fourier.polar import PolarGrid, PolarTransform, angular_band
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.image.masks import soft_sphere
from mpirefine.maths.likelihood.class_sums import (
    ClassSums,
    average_images,
    sparse_rings,
    to_projection,
    transfer_power_in_projection,
)
from mpirefine.maths.likelihood.fourier_volume import Slab
from mpirefine.steps.likelihood.simmx import weighted
from mpirefine.steps.shared.space import iteration_bytes
from mpirefine.steps.state import Context, State, amplitude

CHUNK = 64  # (particle, projection) pairs turned together
INSERT_SAMPLES = 1 << 18  # samples inserted together, at least ...
SLAB_SHARE = 16  # ... and a sixteenth of a slab's voxels, over all of which their sum is added
PAD = 2  # padding of the Fourier volume: trilinear insertion wants twice the box
FLOP_PER_SAMPLE = 8 * 6 * 2  # eight voxels of six numbers
WIENER_IMAGE = 0.1  # class averages for the eye: weights below this share of the block's mean weight are damped


@dataclass(frozen=True)
class Pairs:
    """Own (particle, candidate) pairs that contribute, sorted by class: flat indices into the candidates' rows and
    places.
    """

    particle: np.ndarray
    place: np.ndarray
    reference: np.ndarray

    @classmethod
    def contributing(cls, state: State) -> Pairs:
        particle, place = np.nonzero(state.assignments.weight > 0)
        reference = state.candidates.reference[particle, place]
        order = np.argsort(reference, kind="stable")
        return cls(particle[order], place[order], reference[order])

    def of_classes(self, block: Block) -> Pairs:
        """Pairs of a range of classes, in order of particle."""
        lo, hi = np.searchsorted(self.reference, [block.start, block.stop])
        order = np.argsort(self.particle[lo:hi], kind="stable") + lo
        return Pairs(self.particle[order], self.place[order], self.reference[order])


def padded_box(nx: int) -> int:
    """Edge of the padded Fourier volume."""
    return PAD * nx


class Average:
    """Particles to class sums to slabs. Memory: one block of classes, whatever their number."""

    name = "average"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        polar = ctx.plan.averaging_grid()
        orders = min(angular_band(ctx.grid.nx, polar.n_rings, ctx.plan.radius + 2), polar.half_shape[1])
        classes = len(state.orientations)
        per_block = max(1, ctx.options.block_mb * 2**20 // ClassSums.bytes_per_class(polar))
        box = padded_box(ctx.grid.nx)
        slab = Slab(box, Partition.even(box, ctx.team.size)[ctx.team.rank], ctx.models)
        turner = Turner(state, ctx, polar, orders)
        pairs = Pairs.contributing(state)
        if ctx.writer is not None:
            ctx.writer.ensure_space(iteration_bytes(state, ctx))
            ctx.writer.begin_rows("classes/average", classes, (ctx.grid.nx, ctx.grid.nx))
            ctx.writer.begin_rows("classes/count", classes, ())
        for block in Block(0, classes).chunks(per_block):
            sums = ClassSums(block.size, polar)
            turner.add(pairs.of_classes(block), block, sums)
            for array in (sums.signal, sums.weight, sums.count):
                reduce.sum_in_place(ctx.team, array)
            with ctx.clock("insert"):
                insert(sums, block, state, ctx, slab)
            with ctx.clock("store averages"):
                self._store(sums, block, ctx)
        return replace(state, slab=slab)

    @staticmethod
    def _store(sums: ClassSums, block: Block, ctx: Context) -> None:
        """Collective. Each rank makes and writes the images of its part of the block."""
        if ctx.writer is None:
            return
        part = Partition.even(block.size, ctx.team.size)[ctx.team.rank]
        every = sums.count.sum(axis=1)
        count = every[part.as_slice]
        images = np.zeros((part.size, ctx.grid.nx, ctx.grid.nx), np.float32)
        filled = np.flatnonzero(count > 0)
        if len(filled):
            weight = sums.weight.sum(axis=1)
            floor = (
                WIENER_IMAGE * weight[every > 0].mean(axis=(0, 2)) + 1e-20
            )  # of the whole block: the same for any number of ranks
            images[filled] = average_images(
                sums.signal[part.as_slice][filled].sum(axis=1), weight[part.as_slice][filled], sums.polar, floor
            )
        rows = Block(block.start + part.start, block.start + part.stop)
        ctx.writer.put_rows("classes/average", rows, images)
        ctx.writer.put_rows("classes/count", rows, count.astype(np.float32))


class Turner:
    """Adds own particles to class sums: weighted by the noise, moved, turned and mirrored to the frame of their
    projection.
    """

    def __init__(self, state: State, ctx: Context, polar: PolarGrid, orders: int):
        self.state, self.ctx, self.polar, self.orders = state, ctx, polar, orders
        self.transform = PolarTransform(polar, 16, ctx.options.threads)
        self.mask = soft_sphere(ctx.grid.nx, ctx.plan.full_radius, 4.0, 2)
        rings = polar.radii.astype(int)
        self._flop_per_pair = (
            2 * polar.half_shape[0] * polar.n_angles * 5 * np.log2(polar.n_angles)
        )  # of its two angular transforms
        self.precision = (1 / state.noise.sigma2)[:, rings]

    def add(self, pairs: Pairs, block: Block, sums: ClassSums) -> None:
        """Add the pairs of one block of classes."""
        found, table = self.state.candidates, self.ctx.particles.table
        for start in range(0, len(pairs.particle), CHUNK):
            span = slice(start, start + CHUNK)
            particle, place = pairs.particle[span], pairs.place[span]
            rows, again = np.unique(particle, return_inverse=True)
            samples = self.transform(weighted(self.ctx, self.state, rows, self.ctx.particles.images(rows), self.mask))[
                again
            ]
            placing = InPlanePoses(found.angle[particle, place], found.mirror[particle, place], found.shift[particle, place])
            samples = to_projection(samples, placing, self.polar, self.orders)
            strength = amplitude(self.state, self.ctx, particle)[:, None] ** 2
            power = (strength * self.precision[table.group[particle]]).astype(np.float32)[:, :, None]
            if table.ctf is not None:
                power = power * transfer_power_in_projection(
                    table.ctf.take(particle), placing, self.polar, self.ctx.grid
                )
            self.ctx.clock.count(len(particle) * self._flop_per_pair)
            sums.add(
                pairs.reference[span] - block.start,
                table.half[particle],
                self.state.assignments.weight[particle, place],
                samples,
                np.broadcast_to(power, (len(particle), *self.polar.half_shape)),
            )


def insert(sums: ClassSums, block: Block, state: State, ctx: Context, slab: Slab) -> None:
    """Insert the filled classes of a reduced block into the own slab, under every symmetry operation of their map."""
    keep = sparse_rings(sums.polar, ctx.plan.radius, ctx.plan.full_radius)
    area = np.repeat(sums.polar.quadrature / keep.sum(axis=1), keep.sum(axis=1)).astype(np.float32)
    points = np.concatenate([sums.polar.points[keep], np.zeros((keep.sum(), 1))], -1) * PAD
    step = max(1, max(INSERT_SAMPLES, slab.sums.shape[1] // SLAB_SHARE) // len(points))
    filled = np.flatnonzero(sums.count.sum(axis=1) > 0)
    model = state.orientations.model[block.as_slice][filled]
    for m, symmetry in enumerate(ctx.symmetries):
        for group in np.array_split(filled[model == m], -(-int((model == m).sum()) // step) or 1):
            if not len(group):
                continue
            values = (sums.signal[group][..., keep] * area).astype(np.complex64).transpose(1, 0, 2).reshape(2, -1)
            weights = (sums.weight[group][..., keep] * area).astype(np.float32).transpose(1, 0, 2).reshape(2, -1)
            positions = points @ state.orientations.rotation[block.start + group]
            for operation in operations(symmetry):
                done = slab.insert(m, (positions.reshape(-1, 3) @ operation).astype(np.float32), values, weights)
                ctx.clock.count(FLOP_PER_SAMPLE * done)
