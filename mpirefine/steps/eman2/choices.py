"""Components and parameters of EMAN2's way: how it projects, scores, averages and reconstructs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpirefine.maths.eman2.class_averaging import Rounds
from mpirefine.maths.eman2.similarity import Search
from mpirefine.registry import Component


@dataclass(frozen=True)
class Views:
    """How maps are projected; with `breaksym` in all symmetry-related views."""

    projector: Component
    orientgen: Component
    prethreshold: bool = False
    breaksym: bool = False
    postprocess: tuple[Component, ...] = ()  # of each projection, one after the other


@dataclass(frozen=True)
class MapMaking:
    """How a map is made from class averages: by `passes` of a reconstructor, in a box of `pad` pixels.

    A `pad` below the box of the images is that box; `volume_box` is the box of the
    reconstruction, if it is another one, and `out_box` that of the map. After
    each pass but the last, class averages that disagree with the map are left out: `keep` is the share that stays or,
    with `keep_sigma`, the number of standard deviations below the mean quality down to which they stay. Qualities are
    relative to those of averages of about as many particles, or with `keep_absolute` as they are. `start` (z, y, x) is
    in every pass in the sums before the averages, with weight `start_weight` at each coefficient. A
    reconstructor that cannot compare them makes one pass.
    """

    recon: Component
    pad: int = 0
    passes: int = 2
    keep: float = 0.8
    keep_sigma: bool = False
    preprocess: tuple[Component, ...] = ()  # of the averages, one after the other
    postprocess: tuple[Component, ...] = ()  # of the map
    structure_factor: np.ndarray | None = None  # (n, 2): spatial frequency in 1/Å, intensity
    volume_box: int = 0
    out_box: int = 0
    keep_absolute: bool = False
    start: np.ndarray | None = None
    start_weight: float = 1.0

    @property
    def compares(self) -> bool:
        """Whether class averages can be compared with the map."""
        return "compares" in self.recon.traits


@dataclass(frozen=True)
class Choices:
    """All components of EMAN2's way, the same on every rank.

    With `automask`, scores are taken only over pixels where some projection is not zero; with `own_filter` maps are
    Wiener-filtered by the FSC of their half-maps.
    """

    views: Views
    search: Search
    rounds: Rounds
    maps: MapMaking
    automask: bool = True
    own_filter: bool = True
