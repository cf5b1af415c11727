"""Phase errors of lens errors, against the formulas written out."""

import numpy as np
import pytest

from mpirefine.maths.image.aberrations import (
    even_order,
    magnification_phase,
    odd_order,
    tilt_phase,
    zernike_phase,
    zernike_radial,
)
from mpirefine.maths.image.ctf import wavelength


def test_beam_tilt():
    """The coma of a tilted beam is 2π Cs λ² s³ θ."""
    lam = wavelength(300.0)
    expected = np.degrees(2 * np.pi * 2.7e7 * lam**2 * 0.5e-3 / 3.0**3)
    np.testing.assert_allclose(
        tilt_phase(np.array([[0.3, 0.4], [0, 0]]), np.array([2.7, 2.7]), np.array([300.0, 300.0]), 3.0), [expected, 0]
    )


def test_polynomials():
    """Against the closed forms, radians with frequencies in 1/Å."""
    s = 1 / 4.0
    assert [zernike_radial(0, 2, s), zernike_radial(1, 3, s), zernike_radial(0, 4, s)] == pytest.approx(
        [2 * s**2 - 1, 3 * s**3 - 2 * s, 6 * s**4 - 6 * s**2 + 1]
    )
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
    assert zernike_phase((0, 0, 7.0), 4.0, odd=True) == pytest.approx(np.degrees(7 * s**3), rel=1e-3)
    assert zernike_phase((0, 0, -5.0), 4.0, odd=False) == pytest.approx(np.degrees(5 * (1 - 2 * s**2)))
    assert zernike_phase((3.0, 4.0), 4.0, odd=True) == pytest.approx(
        np.degrees(5 * s), rel=1e-3
    )  # sine and cosine at their worst angle
    assert zernike_phase((), 4.0, odd=True) == 0


def test_magnification():
    """2 % along an axis that lies at 30 degrees moves the edge of a particle of 100 Å by 2 Å: a quarter of a wave of 8
    Å.
    """
    axis = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    matrix = np.stack([np.eye(2) + 0.02 * np.outer(axis, axis), np.eye(2)])
    np.testing.assert_allclose(magnification_phase(matrix, 100.0, 8.0), [90, 0], atol=1e-9)
