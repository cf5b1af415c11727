"""What the steps of an iteration hand on (State), what they work in (Context), and what a way to refine is (Method)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.keys import HELD_OUT, uniform
from mpirefine.data.partition import Block, Partition
from mpirefine.data.poses import Assignments, Candidates, HardPoses, Orientations
from mpirefine.distribution.team import Team
from mpirefine.maths.likelihood.held_out_test import LEAST_PARTICLES
from mpirefine.maths.likelihood.search_plan import SearchPlan
from mpirefine.steps.settings import Settings
from mpirefine.steps.shared.particles import OwnParticles
from mpirefine.steps.summary import Summary
from mpirefine.steps.workspace import Workspace

# particles held out of the maps when --held-out is not given: as many per map as a test needs, within shares of all
HELD_OUT_PER_MAP = 60
HELD_OUT_SHARES = 0.05, 0.2  # least and largest share
MOST_HELD_OUT = 2000  # particles, also with --held-out
# iterations in which the excess temperature halves while seeds separate; in a short run this share of its iterations
SLOW_HALVING, SLOW_SHARE = 4, 2 / 15


@dataclass(frozen=True)
class Noise:
    """Noise power per Fourier pixel (g, k = 0 .. nx // 2) float64 and grey scale of the maps (g,), by noise group."""

    sigma2: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class State:
    """The refinement between two steps; a step returns a new one.

    Arrays of maps are on rank 0 only and None elsewhere; arrays of particles (p) hold each rank's own rows.
    """

    iteration: int
    noise: Noise
    last_rings: tuple[int, ...]  # (m,) outermost Fourier ring of each map that is used for matching
    half: np.ndarray  # (p,) int8, half-set 0 or 1
    trust: np.ndarray  # (p,) float32, 1, or less for particles that fit far worse than their noise group
    grey: np.ndarray  # (p,) float64, grey scale relative to that of the noise group
    volumes: np.ndarray | None = None  # (m, z, y, x) float32, references of this iteration, then its result
    previous: np.ndarray | None = None  # (m, z, y, x) the references the iteration began with
    halves: np.ndarray | None = None  # (m, 2, z, y, x) half-maps, unmasked
    before_trial: np.ndarray | None = None  # (m, z, y, x) maps to go back to if the open merge and split fails
    orientations: Orientations = field(default_factory=Orientations.none)  # of all projections, on all ranks
    origins: np.ndarray | None = None  # (m, 3) voxels, where the old origin lies in maps that moved after matching
    # best projections of own particles, and what they say of each map
    candidates: Candidates = field(default_factory=lambda: Candidates.empty(0, 0, 0))
    assignments: Assignments = field(default_factory=Assignments.none)  # map and weights of own particles
    last: HardPoses | None = None  # best poses of own particles in the iteration before; None in the first
    simmx: np.ndarray | None = None  # (p, coarse r) scores of own rows, with --keep-simmx
    map_headers: tuple[Mapping[str, object], ...] = ()  # (m,) EMAN2's header values of the maps, where there are any
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)  # rank 0: FSC curves of this iteration by name
    summary: Summary = Summary()  # of this iteration, all ranks
    history: tuple[Summary, ...] = ()  # of the iterations before it and, at its end, its own
    converged: bool = False

    @property
    def finest(self) -> int:
        """Outermost Fourier ring that any map is matched on."""
        return max(self.last_rings)

    @property
    def dropped(self) -> tuple[int, ...]:
        """Maps that take no part any more."""
        return tuple(m for summary in self.history for m in summary.dropped)

    @property
    def live(self) -> list[int]:
        """Maps that take part in this iteration."""
        return [m for m in range(len(self.last_rings)) if m not in self.dropped]

    @property
    def root_volumes(self) -> np.ndarray:
        """On rank 0. The maps (m, z, y, x)."""
        assert self.volumes is not None, "maps are on rank 0"
        return self.volumes


AnyState = TypeVar("AnyState", bound=State)


@dataclass(frozen=True)
class RingLimits:
    """Outermost Fourier rings that maps may be matched on.

    `target` is what --targetres allows, `least` is always used. Coarse matching stays within `first` until few
    particles move; 0: there is no coarse matching.
    """

    target: int
    least: int = 1
    first: int = 0


class Timer(Protocol):
    """Measures seconds and floating-point operations of the steps."""

    def __call__(self, step: str) -> AbstractContextManager[None]:
        """Time what runs inside `with` as part of a step."""

    def count(self, flop: float) -> None:
        """Add floating-point operations to the running step."""


class Bar(Protocol):
    """A progress bar."""

    def update(self, count: int) -> object:
        """`count` more are done."""


class _NoBar:
    def update(self, count: int) -> None:
        """Show nothing."""


@contextmanager
def no_progress(total: int, label: str) -> Iterator[Bar]:
    """Show no progress: the default of `Context.progress`."""
    yield _NoBar()


@dataclass(frozen=True)
class Context:
    """What stays the same over a refinement: who computes, what was read, and what was asked."""

    team: Team
    settings: Settings
    grid: Grid
    symmetries: tuple[str, ...]  # (m,)
    partition: Partition  # of the particles over ranks
    particles: OwnParticles
    plan: SearchPlan
    limits: RingLimits
    clock: Timer
    masks: np.ndarray | None = None  # rank 0: (1 or m, z, y, x) solvent masks, one for all maps or one each
    progress: Callable[[int, str], AbstractContextManager[Bar]] = no_progress

    def temperature(self, iteration: int) -> float:
        """Temperature of the posterior: from --temperature down to 1.

        Its excess over 1 halves in each iteration, more slowly where seeds of one map have to separate: particles that
        are certain of a map too early would not leave it.
        """
        halving = min(SLOW_HALVING, SLOW_SHARE * self.settings.iterations) if self.limits.first else 1
        return 1 + (self.settings.temperature - 1) * 0.5 ** ((iteration - 1) / halving)

    def mask_of(self, model: int) -> np.ndarray:
        """On rank 0. The solvent mask (z, y, x) of a map."""
        assert self.masks is not None, "masks are on rank 0"
        return self.masks[model if len(self.masks) > 1 else 0]

    @cached_property
    def held_period(self) -> int:
        """One particle in this many is held out of the maps; 0: none is.

        None is held out with --held-out 0, with a single map, and where they would be too few for a test.
        """
        share = self.settings.held_out
        if share is None:
            share = float(np.clip(HELD_OUT_PER_MAP * self.models / max(self.partition.n, 1), *HELD_OUT_SHARES))
        period = int(np.ceil(max(1 / share, self.partition.n / MOST_HELD_OUT))) if share else 0
        return period if self.models > 1 and period and self.partition.n // period >= LEAST_PARTICLES else 0

    @cached_property
    def held_out(self) -> np.ndarray:
        """(p,) bool, own particles that no map is made from before the end.

        They are drawn by the names of their images, so that copies of an image go together.
        """
        key = self.particles.table.key
        return uniform(key, HELD_OUT) * self.held_period < 1 if self.held_period else np.zeros(len(key), bool)

    @property
    def block(self) -> Block:
        """Own rows of the particles."""
        return self.partition[self.team.rank]

    @property
    def models(self) -> int:
        """How many maps are refined."""
        return len(self.symmetries)


def stack_on_root(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Stack arrays of one shape that only rank 0 has; on the other ranks `parts` are None, and so is the result."""
    arrays = [part for part in parts if part is not None]
    return np.stack(arrays) if arrays else None


def amplitude(state: State, ctx: Context, rows: np.ndarray) -> np.ndarray:
    """(n,) grey scale α of the maps in own `rows`: that of the noise group times the particle's own."""
    return state.noise.scale[ctx.particles.table.group[rows]] * state.grey[rows]


class Step(Protocol[AnyState]):
    """One stage of an iteration."""

    @property
    def name(self) -> str:
        """What timing.json calls it."""

    def run(self, state: AnyState, ctx: Context) -> AnyState:
        """Collective. A new state with the results of this step."""


@dataclass(frozen=True)
class ImageStack:
    """On rank 0. A file of images (n, y, x) that an iteration leaves in the folder, with EMAN2's header of each."""

    name: str
    images: Sequence[np.ndarray]
    apix: float
    headers: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True)
class FullMap:
    """A map at the particles' own size; all but its number are on rank 0 only."""

    model: int
    volume: np.ndarray | None = None  # (z, y, x), filtered and masked
    halves: np.ndarray | None = None  # (2, z, y, x), neither
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)  # (k,) FSC of the halves by name


class Method(Protocol[AnyState]):
    """A way to refine: what happens before the first iteration, in each, and after the last."""

    @property
    def makes_full_maps(self) -> bool:
        """Whether there are maps at the particles' own size."""

    def describe(self, ctx: Context) -> str:
        """The search, in words."""

    def first(self, state: AnyState, ctx: Context) -> AnyState:
        """Collective. From the starting maps to the state that the first iteration begins with."""

    def steps(self, work: Workspace) -> Sequence[Step[AnyState]]:
        """The steps of one iteration, in order."""

    def stacks(self, state: AnyState, ctx: Context) -> Sequence[ImageStack]:
        """Collective. Stacks of images to write after an iteration; none on other ranks than 0."""

    def stack_bytes(self, state: AnyState, ctx: Context) -> int:
        """Bytes on disk that `stacks` take."""

    def released(self, state: AnyState) -> AnyState:
        """The state without arrays in the iteration's shared windows, which are about to be freed."""

    def full_maps(self, state: AnyState, ctx: Context, grid: Grid) -> Iterator[FullMap]:
        """Collective. The final maps, one after the other, on `grid`, from the images as they were recorded."""

    def last(self, state: AnyState, ctx: Context) -> Conclusion:
        """Collective. After the last iteration: hard maps, and which maps are different states."""


@dataclass(frozen=True)
class Difference:
    """Maps a and b (from 0) and the p-value of one structure behind both; None with too few particles.

    `particles` held out of the maps decide; `fewer` of them prefer the smaller map. `power` is how often the test would
    find two states as different as the maps show, where it found none; else None.
    """

    a: int
    b: int
    p: float | None
    power: float | None
    particles: int
    fewer: int


@dataclass(frozen=True)
class Conclusion:
    """What a method makes after the last iteration."""

    hard_maps: np.ndarray | None = None  # rank 0: (m, z, y, x) of every particle in its best projection only
    differences: tuple[Difference, ...] = ()
