"""Processors that give an image or a map another power spectrum: a curve's, or that of another image."""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.base import PROCESSORS, Processed, labelled, single
from mpirefine.maths.eman2.processors.curves import exact_spectrum, filter_by_curve, the_curve
from mpirefine.maths.eman2.processors.cutoffs import APIX, INTERPOLATE
from mpirefine.maths.eman2.radial import radial_mean, whole_ring_sums
from mpirefine.maths.fourier.filters import frequencies
from mpirefine.registry import explain

KEPT_HIRES = 0.01  # of the mean factor: what keephires leaves


def keep_hires(curve: np.ndarray) -> np.ndarray:
    """A curve with no factor below a hundredth of the mean."""
    return np.maximum(curve, KEPT_HIRES * curve.mean())


APIX_FOR_CURVE = "`apix` in Å stands for the pixel size where the curve is read; that of the image stays."


@PROCESSORS.register("filter.setstrucfac")
@explain(INTERPOLATE, APIX_FOR_CURVE)
def set_structure_factor(
    image: np.ndarray,
    pixel: float,
    *,
    strucfac: np.ndarray | None = None,
    filename: np.ndarray | None = None,
    apix: float | None = None,
    scale: float = 1.0,
    interpolate: bool = True,
) -> Processed:
    """The power spectrum of a curve.

    EMAN2's filter.setstrucfac: ring r is multiplied by √(`scale` · ny³ · sf(s) / P(r)), P the mean power of the ring, s
    = r / (ny · pixel size). The curve sf is `strucfac` or `filename` (s in 1/Å, intensity). Beyond it the last factor
    is held; the origin is kept. ParameterError when the curve has fewer than three rings.
    """
    curve = the_curve("filter.setstrucfac", strucfac, filename)
    ny, size = image.shape[-2], apix or pixel
    spectrum = exact_spectrum(image)
    power = radial_mean(np.abs(spectrum) ** 2)
    known = min(int(curve[-1, 0] * size * ny), len(power))
    if known < 3:
        raise ParameterError(
            f"filter.setstrucfac: the curve ends at {1 / curve[-1, 0]:.1f} Å, in the first {known} rings"
        )
    wanted = scale * ny**3 * np.interp(np.arange(known) / (size * ny), curve[:, 0], curve[:, 1])
    factor = np.sqrt(wanted / np.where(power[:known] > 0, power[:known], 1))
    factor[0] = 1
    for ring in np.flatnonzero(power[1:known] <= 0) + 1:
        factor[ring] = factor[ring - 1]
    factor = np.append(factor, np.full(len(power) - known, factor[-1]))
    return single(filter_by_curve(spectrum, image.shape, factor, interpolate=interpolate))


@PROCESSORS.register("filter.setisotropicpow")
@explain(APIX)
def set_isotropic_power(
    image: np.ndarray,
    pixel: float,
    *,
    strucfac: np.ndarray | None = None,
    filename: np.ndarray | None = None,
    apix: float | None = None,
) -> Processed:
    """The amplitudes of a curve, with the phases of the image.

    EMAN2's filter.setisotropicpow: every Fourier coefficient gets the amplitude √sf(s), linear between the roots of the
    points of the curve `strucfac` or `filename` (s in 1/Å, intensity), 0 outside it.
    """
    from scipy import fft

    curve = the_curve("filter.setisotropicpow", strucfac, filename)
    spectrum = exact_spectrum(image)
    s = np.sqrt(sum(a * a for a in frequencies(image.shape))) / (apix or pixel)
    wanted = np.interp(s, curve[:, 0], np.sqrt(np.maximum(curve[:, 1], 0)), left=0, right=0)
    amplitude = np.abs(spectrum)
    return labelled(fft.irfftn(spectrum * wanted / np.where(amplitude > 0, amplitude, 1), s=image.shape), apix)


@PROCESSORS.register("filter.matchto")
@explain(INTERPOLATE)
def match_to(
    image: np.ndarray,
    pixel: float,
    *,
    to: np.ndarray,
    bydot: bool = False,
    keephires: bool = False,
    interpolate: bool = True,
) -> np.ndarray:
    """The power spectrum of another image.

    EMAN2's filter.matchto: ring r is multiplied by √(P_to / P), P the mean power of the ring, of `to` and of the image.
    With `bydot` by Σ Re F F_to* / Σ |F_to|², or 0 where that is negative, which can amplify noise a hundredfold.
    `keephires`: by no less than a hundredth of the mean factor. ParameterError when shapes differ.
    """
    if to.shape != image.shape:
        raise ParameterError(f"filter.matchto: shapes {image.shape} and {to.shape} differ")
    spectrum, other = exact_spectrum(image), exact_spectrum(to)
    if bydot:
        factor = dot_factor(spectrum, other)
    else:
        own, wanted = (radial_mean(np.abs(side) ** 2) for side in (spectrum, other))
        factor = np.where(own > 0, np.sqrt(wanted / np.where(own > 0, own, 1)), 0)
    return filter_by_curve(spectrum, image.shape, keep_hires(factor) if keephires else factor, interpolate=interpolate)


def dot_factor(spectrum: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Σ Re F F_to* / Σ |F_to|² (rings,) of rings of whole radius, not below 0."""
    common, power = whole_ring_sums((spectrum * other.conj()).real)[:-1], whole_ring_sums(np.abs(other) ** 2)[:-1]
    return np.maximum(common / np.where(power > 0, power, 1), 0)
