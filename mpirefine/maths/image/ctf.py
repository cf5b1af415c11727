"""Contrast transfer functions (CTF) of many particles at given frequencies."""

from __future__ import annotations

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.maths.image.zernike import angular_parts, even_order

RING_ANGLES = 24  # samples of half a circle for ring averages; enough for the angular orders that astigmatism has


def wavelength(kv: np.ndarray) -> np.ndarray:
    """Relativistic electron wavelength in Å of a voltage in kV."""
    volts = np.asarray(kv, np.float64) * 1e3
    return 12.2643247 / np.sqrt(volts * (1 + 0.978466e-6 * volts))


def contrast_transfer(
    params: CTFParams,
    fx: np.ndarray,
    fy: np.ndarray,
    *,
    turn: np.ndarray | None = None,
    mirror: np.ndarray | None = None,
) -> np.ndarray:
    """CTF (p, ...) float32 at frequencies `fx`, `fy` in 1/Å (broadcast together), RELION's sign for bright particles.

    √(1−w²) sin γ + w cos γ, γ = π λ Δf(θ) s² − ½ π Cs λ³ s⁴ + phase shift − even aberrations, times exp(−B s²/4) and
    the scale: positive at low frequency for underfocus (Mindell & Grigorieff 2003; RELION's conventions). Of images
    with flipped phases its absolute value. `turn` (p,) radians and `mirror` (p,) bool: of images that are turned, then
    mirrored on the x axis.
    """
    fx, fy = np.broadcast_arrays(np.asarray(fx, np.float64), np.asarray(fy, np.float64))
    s2 = fx * fx + fy * fy
    # cos 2(θ − a) by the double-angle formulas, without an angle for each point and particle
    safe = np.where(s2 > 0, s2, 1)
    cos2, sin2 = (fx * fx - fy * fy) / safe, 2 * fx * fy / safe

    def column(values: np.ndarray) -> np.ndarray:
        return np.asarray(values, np.float64).reshape(-1, *(1,) * s2.ndim)

    lam, angle = wavelength(params.voltage), np.radians(params.defocus_angle)
    angle = angle if turn is None else angle + turn
    angle = angle if mirror is None else np.where(mirror, -angle, angle)
    mean, half = 0.5 * (params.defocus_u + params.defocus_v), 0.5 * (params.defocus_u - params.defocus_v)
    phase = column(np.pi * lam * mean) * s2
    phase += column(np.pi * lam * half * np.cos(2 * angle)) * (s2 * cos2) + column(
        np.pi * lam * half * np.sin(2 * angle)
    ) * (s2 * sin2)
    phase -= column(0.5 * np.pi * 1e7 * params.cs * lam**3) * (s2 * s2)
    _subtract_even(phase, params, fx, fy, turn, mirror)
    # √(1−w²) sin γ + w cos γ = sin(γ + asin w): one sine for each point
    phase += column(np.radians(params.phase_shift) + np.arcsin(params.amplitude_contrast))
    curve = np.sin(np.remainder(phase, 2 * np.pi).astype(np.float32))
    if np.any(params.bfactor):
        curve *= np.exp(column(-params.bfactor / 4) * s2).astype(np.float32)
    if params.flipped is not None:
        np.abs(curve, out=curve, where=column(params.flipped) > 0)
    return curve * column(params.scale).astype(np.float32)


def _subtract_even(
    phase: np.ndarray,
    params: CTFParams,
    fx: np.ndarray,
    fy: np.ndarray,
    turn: np.ndarray | None,
    mirror: np.ndarray | None,
) -> None:
    """Take RELION's offset of γ, by even aberrations, from the phases (p, ...), in place.

    RELION's γ is minus that of `contrast_transfer`, so its offset is subtracted.
    """
    for place in np.unique(params.even) if params.even is not None else ():
        for mirrored in (False,) if mirror is None else (False, True):
            own = params.even == place
            rows = np.flatnonzero(own if mirror is None else own & (np.asarray(mirror) == mirrored))
            for m, part in angular_parts(params.even_coefficients[place], even_order, fx, -fy if mirrored else fy):
                spin = 1.0 if turn is None else np.exp(-1j * m * turn[rows]).reshape(-1, *(1,) * fx.ndim)
                phase[rows] -= (spin * part).real


def uneven(params: CTFParams) -> np.ndarray:
    """(p,) bool, whether the CTF depends on the direction, by astigmatism or by even aberrations."""
    found = params.defocus_u != params.defocus_v
    if params.even is None:
        return found
    by_list = [any(c and even_order(k)[0] for k, c in enumerate(own)) for own in params.even_coefficients]
    return found | np.array(by_list)[params.even]


def contrast_transfer_squared_orders(
    params: CTFParams, rings: np.ndarray, grid: Grid, orders: tuple[int, ...]
) -> np.ndarray:
    """Angular Fourier coefficients (p, k, order) complex128 of CTF² on each ring (radius in Fourier pixels).

    `orders` are even (odd ones are 0); order 0 is the ring average, the rest comes from astigmatism and even
    aberrations.
    """
    angle = np.pi * np.arange(RING_ANGLES) / RING_ANGLES
    frequency = np.asarray(rings, np.float64)[:, None] / grid.length
    curve = contrast_transfer(params, frequency * np.cos(angle), frequency * np.sin(angle))
    return np.square(curve, dtype=np.float64) @ np.exp(-1j * np.outer(angle, orders)) / RING_ANGLES
