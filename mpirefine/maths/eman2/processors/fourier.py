"""Fourier filters with a fixed shape: EMAN2's filter.lowpass.*, filter.highpass.*, filter.bandpass.*.

f is the frequency in cycles per pixel, 0 to 0.5 along an axis.
"""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.registry import APIX, CUTOFF, PROCESSORS, SIGMA, Processed, labelled
from mpirefine.maths.fourier.filters import Weight, filtered, frequencies, gauss, random_phases
from mpirefine.registry import explain

RESOLVABILITY = float(np.sqrt(-4 * np.log(0.36)) / np.pi)  # cutoff of filter.lowpass.gauss in units of `cutoff_resolv`


def cutoff(
    image: np.ndarray,
    pixel: float,
    name: str,
    cutoff_abs: float | None,
    cutoff_freq: float | None,
    cutoff_pixels: float | None,
    apix: float | None,
    sigma: float | None = None,
) -> float:
    """The one that is given, in cycles per pixel; of several sigma, cutoff_abs, cutoff_freq before the next.
    ParameterError for none.
    """
    choices = (
        sigma,
        cutoff_abs,
        None if cutoff_freq is None else cutoff_freq * (apix or pixel),
        None if cutoff_pixels is None else cutoff_pixels / image.shape[-1],
    )
    found = next((c for c in choices if c is not None), None)
    if found is None or found <= 0:
        raise ParameterError(f"{name} needs one of cutoff_abs, cutoff_freq, cutoff_pixels and sigma, above 0")
    return float(found)


def gauss_cutoff(
    image: np.ndarray,
    pixel: float,
    name: str,
    cutoff_abs: float | None,
    cutoff_freq: float | None,
    cutoff_pixels: float | None,
    apix: float | None,
    sigma: float | None,
) -> float:
    """The frequency where exp(−f²/c²) is 1/e: a cutoff as it is given, but √2 times `sigma`."""
    found = cutoff(image, pixel, name, cutoff_abs, cutoff_freq, cutoff_pixels, apix, sigma)
    return found if sigma is None else float(np.sqrt(2)) * found


def tanh_edge(c: float, width: float) -> Weight:
    """½ [tanh(π (f + c) / 2w) − tanh(π (f − c) / 2w)]: from 1 to 0 at c, over `width`."""
    return lambda f: 0.5 * (np.tanh(np.pi * (f + c) / (2 * width)) - np.tanh(np.pi * (f - c) / (2 * width)))


def butterworth(low: float, high: float) -> Weight:
    """√(1 / (1 + (f / c)^o)) with EMAN2's two constants: 0.882 and 10.624 give the order o and the edge c from the pass
    and the stop frequency.
    """
    if not 0 < low < high:
        raise ParameterError(
            f"a Butterworth filter needs 0 < low_cutoff_frequency < high_cutoff_frequency, not {low:g} and {high:g}"
        )
    order = 2 * np.log10(0.882 / np.sqrt(10.624**2 - 1)) / np.log10(low / high)
    edge = low / 0.882 ** (2 / order)
    return lambda f: np.sqrt(1 / (1 + (f / edge) ** order))


def butterworth_edges(
    image: np.ndarray,
    pixel: float,
    name: str,
    low: float | None,
    high: float | None,
    cutoff_abs: float | None,
    cutoff_freq: float | None,
    cutoff_pixels: float | None,
    apix: float | None,
) -> tuple[float, float]:
    """Pass and stop frequency: as given, or from one cutoff c: c and c + 0.15 log10(1 / c)."""
    if low is None:
        c = cutoff(image, pixel, name, cutoff_abs, cutoff_freq, cutoff_pixels, apix)
        return c, c + 0.15 * float(np.log10(1 / c))
    if high is None:
        raise ParameterError(f"{name} needs high_cutoff_frequency with low_cutoff_frequency")
    return low, high


def beyond(shape: tuple[int, ...], c: float) -> np.ndarray:
    """f² / c² in float32, each sum rounded once: which pixels lie exactly on a sharp edge is rounding, and this is
    EMAN2's.
    """
    square = np.zeros(1, np.float32)
    for n, f in zip(shape, frequencies(shape)):
        step = np.float32(1) / np.float32(n)
        square = (square + np.rint(f * n) ** 2 * np.float64(step * step)).astype(np.float32)
    return square * (np.float32(1) / np.float32(c) / np.float32(c))


@PROCESSORS.register("filter.lowpass.gauss")
@explain(CUTOFF, APIX)
def lowpass_gauss(
    image: np.ndarray,
    pixel: float,
    *,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    sigma: float | None = None,
    cutoff_resolv: float | None = None,
    apix: float | None = None,
) -> Processed:
    """Gaussian low-pass.

    EMAN2's filter.lowpass.gauss: exp(−f²/c²), 1/e at the cutoff c; with `sigma` s exp(−f²/2s²). With `cutoff_resolv` r
    (1/Å) c is 0.643 r times the pixel size.
    """
    if cutoff_resolv is not None:
        c = RESOLVABILITY * cutoff_resolv * (apix or pixel)
    else:
        c = gauss_cutoff(image, pixel, "filter.lowpass.gauss", cutoff_abs, cutoff_freq, cutoff_pixels, apix, sigma)
    return labelled(filtered(image, gauss(c)), apix)


@PROCESSORS.register("filter.highpass.gauss")
@explain(CUTOFF, APIX)
def highpass_gauss(
    image: np.ndarray,
    pixel: float,
    *,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    sigma: float | None = None,
    apix: float | None = None,
) -> Processed:
    """Gaussian high-pass.

    EMAN2's filter.highpass.gauss: 1 − exp(−f²/c²); with `sigma` s 1 − exp(−f²/2s²).
    """
    c = gauss_cutoff(image, pixel, "filter.highpass.gauss", cutoff_abs, cutoff_freq, cutoff_pixels, apix, sigma)
    return labelled(filtered(image, lambda f: 1 - gauss(c)(f)), apix)


@PROCESSORS.register("filter.bandpass.gauss")
@explain(CUTOFF, APIX)
def bandpass_gauss(
    image: np.ndarray,
    pixel: float,
    *,
    center: float,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    sigma: float | None = None,
    apix: float | None = None,
) -> Processed:
    """Gaussian band-pass.

    EMAN2's filter.bandpass.gauss: exp(−(f − `center`)²/2c²), `center` in cycles per pixel; here a cutoff c is a true
    standard deviation, as `sigma` is.
    """
    c = cutoff(image, pixel, "filter.bandpass.gauss", cutoff_abs, cutoff_freq, cutoff_pixels, apix, sigma)
    return labelled(filtered(image, lambda f: np.exp(-0.5 * ((f - center) / c) ** 2)), apix)


@PROCESSORS.register("filter.lowpass.tanh")
@explain(CUTOFF, SIGMA, APIX)
def lowpass_tanh(
    image: np.ndarray,
    pixel: float,
    *,
    fall_off: float = 0.5,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    sigma: float | None = None,
    apix: float | None = None,
) -> Processed:
    """Low-pass with the edge of a hyperbolic tangent.

    EMAN2's filter.lowpass.tanh: ½ [tanh(π (f + c) / 2ac) − tanh(π (f − c) / 2ac)], a = `fall_off`, the width of the
    edge in units of c. From about a = 0.3 on the origin is attenuated too.
    """
    c = cutoff(image, pixel, "filter.lowpass.tanh", cutoff_abs, cutoff_freq, cutoff_pixels, apix, sigma)
    return labelled(filtered(image, tanh_edge(c, fall_off * c)), apix)


@PROCESSORS.register("filter.highpass.tanh")
@explain(CUTOFF, SIGMA, APIX)
def highpass_tanh(
    image: np.ndarray,
    pixel: float,
    *,
    fall_off: float = 0.5,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    sigma: float | None = None,
    apix: float | None = None,
) -> Processed:
    """High-pass with the edge of a hyperbolic tangent, at √c.

    EMAN2's filter.highpass.tanh: 1 − ½ [tanh(π (f² + c) / 2ac) − tanh(π (f² − c) / 2ac)], a = `fall_off`. EMAN2 puts f²
    where the low-pass has f, so that half is passed at √c: for an edge at f ask for the cutoff f².
    """
    c = cutoff(image, pixel, "filter.highpass.tanh", cutoff_abs, cutoff_freq, cutoff_pixels, apix, sigma)
    return labelled(filtered(image, lambda f: 1 - tanh_edge(c, fall_off * c)(f * f)), apix)


@PROCESSORS.register("filter.bandpass.tanh")
@explain(APIX)
def bandpass_tanh(
    image: np.ndarray,
    pixel: float,
    *,
    low_cutoff_frequency: float,
    high_cutoff_frequency: float,
    Low_fall_off: float,
    high_fall_off: float,
    apix: float | None = None,
) -> Processed:
    """Band-pass with the edges of a hyperbolic tangent.

    EMAN2's filter.bandpass.tanh: the low-pass of filter.lowpass.tanh at `high_cutoff_frequency` less that at
    `low_cutoff_frequency` (cycles per pixel), with edges of `high_fall_off` and `Low_fall_off` in units of the band's
    width.
    """
    width = high_cutoff_frequency - low_cutoff_frequency
    high, low = (
        tanh_edge(high_cutoff_frequency, high_fall_off * width),
        tanh_edge(low_cutoff_frequency, Low_fall_off * width),
    )
    return labelled(filtered(image, lambda f: high(f) - low(f)), apix)


@PROCESSORS.register("filter.lowpass.butterworth")
@explain(CUTOFF, APIX)
def lowpass_butterworth(
    image: np.ndarray,
    pixel: float,
    *,
    low_cutoff_frequency: float | None = None,
    high_cutoff_frequency: float | None = None,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    apix: float | None = None,
) -> Processed:
    """Butterworth low-pass.

    EMAN2's filter.lowpass.butterworth: √(1 / (1 + (f / c)^o)); c and the order o follow from the edges of the pass band
    `low_cutoff_frequency` and the stop band `high_cutoff_frequency` (cycles per pixel), or from one cutoff l: l and l +
    0.15 log10(1 / l).
    """
    low, high = butterworth_edges(
        image,
        pixel,
        "filter.lowpass.butterworth",
        low_cutoff_frequency,
        high_cutoff_frequency,
        cutoff_abs,
        cutoff_freq,
        cutoff_pixels,
        apix,
    )
    return labelled(filtered(image, butterworth(low, high)), apix)


@PROCESSORS.register("filter.highpass.butterworth")
@explain(CUTOFF, APIX)
def highpass_butterworth(
    image: np.ndarray,
    pixel: float,
    *,
    low_cutoff_frequency: float | None = None,
    high_cutoff_frequency: float | None = None,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    apix: float | None = None,
) -> Processed:
    """Butterworth high-pass.

    EMAN2's filter.highpass.butterworth: 1 − √(1 / (1 + (f / c)^o)), with the parameters of filter.lowpass.butterworth:
    `low_cutoff_frequency` and `high_cutoff_frequency` in cycles per pixel, or one cutoff.
    """
    low, high = butterworth_edges(
        image,
        pixel,
        "filter.highpass.butterworth",
        low_cutoff_frequency,
        high_cutoff_frequency,
        cutoff_abs,
        cutoff_freq,
        cutoff_pixels,
        apix,
    )
    return labelled(filtered(image, lambda f: 1 - butterworth(low, high)(f)), apix)


@PROCESSORS.register("filter.lowpass.tophat")
@explain(CUTOFF, SIGMA, APIX)
def lowpass_tophat(
    image: np.ndarray,
    pixel: float,
    *,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    sigma: float | None = None,
    apix: float | None = None,
) -> Processed:
    """Sharp low-pass.

    EMAN2's filter.lowpass.tophat: 1 where f ≤ c, else 0.
    """
    c = cutoff(image, pixel, "filter.lowpass.tophat", cutoff_abs, cutoff_freq, cutoff_pixels, apix, sigma)
    return labelled(filtered(image, lambda f: beyond(image.shape, c) <= 1), apix)


@PROCESSORS.register("filter.highpass.tophat")
@explain(CUTOFF, SIGMA, APIX)
def highpass_tophat(
    image: np.ndarray,
    pixel: float,
    *,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    sigma: float | None = None,
    apix: float | None = None,
) -> Processed:
    """Sharp high-pass.

    EMAN2's filter.highpass.tophat: 1 where f > c, else 0.
    """
    c = cutoff(image, pixel, "filter.highpass.tophat", cutoff_abs, cutoff_freq, cutoff_pixels, apix, sigma)
    return labelled(filtered(image, lambda f: beyond(image.shape, c) > 1), apix)


@PROCESSORS.register("filter.bandpass.tophat")
@explain(APIX)
def bandpass_tophat(
    image: np.ndarray,
    pixel: float,
    *,
    low_cutoff_frequency: float,
    high_cutoff_frequency: float,
    apix: float | None = None,
) -> Processed:
    """Sharp band-pass.

    EMAN2's filter.bandpass.tophat: 1 where `low_cutoff_frequency` ≤ f < `high_cutoff_frequency` (cycles per pixel),
    else 0.
    """
    low, high = beyond(image.shape, low_cutoff_frequency), beyond(image.shape, high_cutoff_frequency)
    return labelled(filtered(image, lambda f: (low >= 1) & (high < 1)), apix)


@PROCESSORS.register("filter.lowpass.randomphase")
@explain(CUTOFF, SIGMA, APIX)
def lowpass_randomphase(
    image: np.ndarray,
    pixel: float,
    *,
    cutoff_abs: float | None = None,
    cutoff_freq: float | None = None,
    cutoff_pixels: float | None = None,
    sigma: float | None = None,
    apix: float | None = None,
    seed: int = 0,
) -> Processed:
    """Random phases beyond a frequency, the amplitudes kept.

    EMAN2's filter.lowpass.randomphase: where f ≥ c the phases are uniformly random; from `seed`, so that the same is
    made again.
    """
    c = cutoff(image, pixel, "filter.lowpass.randomphase", cutoff_abs, cutoff_freq, cutoff_pixels, apix, sigma)
    return labelled(random_phases(image, beyond(image.shape, c) >= 1, np.random.default_rng(seed)), apix)
