"""Filters given as a curve of rings, as EMAN2 applies them; rings are in Fourier pixels of the y axis."""

from __future__ import annotations

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.radial import spread_curve


def exact_spectrum(image: np.ndarray) -> np.ndarray:
    """The half-spectrum of an image or map, complex128."""
    from scipy import fft

    return fft.rfftn(image.astype(np.float64))


def filter_by_curve(
    spectrum: np.ndarray, shape: tuple[int, ...], curve: np.ndarray, per_ring: float = 1.0, interpolate: bool = True
) -> np.ndarray:
    """The image or map (`shape`) of a half-spectrum multiplied by a curve (k,), see `spread_curve`; float32."""
    from scipy import fft

    return fft.irfftn(spectrum * spread_curve(curve, spectrum.shape, per_ring, interpolate), s=shape).astype(np.float32)


def the_curve(name: str, *curves: np.ndarray | None) -> np.ndarray:
    """The one curve (n, 2) float64 that is given, its first column rising.

    Raises ParameterError, for processor `name`, when there is none, more than one, or no such curve.
    """
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
