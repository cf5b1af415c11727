"""What the steps of an iteration share: the state they hand on, and the context they work in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.keys import HELD_OUT, uniform
from mpirefine.data.partition import Block, Partition
from mpirefine.data.poses import Assignments, Candidates, Orientations
from mpirefine.distribution.team import Team
from mpirefine.maths.likelihood.held_out_test import LEAST_PARTICLES
from mpirefine.steps.likelihood.search_plan import LevelPlan, SearchPlan
from mpirefine.steps.shared.particles import OwnParticles

if TYPE_CHECKING:
    from mpirefine.maths.likelihood.fourier_volume import Slab
    from mpirefine.steps.eman2.choices import ClassMethod
    from mpirefine.steps.eman2.class_averages import OneClass
    from mpirefine.steps.eman2.scores import FlippedParticles
    from mpirefine.steps.eman2.views import Projections
    from mpirefine.steps.likelihood.project import References


MOST_HELD_OUT = 2000  # particles
HELD_OUT_SHARES = (
    0.05,
    0.2,
)  # of the particles, automatic: more where there are few, down to which a test has little power
HELD_OUT_PER_MAP = 60
SLOW_HALVING, SLOW_SHARE = 4, 2 / 15  # iterations, but of a short run at most this share


class Silent:
    """A progress bar that shows nothing."""

    def update(self, count: int) -> None:
        """`count` more are done."""


@contextmanager
def no_progress(total: int, label: str) -> Iterator[Silent]:
    """The default of `Context.progress`."""
    yield Silent()


@dataclass(frozen=True)
class Noise:
    """Noise power per Fourier pixel (g, k = 0 .. nx // 2) float64 and grey scale of the maps (g,) of each group of
    particles.
    """

    sigma2: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class State:
    """The refinement between two steps; a step returns a new one. Arrays of maps are on rank 0 only, rows of particles
    are each rank's own.
    """

    iteration: int
    noise: Noise
    rings: tuple[int, ...]  # rings of each map used for matching
    volumes: np.ndarray | None = None  # (m, z, y, x) float32: references of this iteration, then its result
    previous: np.ndarray | None = None  # (m, z, y, x): the maps the iteration began with
    halves: np.ndarray | None = None  # (m, 2, z, y, x)
    orientations: Orientations | None = None  # of the projections, all ranks
    origins: np.ndarray | None = (
        None  # (m, 3) voxels: where each map's old origin lies, if maps moved after particles were matched
    )
    levels: LevelPlan | None = None
    candidates: Candidates | None = None  # own particles
    assignments: Assignments | None = None  # own particles
    last: Poses | None = None  # own particles, of the iteration before
    trust: np.ndarray | None = (
        None  # (p,) own particles: 1, or less for those that fit far worse than their group; None: all 1
    )
    grey: np.ndarray | None = None  # (p,) own particles: grey scale relative to their group's; None: all 1
    classes: tuple[OneClass, ...] = ()  # own class averages, where maps are made of those
    map_headers: tuple[dict[str, Any], ...] = ()  # EMAN2's, of each map made of class averages
    slab: Slab | None = None  # own kz planes of the sums, maps × halves
    curves: dict[str, np.ndarray] = field(default_factory=dict)  # rank 0: FSC and other curves of this iteration
    summary: dict[str, Any] = field(default_factory=dict)  # all ranks: shares, resolutions, moves
    history: tuple[dict[str, Any], ...] = ()  # summaries of earlier iterations, all ranks
    converged: bool = False

    @property
    def finest(self) -> int:
        """The last ring used for matching by any map."""
        return max(self.rings)

    @property
    def dropped(self) -> tuple[int, ...]:
        """Maps that take no part any more."""
        return tuple(m for summary in self.history for m in summary.get("dropped", ()))


def amplitude(state: State, ctx: Context, rows: np.ndarray) -> np.ndarray:
    """(n,) grey scale of the maps in own rows: that of their group times their own."""
    scale = state.noise.scale[ctx.particles.table.group[rows]]
    return scale if state.grey is None else scale * state.grey[rows]


@dataclass(frozen=True)
class Poses:
    """The hard pose of each own particle: map, rotation (p, 3, 3), shift (p, 2) in pixels."""

    model: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray

    def take(self, rows: np.ndarray) -> Poses:
        """Those of some rows."""
        return Poses(self.model[rows], self.rotation[rows], self.shift[rows])


@dataclass
class Context:
    """What does not change from step to step: who we are, what we read, what was asked, and where results go."""

    team: Team
    options: Any
    grid: Grid
    symmetries: tuple[str, ...]
    partition: Partition
    particles: OwnParticles
    plan: SearchPlan
    clock: Any
    target_rings: int = 0  # rings that --targetres allows; the first iteration uses them all
    least_rings: int = 1
    first_rings: int = 0  # rings that matching stays at until few particles move; 0: it is free from the start
    run: Any = None
    writer: Any = None  # the open iteration of the run file
    references: References | None = None  # windows of the iteration
    method: ClassMethod | None = None  # where comparators and class averages take the place of the likelihood
    projections: Projections | None = None  # real images, in a window of the iteration
    flipped: FlippedParticles | None = None  # own particles as EMAN2's programs take them
    twins: FlippedParticles | None = None  # their filtered twins, for scores
    resources: ExitStack = field(default_factory=ExitStack)
    mass: tuple[float, ...] | None = None  # kDa of each map
    masks: np.ndarray | None = None  # rank 0: (1 or m, z, y, x) solvent masks, one for all maps or one each
    simmx: np.ndarray | None = None  # own rows × coarse projections, with --keep-simmx
    progress: Callable[[int, str], Any] = no_progress

    def temperature(self, iteration: int) -> float:
        """Temperature of the posterior: from what was asked for down to 1.

        Its excess halves each iteration; slowly where maps have yet to separate, since a particle that is sure too
        early stays where it is.
        """
        halving = min(SLOW_HALVING, SLOW_SHARE * self.options.iter) if self.first_rings else 1
        return 1 + (self.options.temperature - 1) * 0.5 ** ((iteration - 1) / halving)

    def mask_of(self, model: int) -> np.ndarray:
        """On rank 0. The solvent mask (z, y, x) of a map."""
        assert self.masks is not None
        return self.masks[model if len(self.masks) > 1 else 0]

    @cached_property
    def held_period(self) -> int:
        """One of how many particles is held out of the maps; 0 for none: not asked for, one map only, or too few to
        test anything.
        """
        share = self.options.held_out
        if share is None:
            share = float(np.clip(HELD_OUT_PER_MAP * self.models / max(self.partition.n, 1), *HELD_OUT_SHARES))
        period = int(np.ceil(max(1 / share, self.partition.n / MOST_HELD_OUT))) if share else 0
        return period if self.models > 1 and period and self.partition.n // period >= LEAST_PARTICLES else 0

    @cached_property
    def held_out(self) -> np.ndarray:
        """(p,) bool, own particles that no map is made from before the end, drawn by their images' names: copies of one
        go together.
        """
        key = self.particles.table.key
        return uniform(key, HELD_OUT) * self.held_period < 1 if self.held_period else np.zeros(len(key), bool)

    @property
    def block(self) -> Block:
        """Own rows of the particles."""
        return self.partition[self.team.rank]

    @property
    def models(self) -> int:
        return len(self.symmetries)


class Step(Protocol):
    """One stage of an iteration."""

    name: str

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        ...
