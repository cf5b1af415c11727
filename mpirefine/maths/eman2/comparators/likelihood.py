"""The program's own comparator: the likelihood of the particle, noise and signal strength of every ring being
unknown.
"""

from __future__ import annotations

import numpy as np

from mpirefine.maths.eman2.comparators.base import CMPS, About, half_spectra, pairwise
from mpirefine.maths.eman2.radial import ring_correlations, ring_counts

MOST = 1 - 1e-6  # of a correlation, so that equal images do not get an infinite likelihood


@CMPS.register("likelihood")
@pairwise
def likelihood(
    particle: np.ndarray, reference: np.ndarray, about: About, *, minres: float = 0.0, maxres: float = 0.0
) -> np.ndarray:
    """Minus the log-likelihood, noise and amplitude of each ring fitted.

    Σ ½ n log(1 − c²) over rings from `minres` to `maxres` (Å, 0: the coarsest, the finest), c the ring's correlation (0
    where negative), n its coefficients: the likelihood for Gaussian noise, maximised over the power of the noise and
    the strength of the reference in each ring, minus that for noise alone. A ring of noise adds about c², where frc
    adds c; CTFs of either sign within a ring are allowed for by flipped phases. Not in EMAN2. The default of a
    refinement goes further: noise and strength are estimated from all particles, and poses are summed over.
    """
    nx = particle.shape[-2]
    ring = np.arange(nx // 2 + 1)
    coarsest = about.apix * nx / minres if minres > 0 else 1.0
    finest = about.apix * nx / maxres if maxres > 0 else nx / 2 - 1
    used = (ring >= coarsest) & (ring <= finest)
    c = np.clip(np.nan_to_num(ring_correlations(half_spectra(particle), half_spectra(reference))), 0, MOST)[:, used]
    return np.log1p(-c * c) @ (ring_counts(nx)[used] / 2)
