"""Class averages as e2classaverage calculates them: rounds of alignment to the running average, each of which keeps the
best particles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.maths.eman2.averagers import Averaged
from mpirefine.maths.eman2.comparators.base import About, half_spectra
from mpirefine.maths.eman2.comparators.fourier import ring_correlation
from mpirefine.maths.eman2.poses import Alignment, move_images
from mpirefine.maths.eman2.processors.automask import auto2d
from mpirefine.maths.eman2.processors.catalogue import apply
from mpirefine.maths.eman2.processors.masks import gaussian
from mpirefine.maths.eman2.processors.normalize import by_circle_mean, edge_mean, to_image
from mpirefine.maths.eman2.processors.spectrum import match_to
from mpirefine.maths.eman2.radial import ring_correlations
from mpirefine.maths.eman2.similarity import Comparison
from mpirefine.registry import Component

MASK_SHARE, LEAST_MASK = 12, 5  # width of the mask's soft edge between rounds: 1/12 of the box, at least 5 pixels
AUTOMASK_SEEDS, AUTOMASK_SIGMA = 10, 0.2  # of mask.auto2d between rounds
EDGE_SHARE, EDGE_WIDTH = 15, 20  # --decayedge: averages fall off in the last 1/15 of the box, 1/e after 1/20
SSNR_WINDOW = 9  # rings that the correlation is smoothed over
QUALITY_BANDS = (100.0, 30.0, 10.0)  # Å: FRC at 30-10 over FRC at 100-30


@dataclass(frozen=True)
class Rounds:
    """How a class is averaged.

    `keep` is the share of particles that is kept, or with `keep_sigma` how many standard deviations above the mean a
    quality is still kept. `normproc` normalises particles; `automask` masks the average between rounds by its own
    density; `refsf` gives the average the structure factor of its reference; `prefilt`: what particles are aligned to
    gets their power spectrum. With `decayedge` finished averages fall off
    towards the edge of the box.
    """

    comparison: Comparison
    averager: Component
    iterations: int = 1
    keep: float = 0.9
    keep_sigma: bool = False
    normproc: Component | None = None
    automask: bool = False
    refsf: bool = False
    prefilt: bool = False
    decayedge: bool = False


@dataclass(frozen=True)
class ClassAverage:
    """A class average (y, x), those of its two halves (2, y, x), and what is known of each particle."""

    image: np.ndarray
    halves: np.ndarray
    half_count: tuple[int, int]  # particles in each
    used: np.ndarray  # (n,) bool
    alignment: Alignment  # (n,) takes each particle onto the average
    quality: np.ndarray  # (n,) of the comparator, smaller is better
    ssnr: np.ndarray  # (k,) f / (1 − f) of the smoothed ring correlation with the reference
    class_quality: float
    snr_total: np.ndarray | None = None  # of CTF averagers
    wiener_filtered: bool | None = None
    half_snr: tuple[np.ndarray | None, np.ndarray | None] = (None, None)


@dataclass(frozen=True)
class ClassMembers:
    """The particles of a class: images (n, y, x), the images that are scored instead (or the same array), CTFs,
    half-set (n,).
    """

    images: np.ndarray
    scored: np.ndarray
    ctfs: list[EmanCTF] | None
    half: np.ndarray


def best_particles(quality: np.ndarray, keep: float, sigma: bool) -> np.ndarray:
    """Which particles (n,) are kept, EMAN2's rule: those not worse than the int(n·keep)-th best quality, or than mean +
    keep·sigma, and always the best one.
    """
    order = np.sort(quality)
    if sigma:
        worst = float(quality.mean() + keep * quality.std())
    else:
        at = int(len(quality) * keep)
        worst = float(order[at]) if at < len(quality) else np.inf
    chosen = quality <= worst
    return chosen if chosen.any() else quality <= order[0]


def average_class(
    members: ClassMembers, reference: np.ndarray, how: Rounds, about: About, focus: np.ndarray | None = None
) -> ClassAverage:
    """Average at least one particle. `reference` (y, x) is the projection, `focus` what the second aligner takes
    instead; `about` has one row for each particle.

    EMAN2's order: align to the reference, average; then `iterations` rounds of align to the average, keep the best,
    average; at the end the average is aligned to the projection, and the particles are moved once, from their original
    images.
    """
    images, scored = normalise_all(members.images, how, about), members.scored
    scored = images if scored is members.images else normalise_all(scored, how, about)
    target, used = reference, np.ones(len(images), bool)
    for number in range(how.iterations + 1):
        found = how.comparison.align_to(scored, as_aligned(target, scored, how, about), about, focus)
        quality = how.comparison.cmp(move_images(scored, found), target, about)
        if number < how.iterations:
            ctfs = [c for c, use in zip(members.ctfs, used) if use] if members.ctfs is not None else None
            target = next_target(
                how.averager(move_images(scored[used], found.take(used)), ctfs, about.apix).image, how, about
            )
            about = replace(about, count=float(used.sum()))
        used = best_particles(quality, how.keep, how.keep_sigma) if len(images) > 1 else used
    if how.iterations:
        towards = how.comparison.align_to(target[None], reference, about_average(about, used))
        found = towards.after(found)
    placed = move_images(images, found)
    whole, halves = averages(placed, members, used, how, about)
    curve = np.nan_to_num(ring_correlations(half_spectra(whole.image[None]), half_spectra(reference[None]))[0])
    finish = finished(whole.image, reference, how, about)
    pair = np.stack([finished(half.image, reference, how, about) for half in halves])
    counts = (int((used & (members.half == 0)).sum()), int((used & (members.half == 1)).sum()))
    return ClassAverage(
        finish,
        pair,
        counts,
        used,
        found,
        quality,
        ssnr(curve),
        class_quality(whole.image, reference, about.apix),
        whole.snr_total,
        whole.wiener_filtered,
        (halves[0].snr_total, halves[1].snr_total),
    )


def about_average(about: About, used: np.ndarray) -> About:
    """What is known of the average of the particles used: their SNRs are added, their CTF² averaged."""
    some, count = about.take(used), float(used.sum())
    total = None if some.snr is None else count * np.mean(np.atleast_2d(some.snr), axis=0)
    transfer = some.transfer and some.transfer.changed(lambda v: v if v.ndim < 3 else np.mean(v, axis=0))
    return replace(some, snr=total, transfer=transfer, count=count)


def as_aligned(target: np.ndarray, images: np.ndarray, how: Rounds, about: About) -> np.ndarray:
    """The target (y, x) that images are aligned to; with `prefilt` with the power spectrum of each, (n, y, x)."""
    if not how.prefilt:
        return target
    return np.stack([match_to(target, about.apix, to=image) for image in images])


def normalise_all(images: np.ndarray, how: Rounds, about: About) -> np.ndarray:
    """Every image after the processor `normproc`, if there is one."""
    return images if how.normproc is None else np.stack([apply(how.normproc, image, about.apix)[0] for image in images])


def averages(
    placed: np.ndarray, members: ClassMembers, used: np.ndarray, how: Rounds, about: About
) -> tuple[Averaged, list[Averaged]]:
    """The average of the particles used, and those of its two halves; a half without particles is blank."""

    def of(rows: np.ndarray) -> Averaged:
        ctfs = None if members.ctfs is None else [members.ctfs[i] for i in np.flatnonzero(rows)]
        return how.averager(placed[rows], ctfs, about.apix)

    whole = of(used)
    blank = Averaged(
        np.zeros_like(whole.image),
        None if whole.snr_total is None else np.zeros_like(whole.snr_total),
        whole.wiener_filtered,
    )
    return whole, [of(rows) if rows.any() else blank for rows in (used & (members.half == h) for h in (0, 1))]


def next_target(average: np.ndarray, how: Rounds, about: About) -> np.ndarray:
    """The running average as the next round aligns to it: mean 0 on a circle, masked with a soft edge."""
    nx = len(average)
    edge = max(LEAST_MASK, nx // MASK_SHARE)
    average = by_circle_mean(average, about.apix)
    if how.automask:
        return auto2d(
            average, about.apix, nmaxseed=AUTOMASK_SEEDS, nshells=edge - 2, nshellsgauss=edge, sigma=AUTOMASK_SIGMA
        )
    return gaussian(average, about.apix, inner_radius=nx // 2 - edge, outer_radius=edge / 1.3)


def finished(average: np.ndarray, reference: np.ndarray, how: Rounds, about: About) -> np.ndarray:
    """The average as it is stored; a blank one stays blank."""
    if not average.any():
        return average
    average = like_reference(average, reference, how, about)
    return decayed(average, about.apix) if how.decayedge else average


def decayed(average: np.ndarray, apix: float) -> np.ndarray:
    """e2classaverage's --decayedge: normalised by the mean on a circle, with a Gaussian fall-off beyond it."""
    nx = len(average)
    radius = nx // 2 - nx // EDGE_SHARE
    flat = by_circle_mean(average, apix, radius=radius)
    return gaussian(flat, apix, inner_radius=radius, outer_radius=max(nx // EDGE_WIDTH, 1))


def like_reference(average: np.ndarray, reference: np.ndarray, how: Rounds, about: About) -> np.ndarray:
    """The average on the grey scale of its reference, or with `refsf` with its structure factor and the mean of the
    border 0.
    """
    if how.refsf:
        matched = match_to(average, about.apix, to=reference, keephires=True)
        return (matched - np.float32(edge_mean(matched))).astype(np.float32)
    return to_image(average, about.apix, to=reference)


def ssnr(curve: np.ndarray) -> np.ndarray:
    """EMAN2's class_ssnr: f / (1 − f) of a ring correlation smoothed over 9 rings."""
    pad = SSNR_WINDOW // 2
    smooth = np.convolve(np.pad(curve, pad, mode="edge"), np.full(SSNR_WINDOW, 1 / SSNR_WINDOW), "valid")
    return smooth / np.maximum(1 - smooth, 1e-3)


def class_quality(average: np.ndarray, reference: np.ndarray, apix: float) -> float:
    """EMAN2's class_qual: the comparator frc with the reference from 30 to 10 Å, divided by that from 100 to 30 Å; 0
    where the latter is not positive.
    """
    low, middle, high = QUALITY_BANDS
    bands = ((low, middle), (middle, high))
    coarse, fine = (
        -ring_correlation(average, reference, About(apix), minres=first, maxres=last)[0] for first, last in bands
    )
    return float(fine / coarse) if coarse > 0 else 0.0
