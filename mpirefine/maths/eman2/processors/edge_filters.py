"""Fourier filters with a sharp or steep edge: EMAN2's .butterworth, .tophat and .randomphase.

f is the frequency in cycles per pixel, 0 to 0.5 along an axis.
"""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.base import PROCESSORS, Processed, labelled
from mpirefine.maths.eman2.processors.cutoffs import APIX, CUTOFF, find_cutoff, with_cutoff
from mpirefine.maths.fourier.filters import Weight, filtered, frequencies, random_phases
from mpirefine.registry import explain


def butterworth(low: float, high: float) -> Weight:
    """√(1 / (1 + (f / c)^o)), with order o and edge c from the pass and the stop frequency by EMAN2's constants 0.882
    and 10.624.

    Raises ParameterError unless 0 < low < high.
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
    """Pass and stop frequency: as given, or c and c + 0.15 log10(1 / c) from a cutoff c. Raises ParameterError when one
    is missing.
    """
    if low is None:
        c = find_cutoff(image, pixel, name, cutoff_abs, cutoff_freq, cutoff_pixels, apix)
        return c, c + 0.15 * float(np.log10(1 / c))
    if high is None:
        raise ParameterError(f"{name} needs high_cutoff_frequency with low_cutoff_frequency")
    return low, high


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


def beyond(shape: tuple[int, ...], c: float) -> np.ndarray:
    """f² / c² in float32, each sum rounded as in EMAN2: which pixels lie exactly on a sharp edge depends on the
    rounding.
    """
    square = np.zeros(1, np.float32)
    for n, f in zip(shape, frequencies(shape)):
        step = np.float32(1) / np.float32(n)
        square = (square + np.rint(f * n) ** 2 * np.float64(step * step)).astype(np.float32)
    return square * (np.float32(1) / np.float32(c) / np.float32(c))


@PROCESSORS.register("filter.lowpass.tophat")
@with_cutoff("filter.lowpass.tophat")
def lowpass_tophat(image: np.ndarray, c: float) -> np.ndarray:
    """Sharp low-pass.

    EMAN2's filter.lowpass.tophat: 1 where f ≤ c, else 0.
    """
    return filtered(image, lambda f: beyond(image.shape, c) <= 1)


@PROCESSORS.register("filter.highpass.tophat")
@with_cutoff("filter.highpass.tophat")
def highpass_tophat(image: np.ndarray, c: float) -> np.ndarray:
    """Sharp high-pass.

    EMAN2's filter.highpass.tophat: 1 where f > c, else 0.
    """
    return filtered(image, lambda f: beyond(image.shape, c) > 1)


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
@with_cutoff("filter.lowpass.randomphase")
def lowpass_randomphase(image: np.ndarray, c: float, *, seed: int = 0) -> np.ndarray:
    """Random phases beyond a frequency, amplitudes kept.

    EMAN2's filter.lowpass.randomphase: where f ≥ c the phases are uniformly random; `seed` is of the random numbers.
    """
    return random_phases(image, beyond(image.shape, c) >= 1, np.random.default_rng(seed))
