"""Two images aligned and compared by named components, as e2simmx and e2classaverage do it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.aligners.base import limit_shift, own_search
from mpirefine.maths.eman2.aligners.exhaustive import PoseSearch
from mpirefine.maths.eman2.comparators.base import About, Along
from mpirefine.maths.eman2.poses import Alignment, move_images
from mpirefine.maths.eman2.processors.geometry import fft_resample
from mpirefine.maths.eman2.processors.spectrum import match_to
from mpirefine.registry import Component

CCC, FLIP = "ccc", "rotate_translate_flip"  # EMAN2's default comparator and aligner
NOT_COMPUTED = 1e-4  # above the worst score of a row: what EMAN2 gives references that were left out
FAILED = 1e24  # EMAN2's score of two images that cannot be compared
LEAST_BOX = 12  # pixels; images are not shrunk further


@dataclass(frozen=True)
class Comparison:
    """How images are aligned and compared: an aligner with its comparator, possibly a second aligner that refines the
    result, and the comparator of the score.
    """

    cmp: Component
    align: Component
    aligncmp: Component
    ralign: Component | None = None
    raligncmp: Component | None = None

    def align_to(
        self, images: np.ndarray, target: np.ndarray, about: About, focus: np.ndarray | None = None
    ) -> Alignment:
        """The transforms that take images (n, y, x) onto the target, (y, x) or one each; the second aligner takes them
        onto `focus` (y, x) instead, if there is one.
        """
        found = self.align(images, target, self.aligncmp, about)
        if self.ralign is None:
            return found
        return self.ralign(images, target if focus is None else focus, self.raligncmp or self.aligncmp, about, found)


@dataclass(frozen=True)
class Search:
    """How particles are scored against projections.

    `shrink` is the factor by which both are shrunk (1: none), `first` that of a coarse search before, which leaves the
    best `kept` projections of each particle to the full alignment (0: all are aligned). `prefilt`: projections get the
    power spectrum of the particle; `prectf`: they are multiplied by its |CTF|. With `column_masks`, one for each
    projection, the second aligner moves the particle onto the projection, and masks it there.
    """

    comparison: Comparison
    mask: np.ndarray | None = None  # (y, x)
    prefilt: bool = False
    shrink: float = 1.0
    first: float = 0.0
    kept: int = 32
    prectf: bool = False
    column_masks: np.ndarray | None = None  # (r, y, x)


@dataclass(frozen=True)
class Scores:
    """One row of a similarity matrix: scores (r,), smaller is better, and the transforms that take the particle onto
    each reference.
    """

    score: np.ndarray
    alignment: Alignment


def shrink_box(nx: int, factor: float) -> int:
    """The box of shrunk images: even, so that pixel n // 2 stays the centre."""
    return nx if factor <= 1 else min(nx, max(LEAST_BOX, 2 * round(nx / factor / 2)))


def shrink_images(images: np.ndarray, factor: float) -> np.ndarray:
    """Images (n, y, x) resampled in Fourier space to about 1 / factor of their box; their mean grey value is kept."""
    nx = images.shape[-1]
    exact = nx / shrink_box(nx, factor)
    if exact == 1:
        return images
    return np.stack([fft_resample(image, 1.0, n=exact)[0] for image in images]) / np.float32(exact**2)


def shrink_about(about: About, nx: int, box: int) -> About:
    """What is known of images of nx pixels, for the same images shrunk to `box` pixels: the remaining rings and
    coefficients.
    """
    if box == nx:
        return about
    rows = np.rint(np.fft.fftfreq(box) * box).astype(int) % nx
    return replace(
        about,
        apix=about.apix * nx / box,
        snr=None if about.snr is None else about.snr[..., : box // 2],
        transfer=about.transfer and about.transfer.changed(lambda values: values[..., rows, : box // 2 + 1]),
    )


def reach(aligner: Component, nx: int) -> tuple[float, bool]:
    """Which poses an aligner tries on images of nx pixels: the largest shift in pixels, and whether mirrored ones."""
    maxshift = limit_shift(aligner.value("maxshift") or -1, nx // 4, nx) if "shifts" in aligner.traits else 0.0
    return maxshift, "mirrors" in aligner.traits


class PreparedReferences(NamedTuple):
    """Projections as scores need them, float32."""

    full: np.ndarray  # (r, y, x) shrunk for the alignment
    matrices: np.ndarray  # (r, T, k) for the coarse search; (r, 0, 0) without it
    norm: np.ndarray  # (r,) standard deviation of the images of the coarse search


def first_search(search: Search, nx: int) -> PoseSearch:
    """The coarse search of this thread, over the poses that the aligner can reach on images of `nx` pixels."""
    small = shrink_box(nx, max(search.first, search.shrink))
    maxshift, flip = reach(search.comparison.align, small)
    return own_search(small, maxshift * small / nx if maxshift else 0.0, flip)


def prepared_shapes(search: Search, count: int, nx: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of the arrays of PreparedReferences, of `count` projections of `nx` pixels."""
    grid, full = first_search(search, nx).grid if search.first > 0 else None, shrink_box(nx, search.shrink)
    return (count, full, full), (count, grid.n_angles, grid.n_rings) if grid else (count, 0, 0), (count,)


def prepare_references(images_ryx: np.ndarray, search: Search) -> PreparedReferences:
    """Projections (r, y, x) as scores need them."""
    if not len(images_ryx):
        return PreparedReferences(
            *(np.zeros(shape, np.float32) for shape in prepared_shapes(search, 0, images_ryx.shape[-1]))
        )
    full, coarsest = shrink_images(images_ryx, search.shrink), max(search.first, search.shrink)
    small = shrink_images(images_ryx, coarsest) if coarsest > search.shrink else full
    matrices = np.zeros((len(images_ryx), 0, 0), np.float32)
    if search.first > 0:
        matrices = first_search(search, images_ryx.shape[-1]).prepare(small)
    return PreparedReferences(full, matrices, np.maximum(small.std(axis=(1, 2)), 1e-30))


class ReferenceStack:
    """Projections (r, y, x), prepared to be compared with one particle after another.

    `along` (r,) is how far, in pixels, particles may be shifted along the axis of helices; infinite for other maps.
    `prepared` is what `prepare_references` gives of them.
    """

    def __init__(
        self,
        images_ryx: np.ndarray,
        search: Search,
        along: np.ndarray | None = None,
        prepared: PreparedReferences | None = None,
    ):
        self.search, self._nx, self._along = search, images_ryx.shape[-1], along
        self._coarsest = max(search.first, search.shrink)
        self.full, self._prepared, self.norm = prepared or prepare_references(images_ryx, search)
        self.mask = None if search.mask is None else shrink_images(search.mask[None], search.shrink)[0]
        masks = search.column_masks
        self.column_masks = None if masks is None else shrink_images(masks, search.shrink)
        self.empty = (images_ryx == images_ryx[:, :1, :1]).all(axis=(1, 2))

    def scores(self, particle: np.ndarray, about: About, wanted: np.ndarray | None = None) -> Scores:
        """Scores of one particle (y, x) against all references, or those `wanted` (r,). The rest, constant references,
        and those that the coarse search leaves out get a score above the worst. ParameterError without a CTF that is
        asked for.
        """
        search, rows = self.search, np.flatnonzero(~self.empty if wanted is None else ~self.empty & wanted)
        score = np.full(len(self.full), np.inf)
        places = Alignment.of(np.zeros(len(self.full)))
        if not len(rows):
            return Scores(score, places)
        if search.first > 0 and len(rows) > search.kept:
            small = shrink_images(particle[None], self._coarsest)[0]
            rows = rows[np.argsort(self._coarse_scores(small, rows), kind="stable")[: search.kept]]
        image = shrink_images(particle[None], search.shrink)[0]
        found, value = self._align_and_score(image, rows, shrink_about(about, self._nx, image.shape[-1]))
        score[rows] = np.where(np.isnan(value), FAILED, value)
        score[~np.isin(np.arange(len(score)), rows)] = score[rows].max() + NOT_COMPUTED
        for whole, part in (
            (places.alpha, found.alpha),
            (places.tx, found.tx),
            (places.ty, found.ty),
            (places.mirror, found.mirror),
            (places.scale, found.scale),
        ):
            whole[rows] = part
        return Scores(score, places)

    def _coarse_scores(self, particle: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Scores (n,) of the coarse search: minus the best correlation over all in-plane poses."""
        along = self._along_of(rows, particle.shape[-1])
        return -first_search(self.search, self._nx).highest(self._prepared[rows], particle, along) / self.norm[rows]

    def _along_of(self, rows: np.ndarray, box: int) -> Along | None:
        """How far particles of `box` pixels may be shifted along the axes of some projections, which are moved."""
        if self._along is None or not np.isfinite(self._along[rows]).any():
            return None
        return Along(self._along[rows] * (box / self._nx), True)

    def _align_and_score(self, particle: np.ndarray, rows: np.ndarray, about: About) -> tuple[Alignment, np.ndarray]:
        """The transforms that take the particle onto references, and their scores."""
        references = self.full[rows]
        masks = None if self.column_masks is None else self.column_masks[rows]
        if self.search.prectf:
            references = times_ctf(references, about)
        if self.search.prefilt:
            references = match_spectra(references, particle, about.apix, masks)
        about = replace(about, along=self._along_of(rows, particle.shape[-1]))
        found = (
            self.search.comparison.align_to(references, particle, about)
            if masks is None
            else align_masked(self.search.comparison, references, particle, about, masks)
        )
        placed, against = move_images(references, found), particle
        if self.mask is not None:
            placed, against = placed * self.mask, particle * self.mask
        back = found.inverse()
        factor = self._nx / particle.shape[-1]
        scores = self.search.comparison.cmp(against, placed, about)
        return replace(back, tx=back.tx * factor, ty=back.ty * factor), scores


def match_spectra(
    references: np.ndarray, particle: np.ndarray, apix: float, masks: np.ndarray | None = None
) -> np.ndarray:
    """References (n, y, x) with the power spectrum of a particle (y, x), times `masks` (n, y, x), or 0 where they were
    0: EMAN2's prefilt.
    """
    support = references != 0 if masks is None else masks
    return np.stack([match_to(image, apix, to=particle) for image in references]) * support


def times_ctf(references: np.ndarray, about: About) -> np.ndarray:
    """References (n, y, x) times |CTF| of a particle: EMAN2's prectf. ParameterError without a CTF."""
    if about.intensity is None:
        raise ParameterError("--prectf needs particles with a CTF")
    spectra = np.fft.rfft2(references) * np.sqrt(about.intensity)
    return np.fft.irfft2(spectra, s=references.shape[1:]).astype(np.float32)


def align_masked(
    how: Comparison, references: np.ndarray, particle: np.ndarray, about: About, masks: np.ndarray
) -> Alignment:
    """The transforms that take references (n, y, x) onto a particle (y, x), as EMAN2 finds them with colmasks.

    The second aligner takes the particle onto each reference, and multiplies it by that one's mask (n, y, x).
    """
    start, refine = how.align(references, particle, how.aligncmp, about).inverse(), how.ralign
    if refine is None:
        return start.inverse()
    out = []
    for i, (reference, mask) in enumerate(zip(references, masks)):
        masked = replace(refine, parameters={**refine.parameters, "mask": mask})
        found = masked(particle[None], reference, how.raligncmp or how.aligncmp, about, start.take(slice(i, i + 1)))
        out.append(found.inverse())
    return Alignment.concatenate(out)
