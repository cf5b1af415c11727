"""EMAN2's comparators of Fourier coefficients and rings: phase, frc, frc.freq, optvariance, optsub."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.comparators.base import CMPS, UNDEFINED, About, both_nonzero, half_spectra, pairwise
from mpirefine.maths.eman2.radial import (
    cross_power,
    radial_means,
    radius,
    ring_correlations,
    ring_count,
    ring_counts,
    spectral_power,
    spread_curve,
    whole_ring_sums,
    whole_rings,
)

ANGLES = np.arccos(np.arange(2001) / 1000 - 1)  # EMAN2 looks arc cosines up, to a thousandth of the cosine
MOST_GAIN = 10.0  # of optvariance's filter, relative to its mean over the rings
LEAST_DIVISOR = float(np.finfo(np.float32).tiny)


def band(rings: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Weights of rings with soft limits: ½ (1 + tanh 5 (r − lowest) / lowest) · ½ (1 − tanh(r − highest)).

    Rings r and limits are in Fourier pixels; a limit of 0 is none.
    """
    weight = np.ones(len(rings))
    if lowest > 0:
        weight *= (1 + np.tanh(5 * (rings - lowest) / lowest)) / 2
    if highest > 0:
        weight *= (1 - np.tanh(rings - highest)) / 2
    return weight


def ring_of(resolution: float, nx: int, apix: float) -> float:
    """Fourier radius in pixels of a resolution in Å; 0 for none."""
    return apix * nx / resolution if resolution > 0 else 0.0


def apply_zero_mask(particle: np.ndarray, reference: np.ndarray, zeromask: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both images; with `zeromask` both are 0 where either is."""
    if not zeromask:
        return particle, reference
    used = both_nonzero(particle, reference)
    return particle * used, reference * used


@CMPS.register("phase")
@pairwise
def phase_difference(
    particle: np.ndarray,
    reference: np.ndarray,
    about: About,
    *,
    snrweight: bool = False,
    snrfn: bool = False,
    ampweight: bool = False,
    zeromask: bool = False,
    minres: float = 500.0,
    maxres: float = 10.0,
) -> np.ndarray:
    """Mean phase difference in radians.

    EMAN2's phase: Σ w |φa − φb| / Σ w over coefficients within Nyquist, soft limits at `minres` and `maxres` (Å, 0:
    none), the cosine rounded to a thousandth. Factors of w: `snrweight` the SNR of the particle's CTF; `snrfn` instead
    of it x exp(−x), x = 10 r / rings; `ampweight` the amplitude of the reference. `zeromask`: pixels that are 0 in
    either image are 0 in both. ParameterError for both SNR weights.
    """
    nx = particle.shape[-2]
    rings = np.arange(nx // 2)
    if snrweight and snrfn:
        raise ParameterError("phase: snrweight and snrfn exclude each other")
    x = 10 * rings / len(rings)
    weight = about.ring_weights("phase") if snrweight else (x * np.exp(-x) if snrfn else np.ones(len(rings)))[None]
    weight = weight * band(rings, ring_of(minres, nx, about.apix), ring_of(maxres, nx, about.apix))
    a, b = (half_spectra(side) for side in apply_zero_mask(particle, reference, zeromask))
    norm = np.sqrt(spectral_power(a) * spectral_power(b))
    cosine = cross_power(a, b) / np.where(norm > 0, norm, 1)
    error = ANGLES[np.floor(np.clip(cosine, -1, 1) * 1000 + 1000.5).astype(int)]
    ring = np.floor(radius(nx) + 0.5).astype(int)
    share = np.where(ring < nx // 2, weight[:, np.minimum(ring, nx // 2 - 1)], 0)
    if ampweight:
        share = share * np.sqrt(spectral_power(b))
    return (error * share).sum(axis=(1, 2)) / np.maximum(share.sum(axis=(1, 2)), LEAST_DIVISOR)


@CMPS.register("frc")
@pairwise
def ring_correlation(
    particle: np.ndarray,
    reference: np.ndarray,
    about: About,
    *,
    snrweight: bool = False,
    ampweight: bool = False,
    sweight: bool = True,
    nweight: bool = False,
    zeromask: bool = False,
    pmin: float | None = None,
    pmax: float | None = None,
    minres: float = 200.0,
    maxres: float = 8.0,
) -> np.ndarray:
    """Weighted mean of the Fourier ring correlation.

    EMAN2's frc: −Σ w c / Σ w over rings 0 .. n/2 − 1, soft limits at `minres` and `maxres` (Å, 0: none) or at rings
    `pmin` and `pmax`; 2 where a ring is 0. Factors of w: `sweight` the coefficients of the ring; `ampweight` the mean
    amplitude of the particle; `snrweight` the SNR of its CTF. `nweight`: the result, if 0 to 1, is converted to SNR,
    divided by the particles in the reference and converted back. `zeromask`: pixels that are 0 in either image are 0 in
    both.
    """
    nx = particle.shape[-2]
    rings = np.arange(nx // 2)
    a, b = (half_spectra(side) for side in apply_zero_mask(particle, reference, zeromask))
    limits = ring_of(minres, nx, about.apix), ring_of(maxres, nx, about.apix)
    weight = band(rings, limits[0] if pmin is None else pmin, limits[1] if pmax is None else pmax)[None]
    if sweight:
        weight = weight * ring_counts(nx)[:-1]
    if ampweight:
        weight = weight * radial_means(np.abs(a))[:, : nx // 2]
    if snrweight:
        weight = weight * about.ring_weights("frc")
    total = weight.sum(axis=1)
    mean = (weight * ring_correlations(a, b)[:, :-1]).sum(axis=1) / np.where(total > 0, total, np.nan)
    if nweight:
        usable = (np.asarray(about.count) > 0) & (mean >= 0) & (mean < 1)
        snr = mean / np.where(usable, 1 - mean, 1) / np.where(usable, about.count, 1)
        mean = np.where(usable, snr / (1 + snr), mean)
    return np.where(np.isfinite(mean), -mean, UNDEFINED)


COARSEST_FREQ, FINEST_FREQ = 200.0, 8.0  # Å, the limits of frc.freq, fixed as in EMAN2


@CMPS.register("frc.freq")
@pairwise
def ring_correlation_frequency(particle: np.ndarray, reference: np.ndarray, about: About) -> np.ndarray:
    """Mean frequency of the Fourier ring correlation.

    EMAN2's frc.freq: −Σ s c / Σ |c| over rings from floor(n x / 200 Å) to below ceil(n x / 8 Å) and Nyquist, x the
    pixel size; c is the correlation of ring r and s = r / (2 floor(n / 2)) its frequency in 1/pixel. The further
    out images agree the smaller it is, down to −½. 2 where a ring is 0 in an image, or nothing can be compared.
    """
    nx = particle.shape[-2]
    low, high = int(np.floor(nx * about.apix / COARSEST_FREQ)), int(np.ceil(nx * about.apix / FINEST_FREQ))
    ring = np.arange(low, min(high, nx // 2))
    c = ring_correlations(half_spectra(particle), half_spectra(reference))[:, ring]
    total = np.abs(c).sum(axis=1)
    mean = (c * (ring / (2 * (nx // 2)))).sum(axis=1) / np.where(total > 0, total, np.nan)
    return np.where(np.isfinite(mean), -mean, UNDEFINED)


def match_power(particle: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """References (n, y, x) filtered, ring r by P_particle / P_reference (EMAN2 leaves out the square root), 10 where
    that is over 10 times the mean.
    """
    from scipy import fft

    a, b = half_spectra(particle), half_spectra(reference)
    ours, theirs = (radial_means(spectral_power(side))[:, : particle.shape[-2] // 2] for side in (a, b))
    gain = np.where(theirs > 0, ours / np.where(theirs > 0, theirs, 1), 0)
    gain = np.where(gain > MOST_GAIN * gain.sum(axis=1, keepdims=True) / (particle.shape[-2] / 2), MOST_GAIN, gain)
    gain[:, 0] = 0
    return fft.irfft2(b * spread_curve(gain, b.shape[1:]), s=particle.shape[1:])


def match_amplitudes(particle: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """References (n, y, x) with the Fourier amplitudes of the particles."""
    from scipy import fft

    a, b = half_spectra(particle), half_spectra(reference)
    size = np.abs(b)
    phase = np.where(size > 0, b / np.where(size > 0, size, 1), 1)
    return fft.irfft2(np.abs(a) * phase, s=particle.shape[1:])


@CMPS.register("optvariance")
@pairwise
def optimal_variance(
    particle: np.ndarray,
    reference: np.ndarray,
    about: About,
    *,
    invert: bool = False,
    keepzero: bool = True,
    matchfilt: bool = True,
    matchamp: bool = False,
    radweight: bool = False,
    debug: bool = False,
) -> np.ndarray:
    """Variance of the particle against the linearly fitted reference.

    EMAN2's optvariance: mean of (m x + b − a)², where (m, b) inverts the line that fits the particle a best by the
    reference x. `invert`: of (x − (a − b) / m)² instead. `matchfilt`: x is the reference with its power spectrum
    brought towards the particle's; `matchamp`: with the amplitudes of the particle. `keepzero`: only pixels that are 0
    in neither. `radweight`: each times its distance from pixel 0 plus n/4. `debug` changes nothing.
    """
    x = (
        match_amplitudes(particle, reference)
        if matchamp
        else match_power(particle, reference)
        if matchfilt
        else reference
    )
    a, x = (side.reshape(len(side), -1).astype(np.float64) for side in (particle, x))
    used = both_nonzero(a, x) if keepzero else np.ones((1, a.shape[1]), bool)
    n = np.maximum(used.sum(axis=1, keepdims=True), 1)
    sx, sa = (x * used).sum(axis=1, keepdims=True), (a * used).sum(axis=1, keepdims=True)
    bottom = n * (x * x * used).sum(axis=1, keepdims=True) - sx * sx
    slope = (n * (x * a * used).sum(axis=1, keepdims=True) - sx * sa) / np.where(bottom != 0, bottom, 1e-7)
    slope, constant = np.where(slope != 0, slope, LEAST_DIVISOR), (sa - slope * sx) / n
    m, b = 1 / slope, -constant / slope
    error = (x - (a - b) / m) ** 2 if invert else (m * x + b - a) ** 2
    if radweight:
        nx = particle.shape[-1]
        error = error * (np.hypot(np.arange(particle.shape[-2])[:, None], np.arange(nx)) + nx / 4).ravel()
    return (error * used).sum(axis=1) / n[:, 0]


@lru_cache(maxsize=16)
def visits(nx: int) -> np.ndarray:
    """How often EMAN2's optimal subtraction subtracts each coefficient: never the origin, twice on x = 0 and the
    Nyquist row.
    """
    times = np.ones((nx, nx // 2 + 1), np.float32)
    times[1:, 0], times[0, 0] = 2, 0
    if nx % 2 == 0:
        times[nx // 2] = 2
    return times


@CMPS.register("optsub")
@pairwise
def optimal_subtraction(
    particle: np.ndarray,
    reference: np.ndarray,
    about: About,
    *,
    minres: float = 200.0,
    maxres: float = 10.0,
    ctfweight: bool = False,
    zeromask: bool = False,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """What is left after optimal subtraction.

    EMAN2's optsub: sigma of F − q(r) G over sigma of F, q = Σ Re F G* / Σ |G|² on rings of whole radius, both within
    `minres` and `maxres` (Å, 0: none). F is the particle if it has a CTF, with `ctfweight` times CTF², else the
    reference, and G is the other. As in EMAN2 the origin is kept, and G subtracted twice from coefficients on x = 0.
    The difference is multiplied by `mask` (an image), with `zeromask` only where the reference is not 0. ParameterError
    for `ctfweight` without CTF.
    """
    from scipy import fft

    nx, with_ctf = particle.shape[-2], about.transfer is not None
    if ctfweight and not with_ctf:
        raise ParameterError("optsub: ctfweight needs particles with a CTF in their headers")
    f, g = (half_spectra(side) for side in ((particle, reference) if with_ctf else (reference, particle)))
    f = f * about.intensity if ctfweight else f
    ring, last = whole_rings(f.shape[1:]), ring_count(f.shape[1:])
    common, power = (np.array([whole_ring_sums(row) for row in of]) for of in (cross_power(f, g), spectral_power(g)))
    q = common / np.maximum(power, LEAST_DIVISOR)
    low = np.floor(about.apix / minres * nx) if minres > 0 else 0
    high = np.ceil(about.apix / maxres * nx) if maxres > 0 else last
    kept = (ring < min(last, high)) & (ring >= low)
    rest = fft.irfft2((f - visits(nx) * g * q[:, ring].astype(np.float32)) * kept, s=particle.shape[1:])
    rest = rest if mask is None else rest * mask
    rest = rest * (reference != 0) if zeromask else rest
    before = fft.irfft2(f * kept, s=particle.shape[1:]).std(axis=(1, 2), ddof=1, dtype=np.float64)
    return rest.std(axis=(1, 2), ddof=1, dtype=np.float64) / np.where(before > 0, before, LEAST_DIVISOR)
