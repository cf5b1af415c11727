"""What the steps read of the options: plain values, all chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OnEmpty = Literal["reseed", "freeze", "drop"]


@dataclass(frozen=True)
class Automask:
    """EMAN2's automatic mask of a map: density threshold, radius, growth and soft edge in pixels, number of seeds."""

    threshold: float
    radius: int
    nshells: int
    nshellsgauss: int
    nmaxseed: int


@dataclass(frozen=True)
class Settings:
    """The options that steer the steps; see `program.options` for their meaning to the user."""

    iterations: int  # at most
    seed: int = 0  # of everything random
    threads: int = 1  # per rank
    sep: int = 8  # projections a particle contributes to, at most
    soft: bool = True  # weights by probability, not the best projections with equal weight
    temperature: float = 1.0  # of the first posterior; it falls to 1
    tau2_fudge: float = 4.0  # weight of the data against the prior in the Wiener filter of maps
    held_out: float | None = None  # share of the particles left out of the maps; None: by their number
    min_share: float = 0.05  # a map with less than this part of an equal share of the particles is empty
    on_empty: OnEmpty = "reseed"  # what happens to an empty map
    random_subsets: bool = False  # the starting maps are alike: the first iteration draws a map for every particle
    local: float | None = None  # degrees round the last view that are searched; None: all views
    fixed_poses: bool = False  # poses of the particle file; only the map is chosen
    keep_simmx: bool = False  # keep the scores of all coarse projections
    helical_z: float = 0.3  # central share of a helical map's height, from which its symmetry is imposed
    helical_search: bool = False  # refine twist and rise of helices
    automask: Automask | None = None
    mass: tuple[float, ...] | None = None  # kDa of each map
    patience: int = 3  # iterations without gain after which to stop; 0: never
    block_mb: int = 64  # of a block of class sums
