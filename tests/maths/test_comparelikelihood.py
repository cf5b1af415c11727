"""The likelihood comparator: against the direct computation, and that it finds what frc loses in noise."""

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.comparators.catalogue import CMPS

NX, APIX = 32, 3.0


def direct(a, b, rings):
    """½ n log of the residual's share of the power, ring by ring, with full transforms."""
    fa, fb = np.fft.fft2(a), np.fft.fft2(b)
    k = np.rint(np.fft.fftfreq(NX) * NX)
    k = np.where(k == -NX // 2, NX // 2, k)
    radius = np.floor(np.hypot(k[:, None], k) + 0.5)
    total = 0.0
    for ring in rings:
        x, y = fa[radius == ring], fb[radius == ring]
        strength = max((x * y.conj()).real.sum() / (np.abs(y) ** 2).sum(), 0)
        residual = (np.abs(x - strength * y) ** 2).sum() / (np.abs(x) ** 2).sum()
        total += 0.5 * len(x) * np.log(residual)
    return total


def test_it_is_the_likelihood_at_its_highest(rng):
    b = rng.standard_normal((NX, NX)).astype(np.float32)
    a = (b + rng.standard_normal((NX, NX))).astype(np.float32)
    found = CMPS.build("likelihood:minres=24:maxres=8")(a, b, About(APIX))
    grid = Grid(NX, APIX)
    rings = range(int(np.ceil(grid.ring(24))), int(grid.ring(8)) + 1)
    assert found[0] == pytest.approx(direct(a, b, rings), rel=1e-4)


def test_neither_strength_nor_a_filter_changes_it(rng):
    a, b = rng.standard_normal((2, NX, NX)).astype(np.float32)
    a += b
    ft = np.fft.rfft2(b) * np.exp(-Grid(NX, 1.0).shells(2) / 5)
    filtered = np.fft.irfft2(ft, s=b.shape).astype(np.float32)
    cmp = CMPS.build("likelihood")
    np.testing.assert_allclose(cmp(a, 7 * filtered, About(APIX)), cmp(a, b, About(APIX)), rtol=1e-3)


def test_rings_of_noise_hardly_count(rng):
    """Signal on five rings only: likelihood tells the right reference more often than frc, which averages over all
    rings.
    """
    shells = Grid(NX, 1.0).shells(2)
    references = rng.standard_normal((40, NX, NX))
    references = np.fft.irfft2(np.fft.rfft2(references) * ((shells > 0) & (shells <= 5)), s=(NX, NX)).astype(np.float32)
    references /= references.std(axis=(1, 2), keepdims=True)
    tiny = 1e-3 * rng.standard_normal(references.shape).astype(np.float32)
    right = {name: 0 for name in ("likelihood", "frc")}
    for number in range(40):
        particle = (references[number] * 0.2 + rng.standard_normal((NX, NX))).astype(np.float32)
        for name in right:
            right[name] += CMPS.build(name)(particle, references + tiny, About(APIX)).argmin() == number
    assert right["likelihood"] > right["frc"] + 4 and right["likelihood"] > 15
