"""EMAN2's reconstructors: f(box, symmetry, *, parameters) gives a Reconstructor to insert images into.

Traits: `needs_snr`, the images need an SNR curve; `compares`, images can be compared with the map that is made of them.
"""

from __future__ import annotations

from mpirefine.maths.eman2.reconstructors.backprojection import BackProjector
from mpirefine.maths.eman2.reconstructors.reconstructor import Reconstructor
from mpirefine.registry import Registry

RECONSTRUCTORS = Registry("reconstructor")


@RECONSTRUCTORS.register("fourier", needs_snr="usessnr", compares=True)
def fourier(
    box: int,
    symmetry: str,
    *,
    mode: str = "gauss_2",
    corners: bool = False,
    sqrtnorm: bool = False,
    usessnr: bool = False,
) -> Reconstructor:
    """Direct Fourier inversion: coefficients shared out to their neighbours, then divided by the weights. EMAN2's
    fourier.

    `mode`: the shares of the neighbours: nearest_neighbor; trilinear; gauss_2: 2 on each axis, exp(-d^2 pi^2 / 4);
    gauss_3: 3, of width (8 + radius) / 32 * 6.4 / pi^2, scaled to about the same sum at all radii; gauss_5: 6, exp(-d^2
    pi^2 / 10.4); gauss_var: 6, of width 0.15 + radius^2 / 4000; experimental: as gauss_2; gridding_5, gridding_7: 5 and
    7, by kernels that are nearly 0 beyond the box in real space; kaiser_bessel: 5; and
    kaiser_bessel_derived: 9, nearly a plain mean, which leaves only the middle of the map. With the last four only
    values get these shares, weights 1 each, so that the map has another scale. `corners`: also insert coefficients
    beyond Nyquist (round(radius) > n / 2). `sqrtnorm`: divide by weight^1.5 instead. `usessnr`: weight each ring by the
    image's SNR curve (its value at the nearest ring) instead of the image's weight.
    """
    return Reconstructor(
        box, symmetry, mode, corners=corners, power=1.5 if sqrtnorm else 1.0, snr="ring" if usessnr else "none"
    )


@RECONSTRUCTORS.register("wiener_fourier", needs_snr=True, compares=True)
def wiener_fourier(box: int, symmetry: str, *, mode: str = "gauss_2", sqrtnorm: bool = False) -> Reconstructor:
    """Direct Fourier inversion with a Wiener filter: coefficients weighted by their SNR, divided by the weights + 1.
    EMAN2's wiener_fourier.

    Images need an SNR curve; of one that is Wiener-filtered already the filter SNR / (SNR + 1) is undone first. Only
    radii below Nyquist are used. `mode`: the shares of the neighbours, as in fourier. `sqrtnorm`: divide by weight^1.5
    + 1 instead.
    """
    return Reconstructor(box, symmetry, mode, corners=False, power=1.5 if sqrtnorm else 1.0, snr="wiener")


@RECONSTRUCTORS.register("back_projection")
def back_projection(box: int, symmetry: str) -> BackProjector:
    """Images with a ramp filter, smeared along their directions of view. EMAN2's back_projection.

    All images weigh the same, however many particles are in them, so that views should be spread evenly. The map is on
    the scale of fourier, the mean over the symmetry's operations, and 0 beyond radius n / 2 - 1; EMAN2's is a sum over
    images, and adds operations to a sum that grows meanwhile. It does not tell how well an image agrees with the map,
    so that none is left out.
    """
    return BackProjector(box, symmetry)
