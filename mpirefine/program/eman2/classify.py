"""The command `classify`: the best references of each particle, as e2classify finds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.score_patterns import pattern_scores
from mpirefine.maths.likelihood.posterior import best_references
from mpirefine.program import logs
from mpirefine.program.eman2 import support
from mpirefine.storage.images import check_writable, write_images


def classify_particles(
    simmx: Path | str, output: Path | str, sep: int, *, by_pattern: bool = False, poses: bool = True
) -> None:
    """Write the `sep` best references of each particle of a similarity matrix, and with `poses` their poses.

    `by_pattern`: best are those whose particles have the most similar scores over all references.

    InputError for files, ParameterError for a `sep` that cannot be used.
    """
    check_writable(output, headers=True)
    planes = support.read_matrix(str(simmx), 1)
    references = planes.shape[2]
    if not 1 <= sep <= references:
        raise ParameterError(f"--sep {sep}: must be 1 to {references}, the number of references")
    best = best_references(pattern_scores(planes[0]) if by_pattern else planes[0], sep=sep)
    row = np.arange(len(best))[:, None]
    more = [plane[row, best] for plane in planes[1:6]] if poses else []
    write_images(output, [best.astype(np.float32), np.ones(best.shape, np.float32), *more], 1.0)
    logs.say(f"{len(best)} particles, {sep} of {references} classes each, in {output}")
