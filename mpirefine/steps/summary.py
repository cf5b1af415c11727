"""An iteration in numbers that all ranks have, for the report, the run file and the decisions of later iterations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from mpirefine.steps.settings import OnEmpty

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True)
class Motion:
    """How much particles changed since the iteration before."""

    moved: float  # share of the particles that changed map
    view_change: float  # degrees, median of those that kept their map
    shift_change: float  # Å, median of those that kept their map


@dataclass(frozen=True)
class Coarse:
    """Coarse matching of seeds made from one map, as decided at the end of an iteration.

    Stages: "fine" (all rings in use), "coarse" (this iteration and the next), "last" (this iteration, not the next).
    """

    stage: Literal["fine", "coarse", "last"] = "fine"
    trial: Literal["none", "begins", "kept", "undone"] = "none"  # of a merge and split of maps
    freed: int = -1  # map that is given up when a trial begins ...
    split: int = -1  # ... and the one that is split into it and itself

    @property
    def continues(self) -> bool:
        """Whether the next iteration is matched on coarse rings."""
        return self.stage == "coarse"


@dataclass(frozen=True)
class RefinedHelix:
    """Twist and rise of a helical map, as found in an iteration, and how well it agrees with its copies by them."""

    model: int
    twist: float  # degrees
    rise: float  # Å
    agreement: float  # mean correlation


@dataclass(frozen=True)
class Summary:
    """One iteration in numbers, the same on all ranks. Maps, halves and classes count from 0; m runs over maps."""

    posteriors: bool = True  # particles have probabilities; by class averages they have scores only
    particles: int = 0  # that take part
    hard: tuple[float, ...] = ()  # (m,) share of the particles with this best map
    soft: tuple[float, ...] = ()  # (m,) sum of the particles' probabilities of the map, as a share
    certainty: tuple[tuple[int, ...], ...] = ()  # (m, bin) particles of the map by its probability, bins over 0 .. 1
    coverage: tuple[float, ...] = ()  # (m,) share of the directions of Fourier space that the views sample
    maps_per_particle: float = 1.0  # exponential of the mean entropy of the posteriors
    projections_per_particle: float = 0.0  # that a particle contributes to, mean
    likelihood: float = 0.0  # mean log-likelihood (or minus score) of the best poses
    outliers: int = 0  # particles that no map explains: weight 0
    doubtful: int = 0  # particles with a weight between 0 and 1
    grey_spread: float = 0.0  # standard deviation of the particles' grey scales within their groups
    lone_halves: tuple[tuple[int, int], ...] = ()  # (map, half) without particles, where the other half has some
    class_averages: tuple[tuple[int, int], ...] = ()  # (m, 2) in the map, left out of it; () by likelihood
    resolution: tuple[float, ...] = ()  # (m,) Å by the half-maps, nan where unknown
    matched_to: tuple[float, ...] = ()  # (m,) Å, the finest shell used for matching
    empty: tuple[tuple[int, OnEmpty], ...] = ()  # maps with hardly any particles, and what was done
    same: tuple[tuple[int, int], ...] = ()  # pairs of maps that agree within their noise
    dropped: tuple[int, ...] = ()  # maps that take no part from the next iteration on
    helices: tuple[RefinedHelix, ...] = ()  # with --helical-search
    motion: Motion | None = None  # None in the first iteration
    coarse: Coarse = Coarse()
    stopped: str = ""  # why the refinement ends here

    def to_json(self) -> dict[str, JsonValue]:
        """Plain values for JSON; tuples become lists there."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, JsonValue]) -> Summary:
        """Inverse of `to_json` after a way through JSON. TypeError for values of another version."""
        return cls(**cast("dict[str, Any]", {name: _value(name, value) for name, value in values.items()}))


PARTS: Mapping[str, Callable[..., object]] = {"motion": Motion, "coarse": Coarse, "helices": RefinedHelix}


def _value(name: str, value: JsonValue) -> object:
    """The value of a field of Summary from JSON: its parts as their classes, lists at any depth as tuples."""
    if isinstance(value, dict):
        kind = PARTS[name]
        return kind(**cast("dict[str, Any]", value))
    return tuple(_value(name, part) for part in value) if isinstance(value, list) else value
