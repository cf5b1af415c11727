"""Own particles as EMAN2's programs take them, and their scores against all projections, row by row."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.ctf import curve, from_params, phase_flip
from mpirefine.maths.eman2.similarity import ReferenceStack, Scores
from mpirefine.steps.shared.particles import OwnParticles
from mpirefine.steps.threads import run_in_threads

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
    keep: Callable[[int, Scores], None],
    *,
    wanted: np.ndarray | None = None,
    threads: int = 1,
) -> None:
    """Call `keep` with own rows and their scores; rows that are set aside are left out. It is called from several
    threads where there are more than one, each time with another row.

    `wanted` (own rows, r) are the references that each of the own rows is scored against; without it all of them.
    """
    aside = particles.particles.set_aside
    starts, lock = iter(range(0, len(rows), CHUNK)), threading.Lock()

    def work(thread: int) -> None:
        for start in starts:
            chunk = rows[start : start + CHUNK]
            with lock:  # stacks are read by one thread at a time
                images, known = particles.images(chunk), particles.about(chunk, box)
            for row, image, about in zip(chunk, images, known):
                if not aside[row]:
                    keep(int(row), references.scores(image, about, None if wanted is None else wanted[row]))
            with lock:
                progress(len(chunk))

    run_in_threads(work, range(threads), starts)
