"""Own particles as EMAN2's programs take them, and their scores against all projections, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.ctf import curve, from_params, phase_flip
from mpirefine.maths.eman2.similarity import ReferenceStack, Scores
from mpirefine.steps.shared.particles import OwnParticles

CHUNK = 16  # particles read together
SNR_SAMPLES = 128  # of the curve to Nyquist
FLAT_SNR = 1.0  # of particles without SNR curve: as if signal and noise had the same spectrum, so that CTF² weights


@dataclass(frozen=True)
class FlippedParticles:
    """Own particles with flipped phases and EMAN2's CTF objects; `apix` in Å."""

    particles: OwnParticles
    apix: float

    def images(self, rows: np.ndarray) -> np.ndarray:
        """(n, y, x) float32 of own rows."""
        images, ctf = self.particles.images(rows), self.particles.table.ctf
        if ctf is None:
            return images
        # phases of premultiplied images are flipped already
        done = [flags[rows] for flags in (ctf.flipped, ctf.premultiplied) if flags is not None]
        raw = np.flatnonzero(~np.any(done, axis=0)) if done else np.arange(len(rows))
        images = np.array(images)
        for i, own in zip(raw, from_params(ctf.take(rows[raw]), self.apix)):
            images[i] = phase_flip(images[i], own)
        return images

    def ctfs(self, rows: np.ndarray) -> list[EmanCTF] | None:
        """The CTF of each own row, with an SNR curve; None where the particles have no CTF."""
        table = self.particles.table
        if table.ctf is None:
            return None
        if table.eman_ctf is not None and table.eman_index is not None:
            return [table.eman_ctf[i] for i in table.eman_index[rows]]
        return [with_flat_snr(own) for own in from_params(table.ctf.take(rows), self.apix)]

    def about(self, rows: np.ndarray, box: int) -> list[About]:
        """Pixel size and CTF curves that comparators may ask for, of each row; `box` in pixels."""
        ctfs = self.ctfs(rows)
        return [About(self.apix)] * len(rows) if ctfs is None else [About.of([ctf], box, self.apix) for ctf in ctfs]


def with_flat_snr(ctf: EmanCTF) -> EmanCTF:
    """The CTF, given an SNR curve of CTF² times a constant up to Nyquist if it has none."""
    if ctf.snr:
        return ctf
    step = 1 / (2 * ctf.apix * (SNR_SAMPLES - 1))
    intensity = FLAT_SNR * curve(ctf, "INTEN", SNR_SAMPLES, step)
    return replace(ctf, dsbg=step, snr=tuple(intensity.tolist()), background=(1.0,) * SNR_SAMPLES)


def score_rows(
    particles: FlippedParticles,
    rows: np.ndarray,
    references: ReferenceStack,
    box: int,
    progress: Callable[[int], object],
    wanted: np.ndarray | None = None,
) -> Iterator[tuple[int, Scores]]:
    """Yield own rows and their scores, one after the other; rows that are set aside are left out.

    `wanted` (own rows, r) are the references that each of the own rows is scored against; without it all of them.
    """
    aside = particles.particles.set_aside
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        for row, image, about in zip(chunk, particles.images(chunk), particles.about(chunk, box)):
            if not aside[row]:
                yield int(row), references.scores(image, about, None if wanted is None else wanted[row])
        progress(len(chunk))
