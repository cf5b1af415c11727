"""EMAN2's averagers: aligned images of a class to one image.

An averager is f(images, ctfs, apix, *, parameters) -> Averaged: images (n, y, x), their CTF or None, Å per pixel. Those
that correct the CTF take images with flipped phases and correct its absolute value.

Traits: `corrects_ctf`; `gives_snr`, the result has an SNR curve.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.ctf import ctf_image
from mpirefine.maths.eman2.processors.base import image_of, single
from mpirefine.maths.eman2.processors.fourier import lowpass_gauss
from mpirefine.maths.eman2.processors.normalize import by_edge_mean
from mpirefine.maths.eman2.radial import folded, radial_mean, radius, ring_correlations
from mpirefine.registry import Registry

AVERAGERS = Registry("averager")
LEAST_SNR, LEAST_CTF, LEAST_TOTAL = 0.001, 0.05, 0.05  # what divisors and weights are at least, as in EMAN2
SHARPENING = 100.0  # Å², the B-factor that ctfw.auto undoes
START = 0.1  # added to a half's ΣCTF² in ctf.weight.autofilt
LEAST_FRC, MOST_FRC = 0.001, 0.9999
LOCAL, LEAST_WEIGHT = 0.02, 1e-7  # of localweight: 1/Å of the low-pass, and what is added to the sum of weights
SMOOTHINGS = 1000  # of iterative


@dataclass(frozen=True)
class Averaged:
    """An average (y, x) float32, and what EMAN2 adds to its header."""

    image: np.ndarray
    snr_total: np.ndarray | None = None  # (ny // 2,) ctf_snr_total
    wiener_filtered: bool | None = None  # ctf_wiener_filtered
    sigma: np.ndarray | None = None  # (y, x) deviation of each pixel
    norm: np.ndarray | None = None  # (y, x) images that count in each pixel


def pixel_statistics(images: np.ndarray, ignore0: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation (with n) of each pixel, and how many images count there: all, or, with `ignore0`,
    those that are not 0. Three arrays (y, x).
    """
    used = images != 0 if ignore0 else np.ones(images.shape, bool)
    count = used.sum(axis=0)
    divisor = np.maximum(count, 1)
    mean = np.where(used, images, 0).sum(axis=0, dtype=np.float64) / divisor
    spread = np.where(used, images - mean, 0) ** 2
    return mean, np.sqrt(spread.sum(axis=0) / divisor), count


@AVERAGERS.register("mean")
def mean(
    images: np.ndarray,
    ctfs: list[EmanCTF] | None,
    apix: float,
    *,
    sigma: bool = False,
    ignore0: bool = False,
    normimage: bool = False,
) -> Averaged:
    """Mean.

    EMAN2's mean: Σx / n. `ignore0`: of the images that are not 0 in a pixel. `sigma`: also the deviation √(Σ(x − mean)²
    / n); `normimage`: also how many images count in each pixel (as in EMAN2 0 without `ignore0`).
    """
    average, deviation, count = pixel_statistics(images, ignore0)
    norm = count if ignore0 else np.zeros_like(count)
    return Averaged(
        single(average),
        sigma=single(deviation) if sigma else None,
        norm=single(norm) if normimage else None,
    )


@AVERAGERS.register("sigma")
def deviation(images: np.ndarray, ctfs: list[EmanCTF] | None, apix: float, *, ignore0: bool = False) -> Averaged:
    """Standard deviation.

    EMAN2's sigma: √(Σ(x − mean)² / n) of each pixel. `ignore0`: of the images that are not 0 there.
    """
    return Averaged(single(pixel_statistics(images, ignore0)[1]))


@AVERAGERS.register("median")
def median(images: np.ndarray, ctfs: list[EmanCTF] | None, apix: float) -> Averaged:
    """Median.

    EMAN2's median: of each pixel; of an even number of images the mean of the two in the middle.
    """
    return Averaged(single(np.median(images, axis=0)))


@AVERAGERS.register("minmax")
def minmax(
    images: np.ndarray,
    ctfs: list[EmanCTF] | None,
    apix: float,
    *,
    max: bool = False,
    abs: bool = False,
    owner: np.ndarray | None = None,
) -> Averaged:
    """Lowest or highest value.

    EMAN2's minmax: of each pixel the lowest value, or with `max` the highest; with `abs` that of the lowest or highest
    absolute value. `owner` (an image) changes nothing.
    """
    size = np.abs(images) if abs else images
    which = (size.argmax if max else size.argmin)(axis=0)
    return Averaged(single(np.take_along_axis(images, which[None], axis=0)[0]))


def require_ctfs(name: str, images: np.ndarray, ctfs: list[EmanCTF] | None) -> list[EmanCTF]:
    """The CTFs, one for each image. Raises ParameterError unless there are as many; `name` is the averager's."""
    if ctfs is None or len(ctfs) != len(images):
        raise ParameterError(
            f"{name} needs a CTF in the header of every particle: {len(images)} images, {len(ctfs or [])} CTF"
        )
    return ctfs


def skip_middle_row(values: np.ndarray) -> np.ndarray:
    """CTF images (n, y, x // 2 + 1) with 1 in the middle row of odd boxes, changed in place: EMAN2's loops leave it
    out.
    """
    nx = values.shape[-2]
    if nx % 2:
        values[..., nx // 2, :] = 1
    return values


def weighted_by_snr(
    images: np.ndarray, ctfs: list[EmanCTF], *, bfactor: float, at_zero: float, base: float
) -> Averaged:
    """Σ F SNR / |CTF| over `base` + Σ SNR, F the transforms, the CTF with another B-factor (Å²).

    `at_zero` stands for an SNR of 0; coefficients beyond ring n / 2 − 1 become 0.
    """
    from scipy import fft

    nx = images.shape[-2]
    top, total = np.zeros((nx, nx // 2 + 1), complex), np.full((nx, nx // 2 + 1), base)
    for image, ctf in zip(images, ctfs):
        snr = skip_middle_row(ctf_image(ctf, "SNR", nx))
        snr = np.where(snr < 0, LEAST_SNR, np.where(snr == 0, at_zero, snr))
        size = np.maximum(skip_middle_row(ctf_image(replace(ctf, bfactor=bfactor), "ABS", nx)), LEAST_CTF)
        top += fft.rfft2(image.astype(np.float64)) * (snr / size)
        total += snr
    inside = folded(nx)[:, None] ** 2 + np.arange(nx // 2 + 1) ** 2 <= (nx - 2) ** 2 // 4
    spectrum = np.where(inside, top / np.maximum(total, LEAST_TOTAL), 0)
    return Averaged(single(fft.irfft2(spectrum, s=images.shape[1:])), radial_mean(total)[: nx // 2], base > 0)


@AVERAGERS.register("ctf.auto", corrects_ctf=True, gives_snr=True)
def ctf_auto(images: np.ndarray, ctfs: list[EmanCTF] | None, apix: float) -> Averaged:
    """CTF-corrected mean, weighted by SNR.

    EMAN2's ctf.auto: Σ F SNR / max(|CTF|, 0.05) over max(Σ SNR, 0.05), F the transforms, SNR the curve of each header
    (0 or less: 0.001), CTF without B-factor; beyond ring ny/2 − 1 it is 0. ParameterError without CTF.
    """
    return weighted_by_snr(images, require_ctfs("ctf.auto", images, ctfs), bfactor=0, at_zero=LEAST_SNR, base=0.0)


@AVERAGERS.register("ctfw.auto", corrects_ctf=True, gives_snr=True)
def ctfw_auto(images: np.ndarray, ctfs: list[EmanCTF] | None, apix: float) -> Averaged:
    """CTF-corrected mean, weighted by SNR, Wiener-filtered.

    EMAN2's ctfw.auto: Σ F SNR / max(|CTF|, 0.05) over 1 + Σ SNR, CTF with B-factor 100 Å²; otherwise as ctf.auto (an
    SNR of 0 stays 0).
    """
    return weighted_by_snr(images, require_ctfs("ctfw.auto", images, ctfs), bfactor=SHARPENING, at_zero=0.0, base=1.0)


def weighted_sums(images: np.ndarray, ctfs: list[EmanCTF] | None) -> tuple[np.ndarray, np.ndarray]:
    """Σ F CTF² and Σ CTF² of images (n, y, x), two half-spectra; the CTF without B-factor, 1 without CTFs."""
    from scipy import fft

    nx = images.shape[-2]
    top, total = np.zeros((nx, nx // 2 + 1), complex), np.zeros((nx, nx // 2 + 1))
    for number, image in enumerate(images):
        weight = 1.0 if ctfs is None else skip_middle_row(ctf_image(replace(ctfs[number], bfactor=0), "INTEN", nx))
        top += fft.rfft2(image.astype(np.float64)) * weight
        total += weight
    return top, total


@AVERAGERS.register("ctf.weight", corrects_ctf=True)
def ctf_weight(images: np.ndarray, ctfs: list[EmanCTF] | None, apix: float) -> Averaged:
    """Mean, weighted by CTF².

    EMAN2's ctf.weight: Σ F CTF² / Σ CTF², F the transforms, CTF without B-factor. ParameterError without CTF.
    """
    from scipy import fft

    top, total = weighted_sums(images, require_ctfs("ctf.weight", images, ctfs))
    return Averaged(single(fft.irfft2(top / np.where(total > 0, total, 1), s=images.shape[1:])), wiener_filtered=False)


def as_applied(factor: np.ndarray, odd: bool) -> np.ndarray:
    """A filter (y, x // 2 + 1) as EMAN2 applies it, over both signs of y: squared on the first and the last column, and
    1 in the middle row of odd boxes.
    """
    middle = len(factor) // 2
    out = factor.copy()
    for column in (0, -1):
        out[1:, column] **= 2
        out[middle, column] = factor[middle, column]
    if odd:
        out[middle, 1:-1] = out[middle + 1, [0, -1]] = 1
    return out


@AVERAGERS.register("ctf.weight.autofilt", corrects_ctf=True)
def ctf_weight_filtered(images: np.ndarray, ctfs: list[EmanCTF] | None, apix: float) -> Averaged:
    """Mean, weighted by CTF², filtered by the agreement of halves.

    EMAN2's ctf.weight.autofilt: Σ F CTF² / (0.1 + Σ CTF²) of every second image and of the rest, both added and
    multiplied by 2f / (1 + f), f the Fourier ring correlation of the two (0.001 to 0.9999), 0 beyond Nyquist. As in
    EMAN2 the filter counts twice on the first and last column of the transform; the sum of both halves is twice their
    mean; and a single image is only multiplied by CTF². Without CTF it is taken to be 1.
    """
    from scipy import fft

    nx = images.shape[-2]
    halves = [weighted_sums(images[half::2], None if ctfs is None else ctfs[half::2]) for half in (0, 1)]
    if len(images) == 1:
        return Averaged(single(fft.irfft2(halves[0][0], s=images.shape[1:])))
    first, second = (top / (START + total) for top, total in halves)
    agreement = ring_correlations(first[None], second[None])[0]
    f = np.clip(np.where(np.isfinite(agreement), agreement, 0), LEAST_FRC, MOST_FRC)
    ring = radius(nx).astype(int)
    factor = np.where(ring < len(f), (2 * f / (1 + f))[np.minimum(ring, len(f) - 1)], 0)
    spectrum = (first + second) * as_applied(factor, nx % 2 == 1)
    corners = np.ix_([0, nx // 2], [0, -1])  # EMAN2 takes them to be their own Friedel mates, in odd boxes too
    spectrum[corners] = spectrum[corners].real
    return Averaged(single(fft.irfft2(spectrum, s=images.shape[1:])), wiener_filtered=True)


@AVERAGERS.register("weightedfourier")
def weighted_fourier(images: np.ndarray, ctfs: list[EmanCTF] | None, apix: float) -> Averaged:
    """Mean, weighted by each image's SNR curve.

    EMAN2's weightedfourier: Σ F w / Σ w, F the transforms, w a curve of each image. There w is the header avg_weight,
    which no file can hold; here it is the SNR curve of the header's CTF (0 or less: 0.001). ParameterError without CTF.
    """
    from scipy import fft

    nx = images.shape[-2]
    top, total = np.zeros((nx, nx // 2 + 1), complex), np.zeros((nx, nx // 2 + 1))
    for image, ctf in zip(images, require_ctfs("weightedfourier", images, ctfs)):
        snr = ctf_image(ctf, "SNR", nx)
        weight = np.where(snr > 0, snr, LEAST_SNR)
        top += fft.rfft2(image.astype(np.float64)) * weight
        total += weight
    return Averaged(single(fft.irfft2(top / total, s=images.shape[1:])))


@AVERAGERS.register("localweight")
def local_weight(images: np.ndarray, ctfs: list[EmanCTF] | None, apix: float) -> Averaged:
    """Mean, weighted where an image agrees with the sum of all.

    EMAN2's localweight of 2015 to 2019: Σ x w / Σ w, w the image times the sum of all (that with border mean 0 and
    deviation 1), low-passed (1/e at 50 Å), 0 where negative.
    """
    whole = by_edge_mean(images.sum(axis=0), apix)
    agreement = [image_of(lowpass_gauss(single(image * whole), apix, cutoff_freq=LOCAL)) for image in images]
    weight = np.maximum(np.array(agreement, np.float64), 0)
    return Averaged(single((images * weight).sum(axis=0) / (weight.sum(axis=0) + LEAST_WEIGHT)))


@AVERAGERS.register("iterative", "iteration")
def iterative(images: np.ndarray, ctfs: list[EmanCTF] | None, apix: float) -> Averaged:
    """Mean, smoothed within its error.

    EMAN2's iteration of 2011: 1000 steps from the mean m, each pixel but the border plus a hundredth of erfc(|x − m| /
    s) times the mean of its four neighbours less itself, s the deviation of the standard errors of all pixels.
    """
    from scipy.special import erfc

    start = images.mean(axis=0, dtype=np.float64)
    spread = float((images.std(axis=0, dtype=np.float64) / np.sqrt(len(images))).std(ddof=1))
    out, inner = start.copy(), (slice(1, -1), slice(1, -1))
    for _ in range(SMOOTHINGS if spread > 0 else 0):
        around = (out[:-2, 1:-1] + out[2:, 1:-1] + out[1:-1, :-2] + out[1:-1, 2:]) / 4 - out[inner]
        out[inner] += around * erfc(np.abs(out[inner] - start[inner]) / spread) / 100
    return Averaged(single(out))
