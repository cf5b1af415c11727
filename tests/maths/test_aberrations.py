"""Phases of lens errors, against the formulas written out."""

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.maths.image.aberrations import (
    beam_tilt,
    even_phase,
    magnification_phase,
    odd_phase,
    with_tilt,
    worst_even_phase,
    worst_odd_phase,
)
from mpirefine.maths.image.ctf import wavelength
from mpirefine.maths.image.zernike import even_order, odd_order, radial_coefficients

GRID = Grid(64, 1.0)


def test_beam_tilt(rng):
    """The coma of a tilted beam, with the sign of RELION's insertTilt: −2π Cs λ² s² (s · θ) and no linear term."""
    lens, (x, y) = Lens("a", GRID, odd=with_tilt((), (1.2, -1.6), 2.7, 300.0)), rng.uniform(-0.3, 0.3, (2, 50))
    lam = wavelength(300.0)
    expected = -2 * np.pi * 2.7e7 * lam**2 * (x * x + y * y) * (x * 1.2e-3 - y * 1.6e-3)
    np.testing.assert_allclose(odd_phase(lens, x, y), expected, rtol=1e-9, atol=1e-9)
    assert worst_odd_phase(lens, 3.0) == pytest.approx(np.degrees(2 * np.pi * 2.7e7 * lam**2 * 2e-3 / 3**3), rel=1e-3)
    assert beam_tilt(lens.odd, 2.7, 300.0) == pytest.approx((1.2, -1.6))


def test_beam_tilt_beside_other_odd_aberrations():
    """Linear terms are added to, coma is set, the others stay: as RELION has it."""
    found = with_tilt((0.5, 0.25, 3.0, 9.0, 9.0, 4.0), (1.0, 2.0), 2.7, 300.0)
    x, y = (-2e4 * np.pi * 2.7 * wavelength(300.0) ** 2 * tilt / 3 for tilt in (1.0, 2.0))
    assert found == pytest.approx((0.5 + 2 * y, 0.25 + 2 * x, 3.0, y, x, 4.0))
    assert with_tilt((), (0.0, 0.0), 2.7, 300.0) == (0.0,) * 5 and beam_tilt((1.0,), 2.7, 300.0) == (0.0, 0.0)


def test_polynomials():
    """Against the closed forms, radians with frequencies in 1/Å."""
    assert [odd_order(i) for i in range(2, 12)] == [
        (-3, 3),
        (-1, 3),
        (1, 3),
        (3, 3),
        (-5, 5),
        (-3, 5),
        (-1, 5),
        (1, 5),
        (3, 5),
        (5, 5),
    ]
    assert [even_order(i) for i in range(1, 9)] == [(-2, 2), (0, 2), (2, 2), (-4, 4), (-2, 4), (0, 4), (2, 4), (4, 4)]
    assert radial_coefficients(0, 2) == [-1, 2] and radial_coefficients(3, 5) == [-4, 5]


def test_phases_at_single_frequencies(rng):
    """Each polynomial by its radial part and its angle; axes are broadcast."""
    s, angle = rng.uniform(0.05, 0.4, 20), rng.uniform(0, 2 * np.pi, 20)
    x, y = s * np.cos(angle), s * np.sin(angle)
    odd = Lens("a", GRID, odd=(0.5, -2.0, 3.0, 4.0, -5.0, 6.0))
    expected = 0.5 * y - 2 * x + s**3 * (3 * np.sin(3 * angle) + 6 * np.cos(3 * angle))
    expected += (3 * s**3 - 2 * s) * (4 * np.sin(angle) - 5 * np.cos(angle))
    np.testing.assert_allclose(odd_phase(odd, x, y), expected, rtol=1e-9)
    even = Lens("a", GRID, even=(0.1, 2.0, 3.0, -4.0, 5.0, 6.0, 7.0, 0.0, -8.0))
    expected = 0.1 + s**2 * (2 * np.sin(2 * angle) - 4 * np.cos(2 * angle)) + 3 * (2 * s**2 - 1)
    expected += 5 * s**4 * np.sin(4 * angle) + 6 * (4 * s**4 - 3 * s**2) * np.sin(2 * angle)
    expected += 7 * (6 * s**4 - 6 * s**2 + 1) - 8 * s**4 * np.cos(4 * angle)
    np.testing.assert_allclose(even_phase(even, x, y), expected, rtol=1e-9)
    assert odd_phase(odd, np.zeros((1, 5)), np.zeros((4, 1))).shape == (4, 5)


def test_the_largest_phases():
    """Up to a resolution, in any direction."""
    s = 1 / 4.0
    assert worst_odd_phase(Lens("a", GRID, odd=(0, 0, 7.0)), 4.0) == pytest.approx(np.degrees(7 * s**3), rel=1e-3)
    assert worst_even_phase(Lens("a", GRID, even=(0, 0, -5.0)), 4.0) == pytest.approx(np.degrees(5))  # at s = 0
    assert worst_even_phase(Lens("a", GRID, even=(5.0, 0, 5.0)), 4.0) == pytest.approx(np.degrees(10 * s**2))
    assert worst_odd_phase(Lens("a", GRID, odd=(3.0, 4.0)), 4.0) == pytest.approx(np.degrees(5 * s), rel=1e-3)
    assert worst_odd_phase(Lens("a", GRID), 4.0) == worst_even_phase(Lens("a", GRID, even=(0.0,)), 4.0) == 0


def test_magnification():
    """2 % along an axis that lies at 30 degrees moves the edge of a particle of 100 Å by 2 Å: a quarter of a wave of 8
    Å.
    """
    axis = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    matrix = np.eye(2) + 0.02 * np.outer(axis, axis)
    assert magnification_phase(Lens("a", GRID, tuple(map(tuple, matrix))), 100.0, 8.0) == pytest.approx(90)
    assert magnification_phase(Lens("a", GRID), 100.0, 8.0) == 0
