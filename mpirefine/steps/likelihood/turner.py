"""Turn own particles into the frames of their projections, and add them to class sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.data.partition import Block
from mpirefine.data.poses import InPlanePoses
from mpirefine.maths.fourier.polar import PolarGrid, PolarTransform
from mpirefine.maths.likelihood.class_sums import ClassSums, to_projection, transfer_power_in_projection
from mpirefine.steps.likelihood.search.spectra import weighted
from mpirefine.steps.shared.maps import particle_disc
from mpirefine.steps.state import Context, State, amplitude

CHUNK = 64  # (particle, projection) pairs turned together
TRANSFORMED = 16  # images transformed together


@dataclass(frozen=True)
class Contributions:
    """(particle, class) pairs that contribute to class sums, sorted by class; arrays (n,).

    `particle` and `place` are row and column in the candidates; `reference` is the class, a projection.
    """

    particle: np.ndarray
    place: np.ndarray
    reference: np.ndarray

    @classmethod
    def of(cls, state: State) -> Contributions:
        """Own pairs with a weight."""
        particle, place = np.nonzero(state.assignments.weight > 0)
        reference = state.candidates.reference[particle, place]
        order = np.argsort(reference, kind="stable")
        return cls(particle[order], place[order], reference[order])

    def of_classes(self, block: Block) -> Contributions:
        """Pairs of a range of classes, in order of particle."""
        lo, hi = np.searchsorted(self.reference, [block.start, block.stop])
        return self.take(np.argsort(self.particle[lo:hi], kind="stable") + lo)

    def take(self, pairs: np.ndarray) -> Contributions:
        """Some of the pairs, in the order given."""
        return Contributions(self.particle[pairs], self.place[pairs], self.reference[pairs])


class Turner:
    """Adds own particles to class sums: weighted by noise and CTF, shifted, turned and mirrored to their projection.

    `orders` is the number of angular orders that are kept.
    """

    def __init__(self, state: State, ctx: Context, polar: PolarGrid, orders: int):
        self.state, self.ctx, self.polar, self.orders = state, ctx, polar, orders
        self.transform = PolarTransform(polar, TRANSFORMED, ctx.settings.threads)
        self.mask = particle_disc(ctx)
        rings = polar.radii.astype(int)
        transforms = 2 * polar.half_shape[0]  # along each ring, forward and back
        self._flop_per_pair = transforms * polar.n_angles * 5 * np.log2(polar.n_angles)
        self.precision = (1 / state.noise.sigma2)[:, rings]

    def add(self, contributions: Contributions, block: Block, sums: ClassSums) -> None:
        """Add the contributions to one block of classes to `sums`, in place."""
        candidates, table = self.state.candidates, self.ctx.particles.table
        for start in range(0, len(contributions.particle), CHUNK):
            span = slice(start, start + CHUNK)
            particle, place = contributions.particle[span], contributions.place[span]
            rows, row_of_pair = np.unique(particle, return_inverse=True)
            images = weighted(self.ctx, self.state, rows, self.ctx.particles.images(rows), self.mask)
            samples = self.transform(images)[row_of_pair]
            placing = InPlanePoses(
                candidates.angle[particle, place], candidates.mirror[particle, place], candidates.shift[particle, place]
            )
            samples = to_projection(samples, placing, self.polar, self.orders)
            strength = amplitude(self.state, self.ctx, particle)[:, None] ** 2
            power = (strength * self.precision[table.group[particle]]).astype(np.float32)[:, :, None]
            ctf = self.ctx.particles.ctf(particle)
            if ctf is not None:
                power = power * transfer_power_in_projection(ctf, placing, self.polar, self.ctx.grid)
            self.ctx.clock.count(len(particle) * self._flop_per_pair)
            sums.add(
                contributions.reference[span] - block.start,
                self.state.half[particle],
                self.state.assignments.weight[particle, place],
                samples,
                np.broadcast_to(power, (len(particle), *self.polar.half_shape)),
            )
