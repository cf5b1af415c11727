"""Own particles as the score needs them against the references of one level."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.fourier.polar import PolarTransform
from mpirefine.maths.image.ctf import contrast_transfer_squared_orders
from mpirefine.maths.likelihood.correlation import NORM_ORDERS, norm_columns
from mpirefine.maths.likelihood.model import transfer_power
from mpirefine.maths.likelihood.pose_search import ring_norms
from mpirefine.maths.likelihood.references import PreparedLevel
from mpirefine.steps.likelihood.search.fine import ParticleSamples
from mpirefine.steps.state import Context, State, amplitude

CHUNK = 8  # particles scored together on the coarse grid; Partition's quantum, so that blocks do not depend on ranks


class ParticleSide:
    """Own particles as the score needs them against the references of one level."""

    def __init__(self, ctx: Context, references: PreparedLevel):
        self.ctx, self.references, self.grid = ctx, references, references.grid
        self.transform = PolarTransform(self.grid, CHUNK)

    def samples(self, weighted_pyx: np.ndarray) -> np.ndarray:
        """(p, k, T/2) complex64, times quadrature; the batch of the transform is always CHUNK."""
        return self.transform(weighted_pyx) * self.grid.quadrature.astype(np.float32)[:, None]

    def norms(self, rows: np.ndarray, state: State) -> np.ndarray:
        """(p, r) norm terms of the likelihood, averages over in-plane angles."""
        ctf, rings = self.ctx.particles.ctf(rows), self.grid.radii.astype(int)
        power = transfer_power(ctf, len(rows), rings, self.ctx.grid)
        return ring_norms(power, self._precision(rows, state), self.references.power, self.grid)

    def prepare(self, rows: np.ndarray, weighted_pyx: np.ndarray, state: State) -> list[ParticleSamples]:
        """One entry for each particle."""
        return [
            ParticleSamples(*values)
            for values in zip(self.samples(weighted_pyx), self.norms(rows, state), self._uneven_norms(rows, state))
        ]

    def _uneven_norms(self, rows: np.ndarray, state: State) -> list[np.ndarray | None]:
        """For each particle (2 orders, k) complex64: how its norm terms depend on the in-plane angle; None where its
        CTF is round.
        """
        ctf, rings = self.ctx.particles.ctf(rows), self.grid.radii.astype(int)
        if ctf is None:
            return [None] * len(rows)
        orders = contrast_transfer_squared_orders(ctf, rings, self.ctx.grid, NORM_ORDERS)
        orders *= (0.5 * self.grid.quadrature * self._precision(rows, state))[..., None]
        return [norm_columns(orders[p]) if ctf.defocus_u[p] != ctf.defocus_v[p] else None for p in range(len(rows))]

    def _precision(self, rows: np.ndarray, state: State) -> np.ndarray:
        """(p, k) α²/σ²."""
        group = self.ctx.particles.table.group[rows]
        return (
            amplitude(state, self.ctx, rows)[:, None] ** 2 / state.noise.sigma2[group][:, self.grid.radii.astype(int)]
        )
