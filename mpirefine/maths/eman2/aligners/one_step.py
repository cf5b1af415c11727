"""EMAN2's aligners that only turn, or only shift."""

from __future__ import annotations

import numpy as np

from mpirefine.maths.eman2.aligners.base import ALIGNERS, limit_shift, search_poses, with_angles_wrapped
from mpirefine.maths.eman2.aligners.quadratic import Comparator, in_parts
from mpirefine.maths.eman2.comparators.base import About, half_spectra, stack
from mpirefine.maths.eman2.poses import Alignment


@ALIGNERS.register("translational", shifts=True)
def translational(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    maxshift: int = -1,
    nozero: bool = False,
    masked: bool = False,
    intonly: bool = False,
    useflcf: bool = False,
) -> Alignment:
    """Shift by whole pixels, no turn.

    EMAN2's translational: the peak of the circular cross-correlation within `maxshift` pixels on either axis (0 or
    less: n/4). `nozero`: not within one pixel of no shift. `masked`: each value is divided by √Σ b² of the reference
    where the shifted image is not 0. `intonly` changes nothing; nor does `useflcf`, since EMAN2's local correlation
    finds corners of the window.
    """
    images, out = stack(np.asarray(image)), []
    nx = images.shape[-1]
    reach = int(limit_shift(maxshift, nx // 4, nx))
    steps = np.arange(-reach, reach + 1)
    for _, part, references, _ in in_parts(images, reference, about):
        peaks = _correlate(part, references)
        if masked:
            norm = np.sqrt(np.maximum(_correlate(part != 0, np.square(references)), 0))
            peaks = np.where(norm > 0, peaks / np.where(norm > 0, norm, 1), peaks)
        if nozero:
            peaks[:, [[-1], [0], [1]], [-1, 0, 1]] = 0
        window = peaks[:, steps[:, None] % nx, steps % nx].reshape(len(part), -1)
        y, x = np.divmod(window.argmax(axis=1), len(steps))
        out.append(Alignment.of(np.zeros(len(part)), -steps[x], -steps[y]))
    return with_angles_wrapped(Alignment.concatenate(out))


def _correlate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Circular cross-correlation (n, y, x) of images, no shift at pixel 0."""
    from scipy import fft

    return fft.irfft2(half_spectra(a) * half_spectra(b).conj(), s=a.shape[1:])


@ALIGNERS.register("rotational", "rotate_precenter")
def rotational(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    rfp_mode: int = 2,
    zscore: bool = False,
    ambig180: bool = False,
) -> Alignment:
    """Turn about the centre, no shift.

    EMAN2's rotational, by a search of all angles: EMAN2 takes the angle from translation-free footprints modulo 180°.
    `rfp_mode`, `zscore` and `ambig180` change nothing.
    """
    return search_poses(image, reference, comparator, about, maxshift=0, mirror=False)


@ALIGNERS.register("rotational_iterative")
def rotational_iterative(
    image: np.ndarray, reference: np.ndarray, comparator: Comparator, about: About, *, r1: int = -1, r2: int = -1
) -> Alignment:
    """Turn about the centre, no shift.

    EMAN2's rotational_iterative: as rotational. `r1` and `r2` (pixels) change nothing: all radii count.
    """
    return search_poses(image, reference, comparator, about, maxshift=0, mirror=False)


@ALIGNERS.register("rotational_bispec")
def rotational_bispec(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    size: int = 16,
    rfpn: int = 4,
    harmonic: bool = False,
) -> Alignment:
    """Turn about the centre, no shift.

    EMAN2's rotational_bispec: as rotational; EMAN2 takes the angle from bispectral invariants. `size`, `rfpn` and
    `harmonic` change nothing.
    """
    return search_poses(image, reference, comparator, about, maxshift=0, mirror=False)


@ALIGNERS.register("rotate_flip", mirrors=True)
def rotate_flip(
    image: np.ndarray,
    reference: np.ndarray,
    comparator: Comparator,
    about: About,
    *,
    rfp_mode: int = 2,
    zscore: bool = False,
) -> Alignment:
    """Turn about the centre and mirror, no shift.

    EMAN2's rotate_flip: as rotational, of the image and its mirror image. `rfp_mode` and `zscore` change nothing.
    """
    return search_poses(image, reference, comparator, about, maxshift=0, mirror=True)


@ALIGNERS.register("rotate_flip_iterative", mirrors=True)
def rotate_flip_iterative(
    image: np.ndarray, reference: np.ndarray, comparator: Comparator, about: About, *, r1: int = -1, r2: int = -1
) -> Alignment:
    """Turn about the centre and mirror, no shift.

    EMAN2's rotate_flip_iterative: as rotate_flip. `r1` and `r2` (pixels) change nothing: all radii count.
    """
    return search_poses(image, reference, comparator, about, maxshift=0, mirror=True)
