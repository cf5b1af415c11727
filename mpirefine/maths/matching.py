"""Two images brought together and compared by named components, as e2simmx and e2classaverage do it."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.maths.align import limited, poses_of
from mpirefine.maths.pairs import About
from mpirefine.maths.processing.geometry import fft_resample
from mpirefine.maths.processing.spectrum import match_to
from mpirefine.maths.transform2d import Alignment, moved
from mpirefine.registry import Component

NOT_COMPUTED = 1e-4        # above the worst score of a row: what EMAN2 gives cells that were left out


@dataclass(frozen=True)
class Matching:
    """How: an aligner with its comparator, possibly a second one that refines its result, and the comparator of the score."""

    cmp: Component
    align: Component
    aligncmp: Component
    ralign: Component | None = None
    raligncmp: Component | None = None

    def aligned(self, images: np.ndarray, target: np.ndarray, about: About) -> Alignment:
        """What takes each image (n, y, x) onto the target, (y, x) or one each."""
        found = self.align(images, target, self.aligncmp, about)
        return found if self.ralign is None else self.ralign(images, target, self.raligncmp or self.aligncmp, about, found)


@dataclass(frozen=True)
class Search:
    """How particles are scored against projections. `shrink` is the factor of both (1: none), `first` that of a search before, which keeps
    the best `kept` projections of each particle for the full alignment (0: all get it)."""

    matching: Matching
    mask: np.ndarray | None = None       # (y, x)
    prefilt: bool = False
    shrink: float = 1.0
    first: float = 0.0
    kept: int = 32


@dataclass(frozen=True)
class Scores:
    """One row of a similarity matrix: score (r,), smaller is better, and what takes the particle onto each reference."""

    score: np.ndarray
    alignment: Alignment


def shrunk(images: np.ndarray, factor: float) -> np.ndarray:
    """Images (n, y, x) resampled in Fourier space to 1 / factor of their box; their mean grey value is kept."""
    if factor <= 1:
        return images
    return np.stack([fft_resample(image, 1.0, n=factor)[0] for image in images]) / np.float32(factor ** 2)


class ReferenceStack:
    """Projections (r, y, x) ready to be matched to one particle after another."""

    def __init__(self, images_ryx: np.ndarray, search: Search):
        self.search = search
        self.full = shrunk(images_ryx, search.shrink)
        self.small = shrunk(images_ryx, search.first) if search.first > 1 else self.full
        mask = search.mask
        self.mask = None if mask is None else shrunk(mask[None], search.shrink)[0] if search.shrink > 1 else mask
        self.norm = np.maximum(self.small.std(axis=(1, 2)), 1e-30)
        self.empty = ~images_ryx.any(axis=(1, 2)) | (images_ryx == images_ryx[:, :1, :1]).all(axis=(1, 2))

    def scores(self, particle: np.ndarray, about: About) -> Scores:
        """Of one particle (y, x) against all references; constant references are never chosen."""
        search, rows = self.search, np.flatnonzero(~self.empty)
        score = np.full(len(self.full), np.inf)
        places = Alignment.of(np.zeros(len(self.full)))
        if search.first > 0 and len(rows) > search.kept:
            rows = rows[np.argsort(self._coarse(shrunk(particle[None], search.first)[0], rows), kind="stable")[:search.kept]]
        image = shrunk(particle[None], search.shrink)[0]
        found, value = self._full(image, rows, replace(about, apix=about.apix * max(search.shrink, 1)))
        score[rows] = np.where(np.isnan(value), 1e24, value)
        left_out = ~np.isin(np.arange(len(score)), rows)
        score[left_out] = score[rows].max(initial=0) + NOT_COMPUTED
        for whole, part in ((places.alpha, found.alpha), (places.tx, found.tx), (places.ty, found.ty), (places.mirror, found.mirror)):
            whole[rows] = part
        return Scores(score, places)

    def _coarse(self, particle: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(n,) scores of the first search: minus the best correlation over all in-plane poses."""
        nx = particle.shape[-1]
        poses = poses_of(self.small[rows], particle[None], limited(-1, nx // 4, nx), flip=True)
        return -poses.value.max(axis=1) / self.norm[rows]

    def _full(self, particle: np.ndarray, rows: np.ndarray, about: About) -> tuple[Alignment, np.ndarray]:
        """What takes the particle onto each reference, and the scores."""
        references = self.full[rows]
        if self.search.prefilt:
            support = references != 0
            references = np.stack([match_to(image, about.apix, to=particle) for image in references]) * support
        found = self.search.matching.aligned(references, particle, about)
        placed, against = moved(references, found), particle
        if self.mask is not None:
            placed, against = placed * self.mask, particle * self.mask
        back = found.inverse()
        factor = max(self.search.shrink, 1)
        return replace(back, tx=back.tx * factor, ty=back.ty * factor), self.search.matching.cmp(against, placed, about)
