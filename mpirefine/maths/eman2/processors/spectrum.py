"""Filters that follow from the spectrum of the image: structure factors, matching, Wiener, B-factors.

All rest on EMAN2's radial profile and on how it applies a curve of rings; rings are counted in Fourier pixels of the y
axis.
"""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.fourier import cutoff
from mpirefine.maths.eman2.processors.registry import (
    APIX,
    CUTOFF,
    INTERPOLATE,
    PROCESSORS,
    Processed,
    labelled,
)
from mpirefine.maths.fourier.filters import frequencies
from mpirefine.registry import explain

LOWEST_FITTED = 15.0  # Å; filter.lowpass.autob fits from here on
LARGEST_PIXEL = 7.0  # Å; there must be something to fit
LEAST_WIENER = 0.001
KEPT_HIRES = 0.01  # of the mean factor: what keephires leaves


def folded(n: int) -> np.ndarray:
    """EMAN2's distance of row k from the origin: k below n // 2, n − k from there (of odd boxes the middle row counts
    one too far).
    """
    k = np.arange(n)
    return np.where(k < n // 2, k, n - k)


def ring_count(shape: tuple[int, ...]) -> int:
    """Rings from the origin to the corner of the transform."""
    return int(shape[-2] * np.sqrt(len(shape)) / 2)


def split(radius: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Sums over n rings, each value shared linearly between the two rings its radius lies between."""
    low, part = radius.astype(int), radius - radius.astype(int)
    return (np.bincount(low, values * (1 - part), n + 2) + np.bincount(low + 1, values * part, n + 2))[:n]


def radial_power(spectrum: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """EMAN2's calc_radial_dist: mean |F|² of the rings; of the column x = 0 only one of each conjugate pair counts."""
    axes = np.meshgrid(*(folded(n) for n in shape[:-1]), np.arange(shape[-1] // 2 + 1), indexing="ij", sparse=True)
    radius = np.sqrt(sum(a * a for a in axes).astype(np.float64))
    used = np.ones(spectrum.shape, bool)
    used[shape[0] // 2 + 1 :, ..., 0] = False
    if len(shape) == 3:
        used[shape[0] // 2, shape[1] // 2 + 1 :, 0] = False
    n = max(ring_count(shape), int(radius.max()) + 1)
    count = split(radius[used], np.ones(used.sum()), n)
    total = split(radius[used], np.abs(spectrum[used]) ** 2, n)
    return (total / np.where(count > 0, count, 1))[: ring_count(shape)]


def apply_rings(
    spectrum: np.ndarray, shape: tuple[int, ...], curve: np.ndarray, per_ring: float = 1.0, interpolate: bool = True
) -> np.ndarray:
    """EMAN2's apply_radial_func: multiply by a curve with `per_ring` values for each ring, linear between them or the
    next one; float32.

    The last value holds from the last but one on. Along x EMAN2 divides by the length of the padded row: frequencies
    are k / (nx + 2), nx even.
    """
    from scipy import fft

    ny, nx = shape[-2:]
    x = np.arange(nx // 2 + 1) / (nx + 2 - nx % 2)
    axes = np.meshgrid(*(folded(n) / n for n in shape[:-1]), x, indexing="ij", sparse=True)
    place = np.sqrt(sum(a * a for a in axes)) * ny * per_ring
    low = np.floor(place if interpolate else place + 1).astype(int)
    inside = np.minimum(low, len(curve) - 2)
    factor = curve[inside] + (curve[inside + 1] - curve[inside]) * (place - low) if interpolate else curve[inside]
    return fft.irfftn(spectrum * np.where(low >= len(curve) - 2, curve[-1], factor), s=shape).astype(np.float32)


def transform(image: np.ndarray) -> np.ndarray:
    """The half-spectrum, complex128."""
    from scipy import fft

    return fft.rfftn(image.astype(np.float64))


def one_curve(name: str, *curves: np.ndarray | None) -> np.ndarray:
    """The one that is given, (n, 2) float64, its first column rising."""
    given = [np.asarray(c, np.float64) for c in curves if c is not None]
    if (
        len(given) != 1
        or given[0].ndim != 2
        or given[0].shape[1] < 2
        or len(given[0]) < 2
        or (np.diff(given[0][:, 0]) <= 0).any()
    ):
        raise ParameterError(f"{name} needs one curve, as a file of two columns: frequency in 1/Å, rising, and value")
    return given[0]


def keep_hires(curve: np.ndarray) -> np.ndarray:
    """No factor below a hundredth of the mean."""
    return np.maximum(curve, KEPT_HIRES * curve.mean())


@PROCESSORS.register("filter.setstrucfac")
@explain(INTERPOLATE, APIX)
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
    is held; the origin is kept.
    """
    curve = one_curve("filter.setstrucfac", strucfac, filename)
    ny, size = image.shape[-2], apix or pixel
    spectrum = transform(image)
    power = radial_power(spectrum, image.shape)
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
    return labelled(apply_rings(spectrum, image.shape, factor, interpolate=interpolate), apix)


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

    curve = one_curve("filter.setisotropicpow", strucfac, filename)
    spectrum = transform(image)
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
    `keephires`: by no less than a hundredth of the mean factor.
    """
    if to.shape != image.shape:
        raise ParameterError(f"filter.matchto: shapes {image.shape} and {to.shape} differ")
    spectrum, other = transform(image), transform(to)
    if bydot:
        factor = dot_factor(spectrum, other, image.shape)
    else:
        own, wanted = radial_power(spectrum, image.shape), radial_power(other, image.shape)
        factor = np.where(own > 0, np.sqrt(wanted / np.where(own > 0, own, 1)), 0)
    return apply_rings(spectrum, image.shape, keep_hires(factor) if keephires else factor, interpolate=interpolate)


def dot_factor(spectrum: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Σ Re F F_to* / Σ |F_to|² of rings with whole radii, not below 0; the Nyquist row of an even axis counts for both
    its signs.
    """
    rows = [np.minimum(np.arange(n), n - np.arange(n)) for n in shape[:-1]]
    axes = np.meshgrid(*rows, np.arange(shape[-1] // 2 + 1), indexing="ij", sparse=True)
    ring = np.sqrt(sum(a * a for a in axes).astype(np.float64)).astype(int).ravel()
    twice = np.ones(spectrum.shape)
    for axis, n in enumerate(shape[:-1]):
        if n % 2 == 0:
            twice[(slice(None),) * axis + (n // 2,)] *= 2
    n = ring_count(shape)
    common = np.bincount(ring, (twice * (spectrum * other.conj()).real).ravel(), n + 1)[:n]
    power = np.bincount(ring, (twice * np.abs(other) ** 2).ravel(), n + 1)[:n]
    return np.maximum(common / np.where(power > 0, power, 1), 0)


@PROCESSORS.register("filter.wiener.byfsc")
def wiener_by_fsc(
    image: np.ndarray,
    pixel: float,
    *,
    fscfile: np.ndarray,
    snrmult: float = 1.5,
    sscale: float = 1.0,
    maxfreq: float = 1.0,
) -> np.ndarray:
    """The Wiener filter of an FSC.

    EMAN2's filter.wiener.byfsc: SNR²/(SNR² + 1), not below 0.001, with SNR = `snrmult` · f / (1 − f) of the FSC f in
    `fscfile` (frequency in 1/Å from 0 or one ring to Nyquist, FSC). From `maxfreq` (1/Å) on f may only fall; from its
    first negative value it is averaged over five points, and then cut. `sscale` stretches the filter along frequency.
    """
    curve = one_curve("filter.wiener.byfsc", fscfile)
    ny, nyquist = image.shape[-2], 1 / (2 * pixel)
    frequency = np.append(0.0, curve[1:, 0])
    filter_of = wiener_curve(curve[:, 1], np.arange(len(curve)) * nyquist / len(curve) >= maxfreq, snrmult)
    factor = np.interp(np.arange(ny) * nyquist / ny, frequency, filter_of, right=0)
    return apply_rings(transform(image), image.shape, factor, 2 / sscale)


def wiener_curve(fsc: np.ndarray, falls: np.ndarray, snrmult: float) -> np.ndarray:
    """The filter at the points of an FSC. As in EMAN2, the average over five points takes the filter for those already
    done.
    """
    curve, last, average, cut = fsc.copy(), 1.0, False, False
    for i, value in enumerate(fsc):
        f = min(value, last) if falls[i] else value
        if f < 0 and i > 2:
            average, cut = True, False
        if average and i > len(fsc) - 3:
            f = last
        elif average:
            f = curve[i - 2 : i + 3].mean()
        elif cut:
            f = 1e-5
        f = 0.9999 if f >= 1 else f
        if f < 0:
            average, cut, f = False, True, 1e-5
        snr2 = (snrmult * f / (1 - f)) ** 2
        curve[i] = max(snr2 / (snr2 + 1), LEAST_WIENER)
        last = f
    return curve


@PROCESSORS.register("filter.lowpass.autob")
@explain(CUTOFF, INTERPOLATE, APIX)
def lowpass_autob(
    image: np.ndarray,
    pixel: float,
    *,
    bfactor: float = 0.0,
    noisecutoff: float = 1 / 6,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    apix: float | None = None,
    interpolate: bool = True,
    verbose: int = 0,
) -> Processed:
    """Sharpened until its spectrum is flat, then a B-factor.

    EMAN2's filter.lowpass.autob: the slope m of log power against s² from 15 Å to `noisecutoff` (1/Å) gives exp(−(B +
    2m) s²/4); beyond the noise cutoff exp(−B s²/4), continued from there. B is `bfactor` (Å²), or (pixel size / c)² of
    a cutoff c. `verbose` says nothing here.
    """
    size = apix or pixel
    if not 0 < size <= LARGEST_PIXEL:
        raise ParameterError(f"filter.lowpass.autob is for pixels of up to {LARGEST_PIXEL:g} Å, not {size:g}")
    if (cutoff_abs, cutoff_freq, cutoff_pixels) != (None,) * 3:
        bfactor = (
            size / cutoff(image, pixel, "filter.lowpass.autob", cutoff_abs, cutoff_freq, cutoff_pixels, apix)
        ) ** 2
    spectrum = transform(image)
    power = radial_power(spectrum, image.shape)
    step = 1 / np.float32(size * image.shape[-2])  # which rings are fitted is decided in float32
    end = min(int(np.float32(noisecutoff) / step) if noisecutoff > 0 else len(power), len(power) - 2)
    start = int(1 / (LOWEST_FITTED * float(step)))
    if end < start + 2:
        start = max(end - 5, 0)
    rings, s2 = np.arange(len(power)), (np.arange(len(power)) * float(step)) ** 2
    fitted = (rings >= start) & (rings < end) & (power > 0)
    if fitted.sum() < 2:
        raise ParameterError(
            f"filter.lowpass.autob: no rings to fit between {LOWEST_FITTED:g} Å and noisecutoff={noisecutoff:g}"
        )
    total = bfactor + 2 * np.polyfit(s2[fitted], np.log(power[fitted]), 1)[0]
    factor = np.where(
        rings <= end, np.exp(-total * s2 / 4), np.exp(-(total - bfactor) * s2[end] / 4 - bfactor * s2 / 4)
    )
    return labelled(apply_rings(spectrum, image.shape, factor, interpolate=interpolate), apix)


@PROCESSORS.register("filter.highpass.autopeak")
@explain(INTERPOLATE, APIX)
def highpass_autopeak(
    image: np.ndarray,
    pixel: float,
    *,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    apix: float | None = None,
    interpolate: bool = True,
) -> Processed:
    """Without the peak of the spectrum at its origin.

    EMAN2's filter.highpass.autopeak: the rings before the mean power rises for the first time become 0, as far as ring
    `cutoff_freq` (1/Å) · pixel size · ny / 2; the origin always. In EMAN2 `cutoff_abs` and `cutoff_pixels` / nx stand
    for that ring as they are, less than 1: only the origin goes, as without any.
    """
    spectrum = transform(image)
    power = radial_power(spectrum, image.shape)
    reach = next(
        (
            c
            for c in (
                cutoff_abs,
                None if cutoff_freq is None else cutoff_freq * (apix or pixel) * image.shape[-2] / 2,
                None if cutoff_pixels is None else cutoff_pixels / image.shape[-1],
            )
            if c is not None
        ),
        0,
    )
    rises = np.flatnonzero(power[1:-1] <= power[2:]) + 2
    last = min(int(rises[0]) if len(rises) else len(power), int(reach))
    return labelled(
        apply_rings(spectrum, image.shape, (np.arange(len(power)) > last).astype(float), interpolate=interpolate), apix
    )
