"""Filters that follow from the image itself: its FSC, the fall-off of its spectrum, the peak at its origin."""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.base import PROCESSORS, Processed, labelled
from mpirefine.maths.eman2.processors.curves import exact_spectrum, filter_by_curve, the_curve
from mpirefine.maths.eman2.processors.cutoffs import APIX, CUTOFF, INTERPOLATE, find_cutoff
from mpirefine.maths.eman2.radial import radial_mean
from mpirefine.registry import explain

LOWEST_FITTED = 15.0  # Å; filter.lowpass.autob fits from here on
LARGEST_PIXEL = 7.0  # Å; beyond it there is nothing left to fit
LEAST_WIENER = 0.001


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
    curve = the_curve("filter.wiener.byfsc", fscfile)
    ny, nyquist = image.shape[-2], 1 / (2 * pixel)
    frequency = np.append(0.0, curve[1:, 0])
    filter_of = wiener_curve(curve[:, 1], np.arange(len(curve)) * nyquist / len(curve) >= maxfreq, snrmult)
    factor = np.interp(np.arange(ny) * nyquist / ny, frequency, filter_of, right=0)
    return filter_by_curve(exact_spectrum(image), image.shape, factor, 2 / sscale)


def wiener_curve(fsc: np.ndarray, falls: np.ndarray, snrmult: float) -> np.ndarray:
    """The filter (k,) at the points of an FSC (k,), which may only fall where `falls`. As in EMAN2, the average over
    five points takes the filter for those already done.
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
    a cutoff c. `verbose` changes nothing. ParameterError for pixels above 7 Å, or without rings to fit.
    """
    size = apix or pixel
    if not 0 < size <= LARGEST_PIXEL:
        raise ParameterError(f"filter.lowpass.autob is for pixels of up to {LARGEST_PIXEL:g} Å, not {size:g}")
    if (cutoff_abs, cutoff_freq, cutoff_pixels) != (None,) * 3:
        bfactor = (
            size / find_cutoff(image, pixel, "filter.lowpass.autob", cutoff_abs, cutoff_freq, cutoff_pixels, apix)
        ) ** 2
    spectrum = exact_spectrum(image)
    power = radial_mean(np.abs(spectrum) ** 2)
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
    return labelled(filter_by_curve(spectrum, image.shape, factor, interpolate=interpolate), apix)


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
    spectrum = exact_spectrum(image)
    power = radial_mean(np.abs(spectrum) ** 2)
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
        filter_by_curve(spectrum, image.shape, (np.arange(len(power)) > last).astype(float), interpolate=interpolate),
        apix,
    )
