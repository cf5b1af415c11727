"""Step: a map from the class averages of each model, and its two half-maps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.steps.eman2.choices import MapMaking
from mpirefine.steps.eman2.map_making import MapOfAverages, Slices, make_map
from mpirefine.steps.eman2.stacks import map_header
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.shared.maps import (
    half_map_curves,
    impose_on_root,
    settle_helix,
    symmetries_of,
    symmetry_in_pixels,
)
from mpirefine.steps.state import Context, stack_on_root
from mpirefine.steps.summary import RefinedHelix


@dataclass(frozen=True)
class ModelMaps:
    """The map of one model and its half-maps."""

    whole: MapOfAverages
    halves: list[np.ndarray | None]  # rank 0: (z, y, x) each
    lone_halves: list[tuple[int, int]]  # as in Summary
    helix: RefinedHelix | None  # as in Summary


@dataclass(frozen=True)
class MakeMaps:
    """Reconstructs maps by `how`; with `breaksym` no symmetry is applied."""

    how: MapMaking
    breaksym: bool = False
    name = "reconstruct"

    def run(self, state: Eman2State, ctx: Context) -> Eman2State:
        """Collective."""
        parts = [self._model(m, state, ctx) for m in range(ctx.models)]
        root = ctx.team.is_root
        curves = [half_maps_fsc(m, part, state, ctx) for m, part in enumerate(parts)] if root else []
        names = curves[0] if curves else ()
        summary = replace(
            state.summary,
            class_averages=tuple((len(part.whole.used), len(part.whole.left_out)) for part in parts),
            lone_halves=tuple(half for part in parts for half in part.lone_halves),
            helices=tuple(part.helix for part in parts if part.helix is not None),
        )
        source = f"classes_{state.iteration:02d}.hdf"
        return replace(
            state,
            previous=state.volumes,
            volumes=stack_on_root([part.whole.volume for part in parts]),
            halves=stack_on_root([stack_on_root(part.halves) for part in parts]),
            map_headers=tuple(map_header(part.whole, source) for part in parts),
            curves={**state.curves, **{name: np.array([curve[name] for curve in curves]) for name in names}},
            summary=summary,
        )

    def _model(self, model: int, state: Eman2State, ctx: Context) -> ModelMaps:
        """Collective. The maps of one model; of a helix they get the symmetry of their central part.

        Half-maps are made in one pass from the classes that are in the map, on its grey scale, without its structure
        factor and post-processing.
        """
        team, nx, apix = ctx.team, ctx.grid.nx, ctx.grid.apix
        known = "c1" if self.breaksym else symmetries_of(state, ctx)[model]
        symmetry = symmetry_in_pixels(known, apix)
        whole = make_map(team, slices_of(state, model), nx, symmetry, apix, self.how)
        plain = replace(self.how, passes=1, postprocess=(), structure_factor=None)
        halves, filled = [], []
        for half in (0, 1):
            part = slices_of(state, model, half)
            filled.append(sum(team.allgather(float(part.weight.sum()))) > 0)
            part = part.take(np.isin(part.number, whole.used))
            volume = make_map(team, part, nx, symmetry, apix, plain).volume
            halves.append(None if volume is None else np.float32(whole.grey) * volume)
        lone_halves = [(model, half) for half in (0, 1) if filled[1 - half] and not filled[half]]
        known, helix = settle_helix(model, halves, known, state, ctx)
        whole = replace(whole, volume=impose_on_root(whole.volume, known, ctx))
        return ModelMaps(whole, [impose_on_root(half, known, ctx) for half in halves], lone_halves, helix)


def half_maps_fsc(model: int, maps: ModelMaps, state: Eman2State, ctx: Context) -> dict[str, np.ndarray]:
    """On rank 0. FSC curves (k,) by name of the half-maps of one model."""
    first, second = maps.halves
    assert first is not None and second is not None
    return half_map_curves((first, second), model, state, ctx)


def slices_of(state: Eman2State, model: int, half: int | None = None) -> Slices:
    """Own class averages of a map, or the averages of one half-set of their particles."""
    of_map = [result for result in state.classes if state.orientations.model[result.number] == model]
    own = [(result.number, result.average) for result in of_map if result.average is not None]
    number = np.array([number for number, _ in own], int)
    images = [average.image if half is None else average.halves[half] for _, average in own]
    weight = np.array([float(average.used.sum() if half is None else average.half_count[half]) for _, average in own])
    snr = [average.snr_total if half is None else average.half_snr[half] for _, average in own]
    known = bool(own) and all(curve is not None for curve in snr)
    filtered = np.array([bool(average.wiener_filtered) for _, average in own]) if known else None
    stack = np.stack(images) if own else np.zeros((0, 0, 0), np.float32)
    curves = np.stack([curve for curve in snr if curve is not None]) if known else None
    return Slices(stack, state.orientations.rotation[number], weight, number, curves, filtered)
