"""Phases that lens errors cause: beam tilt, RELION's Zernike polynomials, anisotropic magnification.

In RELION's model an image is the prediction times exp(i · odd phase), and the even phase is an offset of γ in the CTF;
both are polynomials of true frequencies, which are the magnification matrix times those of the image.
"""

from __future__ import annotations

import numpy as np

from mpirefine.data.lens import Lens
from mpirefine.maths.image.ctf import wavelength
from mpirefine.maths.image.zernike import even_order, odd_order, polynomial

ANGLES, RADII = 360, 24  # directions and radii at which the largest phase error is looked for
SINE, COSINE = 3, 4  # places of coma along y and x among the odd polynomials


def odd_phase(lens: Lens, fx: np.ndarray, fy: np.ndarray) -> np.ndarray:
    """Radians at true frequencies in 1/Å (broadcast together): the image is the prediction times exp(i · this)."""
    return polynomial(lens.odd, odd_order, fx, fy)


def even_phase(lens: Lens, fx: np.ndarray, fy: np.ndarray) -> np.ndarray:
    """Radians at true frequencies in 1/Å (broadcast together), RELION's offset of γ: its CTF is −sin(its γ + this), in
    which its γ is minus that of `contrast_transfer`.
    """
    return polynomial(lens.even, even_order, fx, fy)


def with_tilt(odd: tuple[float, ...], tilt_mrad: tuple[float, float], cs: float, voltage: float) -> tuple[float, ...]:
    """Odd coefficients with a beam tilt along x and y, as RELION's insertTilt has it (Cs in mm, voltage in kV).

    The image is the prediction times exp(−2πi Cs λ² s² (s · θ)): coma, whose polynomials have linear terms that the
    first two coefficients take away. RELION sets the coefficients of coma, whatever they were, and so does this.
    """
    found = [*odd, *[0.0] * (COSINE + 1 - len(odd))]
    scale = 2e4 * np.pi * cs * wavelength(np.asarray(voltage)) ** 2
    x, y = (float(-scale * tilt / 3) for tilt in tilt_mrad)
    found[1] += 2 * x
    found[0] += 2 * y
    found[COSINE], found[SINE] = x, y
    return tuple(found)


def beam_tilt(odd: tuple[float, ...], cs: float, voltage: float) -> tuple[float, float]:
    """The beam tilt along x and y in mrad that the coma among odd coefficients stands for."""
    coma = [*odd, *[0.0] * (COSINE + 1 - len(odd))]
    scale = float(2e4 * np.pi * cs * wavelength(np.asarray(voltage)) ** 2)
    return -3 * coma[COSINE] / scale, -3 * coma[SINE] / scale


def worst_odd_phase(lens: Lens, resolution: float) -> float:
    """Largest odd phase in degrees, without its sign, up to `resolution` (Å)."""
    return float(np.degrees(np.abs(odd_phase(lens, *_directions(resolution))).max())) if any(lens.odd) else 0.0


def worst_even_phase(lens: Lens, resolution: float) -> float:
    """Largest even phase in degrees, without its sign, up to `resolution` (Å)."""
    return float(np.degrees(np.abs(even_phase(lens, *_directions(resolution))).max())) if any(lens.even) else 0.0


def _directions(resolution: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in 1/Å in all directions and up to `resolution`."""
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    radius = np.linspace(0, 1 / resolution, RADII)[:, None]
    return radius * np.cos(angle), radius * np.sin(angle)


def stretch(lens: Lens) -> float:
    """Largest relative change of length by the lens's magnification matrix."""
    return float(np.linalg.norm(np.array(lens.magnification) - np.eye(2), 2))


def magnification_phase(lens: Lens, radius: float, resolution: float) -> float:
    """Largest phase error in degrees at `resolution`, of content at `radius` (both Å), when the magnification matrix is
    ignored.
    """
    return 360 * stretch(lens) * radius / resolution
