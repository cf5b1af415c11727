"""RELION's odd and even Zernike polynomials, of frequencies in 1/Å."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import factorial, isqrt

import numpy as np


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


def radial_coefficients(m: int, n: int) -> list[int]:
    """Of Zernike's radial polynomial for m >= 0, n − m even: those of ρ^m, ρ^(m + 2), ..., ρ^n.

    >>> radial_coefficients(1, 3), radial_coefficients(0, 4)
    ([-2, 3], [1, -6, 6])
    """
    return [
        (-1) ** k * factorial(n - k) // (factorial(k) * factorial((n + m) // 2 - k) * factorial((n - m) // 2 - k))
        for k in range((n - m) // 2, -1, -1)
    ]


def angular_parts(
    coefficients: Sequence[float], order: Callable[[int], tuple[int, int]], fx: np.ndarray, fy: np.ndarray
) -> list[tuple[int, np.ndarray]]:
    """A sum of polynomials by angular order m >= 0: complex arrays whose real parts add up to it, at frequencies in 1/Å
    (broadcast together). Times exp(−i m φ) they are those of the sum turned by φ.

    `order` is `odd_order` or `even_order`. The radius is the frequency in 1/Å, so each polynomial is one of x and y:
    a power of x² + y² times the real or imaginary part of (x + iy)^m.
    """
    powers: dict[int, dict[int, complex]] = {}  # m -> power of x² + y² -> coefficient
    for index, coefficient in enumerate(coefficients):
        if coefficient:
            m, n = order(index)
            own = powers.setdefault(abs(m), {})
            for power, factor in enumerate(radial_coefficients(abs(m), n)):
                own[power] = own.get(power, 0) + coefficient * factor * (1 if m >= 0 else -1j)
    z = np.asarray(fx, np.float64) + 1j * np.asarray(fy, np.float64)
    s2 = z.real**2 + z.imag**2
    return [(m, np.polyval([own.get(k, 0) for k in range(max(own), -1, -1)], s2) * z**m) for m, own in powers.items()]


def polynomial(
    coefficients: Sequence[float], order: Callable[[int], tuple[int, int]], fx: np.ndarray, fy: np.ndarray
) -> np.ndarray:
    """The sum of polynomials, in the unit of the coefficients, at frequencies in 1/Å (broadcast together)."""
    total = np.zeros(np.broadcast_shapes(np.shape(fx), np.shape(fy)))
    for _, part in angular_parts(coefficients, order, fx, fy):
        total += part.real
    return total
