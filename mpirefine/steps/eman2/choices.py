"""How EMAN2's way projects, scores, averages and reconstructs: its components; built on rank 0, the same on every
rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.maths.eman2.class_averaging import Rounds
from mpirefine.maths.eman2.similarity import Search
from mpirefine.registry import Component


@dataclass(frozen=True)
class Views:
    """How maps are projected. `breaksym`: all copies of the views of a symmetric map."""

    projector: Component
    orientgen: Component
    prethreshold: bool = False
    breaksym: bool = False
    postprocess: Component | None = None


@dataclass(frozen=True)
class MapMaking:
    """How a map is made of class averages: `passes` of a reconstructor in a box of `pad` pixels (0: that of the
    images).

    After each pass but the last, class averages that disagree are left out: `keep` is the share that stays or, with
    `keep_sigma`, how many standard deviations below the mean quality still count.
    """

    recon: Component
    pad: int = 0
    passes: int = 2
    keep: float = 0.8
    keep_sigma: bool = False
    preprocess: Component | None = None
    postprocess: Component | None = None
    structure_factor: np.ndarray | None = None  # (n, 2) 1/Å, intensity


@dataclass(frozen=True)
class Choices:
    """All of it. With `automask`, scores are taken where any projection is not zero."""

    views: Views
    search: Search
    rounds: Rounds
    maps: MapMaking
    automask: bool = True
