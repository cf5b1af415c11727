"""Fourier filters with a soft edge: EMAN2's filter.lowpass, .highpass and .bandpass with .gauss and .tanh.

f is the frequency in cycles per pixel, 0 to 0.5 along an axis.
"""

from __future__ import annotations

import numpy as np

from mpirefine.maths.eman2.processors.base import PROCESSORS, Processed, labelled
from mpirefine.maths.eman2.processors.cutoffs import APIX, CUTOFF, with_cutoff
from mpirefine.maths.fourier.filters import Weight, filtered, gauss
from mpirefine.registry import explain

RESOLVABILITY = float(np.sqrt(-4 * np.log(0.36)) / np.pi)  # cutoff of filter.lowpass.gauss in units of `cutoff_resolv`


@with_cutoff("filter.lowpass.gauss", gaussian=True)
def gauss_with_cutoff(image: np.ndarray, c: float) -> np.ndarray:
    """Gaussian low-pass with a plain cutoff."""
    return filtered(image, gauss(c))


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
        return labelled(filtered(image, gauss(RESOLVABILITY * cutoff_resolv * (apix or pixel))), apix)
    return gauss_with_cutoff(
        image,
        pixel,
        cutoff_abs=cutoff_abs,
        cutoff_freq=cutoff_freq,
        cutoff_pixels=cutoff_pixels,
        sigma=sigma,
        apix=apix,
    )


@PROCESSORS.register("filter.highpass.gauss")
@with_cutoff("filter.highpass.gauss", gaussian=True)
def highpass_gauss(image: np.ndarray, c: float) -> np.ndarray:
    """Gaussian high-pass.

    EMAN2's filter.highpass.gauss: 1 − exp(−f²/c²); with `sigma` s 1 − exp(−f²/2s²).
    """
    return filtered(image, lambda f: 1 - gauss(c)(f))


@PROCESSORS.register("filter.bandpass.gauss")
@with_cutoff("filter.bandpass.gauss")
def bandpass_gauss(image: np.ndarray, c: float, *, center: float) -> np.ndarray:
    """Gaussian band-pass.

    EMAN2's filter.bandpass.gauss: exp(−(f − `center`)²/2c²), `center` in cycles per pixel; here the cutoff c is a
    standard deviation, as `sigma` is.
    """
    return filtered(image, lambda f: np.exp(-0.5 * ((f - center) / c) ** 2))


def tanh_edge(c: float, width: float) -> Weight:
    """½ [tanh(π (f + c) / 2w) − tanh(π (f − c) / 2w)]: from 1 to 0 at c, over `width`."""
    return lambda f: 0.5 * (np.tanh(np.pi * (f + c) / (2 * width)) - np.tanh(np.pi * (f - c) / (2 * width)))


@PROCESSORS.register("filter.lowpass.tanh")
@with_cutoff("filter.lowpass.tanh")
def lowpass_tanh(image: np.ndarray, c: float, *, fall_off: float = 0.5) -> np.ndarray:
    """Low-pass with the edge of a hyperbolic tangent.

    EMAN2's filter.lowpass.tanh: ½ [tanh(π (f + c) / 2ac) − tanh(π (f − c) / 2ac)], a = `fall_off`, the width of the
    edge in units of c. From about a = 0.3 on the origin is attenuated too.
    """
    return filtered(image, tanh_edge(c, fall_off * c))


@PROCESSORS.register("filter.highpass.tanh")
@with_cutoff("filter.highpass.tanh")
def highpass_tanh(image: np.ndarray, c: float, *, fall_off: float = 0.5) -> np.ndarray:
    """High-pass with the edge of a hyperbolic tangent, at √c.

    EMAN2's filter.highpass.tanh: 1 − ½ [tanh(π (f² + c) / 2ac) − tanh(π (f² − c) / 2ac)], a = `fall_off`. EMAN2 puts f²
    where the low-pass has f, so that half is passed at √c: for an edge at f ask for the cutoff f².
    """
    return filtered(image, lambda f: 1 - tanh_edge(c, fall_off * c)(f * f))


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
