"""Own particles prepared for scores against the references of a level."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.fourier.polar import PolarTransform
from mpirefine.maths.image.ctf import contrast_transfer_squared_orders, uneven
from mpirefine.maths.likelihood.correlation import NORM_ORDERS, norm_columns
from mpirefine.maths.likelihood.model import transfer_power
from mpirefine.maths.likelihood.pose_search import ring_norms
from mpirefine.maths.likelihood.references import PreparedLevel
from mpirefine.steps.likelihood.search.fine import ParticleSamples
from mpirefine.steps.state import Context, State, amplitude

# particles scored together on the coarse grid; ranks hold multiples of it, so that chunks do not depend on their number
CHUNK = 8


class ParticleSide:
    """Prepares own particles for scores against the references of a level."""

    def __init__(self, ctx: Context, references: PreparedLevel):
        self.ctx, self.references, self.grid = ctx, references, references.grid
        self.transform = PolarTransform(self.grid, CHUNK)

    def samples(self, weighted_pyx: np.ndarray) -> np.ndarray:
        """Polar samples (p, k, T/2) complex64 of weighted images (p, y, x), times the area of each sample."""
        return self.transform(weighted_pyx) * self.grid.quadrature.astype(np.float32)[:, None]

    def norms(self, rows: np.ndarray, state: State) -> np.ndarray:
        """Norm terms (p, r) of the likelihood, averaged over in-plane angles, of own `rows` (p,)."""
        ctf, rings = self.ctx.particles.ctf(rows), self.grid.radii.astype(int)
        power = transfer_power(ctf, len(rows), rings, self.ctx.grid)
        return ring_norms(power, self._precision(rows, state), self.references.power, self.grid)

    def prepare(self, rows: np.ndarray, weighted_pyx: np.ndarray, state: State) -> list[ParticleSamples]:
        """Samples and norm terms of each of own `rows`, from their weighted images (p, y, x)."""
        return [
            ParticleSamples(*values)
            for values in zip(self.samples(weighted_pyx), self.norms(rows, state), self._uneven_norms(rows, state))
        ]

    def _uneven_norms(self, rows: np.ndarray, state: State) -> list[np.ndarray | None]:
        """How each particle's norm terms depend on the in-plane angle: (2 orders, k) complex64.

        None for a particle whose CTF is the same in all directions.
        """
        ctf, rings = self.ctx.particles.ctf(rows), self.grid.radii.astype(int)
        if ctf is None:
            return [None] * len(rows)
        orders = contrast_transfer_squared_orders(ctf, rings, self.ctx.grid, NORM_ORDERS)
        orders *= (0.5 * self.grid.quadrature * self._precision(rows, state))[..., None]
        return [norm_columns(orders[p]) if differs else None for p, differs in enumerate(uneven(ctf).tolist())]

    def _precision(self, rows: np.ndarray, state: State) -> np.ndarray:
        """α²/σ² (p, k) of own `rows` on the rings of the level."""
        group = self.ctx.particles.table.group[rows]
        return (
            amplitude(state, self.ctx, rows)[:, None] ** 2 / state.noise.sigma2[group][:, self.grid.radii.astype(int)]
        )
