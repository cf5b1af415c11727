"""The phase errors that uncorrected aberrations cause: beam tilt, RELION's Zernike polynomials, anisotropic
magnification.
"""

from __future__ import annotations

from math import factorial, isqrt

import numpy as np

from mpirefine.maths.image.ctf import wavelength

ANGLES = 360  # directions in which polynomials are evaluated


def tilt_phase(tilt_mrad: np.ndarray, cs: np.ndarray, voltage: np.ndarray, resolution: float) -> np.ndarray:
    """Largest phase error (k,) in degrees at `resolution` (Å) of beam tilts (k, 2) in mrad: 2π Cs λ² s³ θ, with Cs in
    mm and voltage in kV.
    """
    return 0.360 * cs * 1e7 * wavelength(voltage) ** 2 * np.hypot(*np.transpose(tilt_mrad)) / resolution**3


def zernike_phase(coefficients: tuple[float, ...], resolution: float, *, odd: bool) -> float:
    """Largest phase error in degrees at `resolution` (Å) of a sum of RELION's odd or even Zernike polynomials;
    coefficients in radians.
    """
    phi = 2 * np.pi * np.arange(ANGLES) / ANGLES
    total = np.zeros(ANGLES)
    for index, coefficient in enumerate(coefficients):
        m, n = odd_order(index) if odd else even_order(index)
        total += (
            coefficient * zernike_radial(abs(m), n, 1 / resolution) * (np.cos(m * phi) if m >= 0 else np.sin(-m * phi))
        )
    return float(np.degrees(np.abs(total).max()))


def odd_order(index: int) -> tuple[int, int]:
    """(m, n) of RELION's odd polynomials: n = 1, 3, 5, ..., each with m from -n to n in steps of 2.

    >>> [odd_order(i) for i in range(6)]
    [(-1, 1), (1, 1), (-3, 3), (-1, 3), (1, 3), (3, 3)]
    """
    k = (isqrt(1 + 4 * index) - 1) // 2
    return 2 * (index - k * (k + 1)) - (2 * k + 1), 2 * k + 1


def even_order(index: int) -> tuple[int, int]:
    """(m, n) of RELION's even polynomials: n = 0, 2, 4, ..., each with m from -n to n in steps of 2.

    >>> [even_order(i) for i in range(5)]
    [(0, 0), (-2, 2), (0, 2), (2, 2), (-4, 4)]
    """
    k = isqrt(index)
    return 2 * (index - k * (k + 1)), 2 * k


def zernike_radial(m: int, n: int, rho: float) -> float:
    """Zernike's radial polynomial at rho, which RELION takes to be the frequency in 1/Å; n − m is even."""
    return float(
        sum(
            (-1) ** k
            * factorial(n - k)
            / (factorial(k) * factorial((n + m) // 2 - k) * factorial((n - m) // 2 - k))
            * rho ** (n - 2 * k)
            for k in range((n - m) // 2 + 1)
        )
    )


def stretch(matrix: np.ndarray) -> np.ndarray:
    """Largest relative change of length (k,) by magnification matrices (k, 2, 2)."""
    return np.linalg.norm(matrix - np.eye(2), 2, axis=(1, 2))


def magnification_phase(matrix: np.ndarray, radius: float, resolution: float) -> np.ndarray:
    """Largest phase error (k,) in degrees at `resolution`, of content at `radius` (both Å), when a magnification matrix
    is ignored.
    """
    return 360 * stretch(matrix) * radius / resolution
