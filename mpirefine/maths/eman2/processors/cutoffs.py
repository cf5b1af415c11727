"""Cutoffs of Fourier filters, as EMAN2's parameters give them, and the texts that explain such parameters.

f is the frequency in cycles per pixel, 0 to 0.5 along an axis.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.base import Processed, labelled
from mpirefine.registry import explain

CUTOFF = (
    "The cutoff c: `cutoff_abs` in cycles per pixel (0 to 0.5), or `cutoff_freq` in 1/Å, or `cutoff_pixels` in "
    "Fourier pixels of the x axis."
)
SIGMA = "`sigma` is a cutoff in cycles per pixel and is preferred to the others."
APIX = "`apix` in Å replaces the pixel size."
INTERPOLATE = "`interpolate`: the factor is linear between rings, else that of the next ring."

Filter = Callable[..., np.ndarray]


def find_cutoff(
    image: np.ndarray,
    pixel: float,
    name: str,
    cutoff_abs: float | None,
    cutoff_freq: float | None,
    cutoff_pixels: float | None,
    apix: float | None,
    sigma: float | None = None,
) -> float:
    """The cutoff in cycles per pixel; of several that are given, in this order sigma, cutoff_abs, cutoff_freq.

    Raises ParameterError when none is given, or when it is not above 0.
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


def with_cutoff(name: str, *, gaussian: bool = False) -> Callable[[Filter], Callable[..., Processed]]:
    """Decorator: the processor `name` from a function f(image, c, *, parameters) that filters with cutoff c.

    The processor takes EMAN2's parameters of a cutoff in its place. `gaussian`: sigma is the standard deviation of a
    Gaussian exp(−f²/2 sigma²), whose c, where it is 1/e, is √2 sigma.
    """

    def decorate(function: Filter) -> Callable[..., Processed]:
        @wraps(function, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        def process(
            image: np.ndarray,
            pixel: float,
            *,
            cutoff_abs: float | None = None,
            cutoff_freq: float | None = None,
            cutoff_pixels: float | None = None,
            sigma: float | None = None,
            apix: float | None = None,
            **own: float,
        ) -> Processed:
            c = find_cutoff(image, pixel, name, cutoff_abs, cutoff_freq, cutoff_pixels, apix, sigma)
            c = c if sigma is None or not gaussian else float(np.sqrt(2)) * c
            return labelled(function(image, c, **own), apix)

        taken = inspect.signature(process, eval_str=True, follow_wrapped=False).parameters.values()
        own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.kind is p.KEYWORD_ONLY]
        parameters = [p for p in taken if p.kind is not p.VAR_KEYWORD]
        # what `registry.keyword_parameters` sees: the function's own parameters before those of the cutoff
        process.__dict__["__signature__"] = inspect.Signature([*parameters[:2], *own, *parameters[2:]])
        return explain(CUTOFF, *([] if gaussian else [SIGMA]), APIX)(process)

    return decorate
