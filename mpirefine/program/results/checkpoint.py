"""What an iteration leaves in the run file, and how a run is taken up again from it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mpirefine.data.poses import Assignments, HardPoses, Orientations
from mpirefine.errors import FormatError
from mpirefine.maths.eman2.poses import from_eman_columns, round_as_stored, to_eman_columns
from mpirefine.program.results import wholeness
from mpirefine.steps.shared.split_merge import Phase
from mpirefine.steps.state import AnyState, Context, Noise, State
from mpirefine.steps.summary import Summary
from mpirefine.storage.run import schema
from mpirefine.storage.run.iteration_writer import IterationWriter
from mpirefine.storage.run.runfile import RunFile

log = logging.getLogger(__name__)


def write(writer: IterationWriter, state: AnyState, ctx: Context) -> AnyState:
    """Collective. Everything an iteration is made of; class averages were written by their step.

    Returns the state as it will be read back, with poses of candidates rounded as they are stored: results at the end
    of a run are the same after an interruption.
    """
    for item, values in rows_of(state, ctx).items():
        writer.write_rows(item, values, ctx.partition)
    small = arrays_of(state) if ctx.team.is_root else {}
    for item in ctx.team.bcast(sorted(small)):
        writer.write_array(item, small[item] if ctx.team.is_root else None)
    attributes = {
        "rings": state.last_rings,
        "history": json.dumps([summary.to_json() for summary in state.history]),
        "converged": state.converged,
        "map_headers": json.dumps([plain_header(header) for header in state.map_headers]),
    }
    writer.attrs(attributes)
    return replace(state, candidates=round_as_stored(state.candidates))


def rows_of(state: State, ctx: Context) -> dict[str, np.ndarray]:
    """Own rows of every dataset that has a row for each particle."""
    found, assignments, last = state.candidates, state.assignments, state.last
    assert last is not None
    rows = {
        "candidates/score": found.score,
        "candidates/class": found.reference,
        "candidates/evidence": found.evidence,
        **to_eman_columns(found),
        "assignments/weight": assignments.weight,
        "assignments/posterior": assignments.posterior,
        "assignments/model": assignments.model,
        "assignments/best": assignments.best,
        "assignments/rotation": last.rotation,
        "assignments/shift": last.shift,
        "set_aside": ctx.particles.reason,
        "half": state.half,
        "trust": state.trust,
        "grey": state.grey,
    }
    return rows if state.simmx is None else {**rows, "simmx": state.simmx}


def arrays_of(state: State) -> dict[str, np.ndarray]:
    """On rank 0. Every dataset that is not of particles, but class averages."""
    assert state.halves is not None
    orientations = state.orientations
    return {
        "orientations/rotation": orientations.rotation,
        "orientations/model": orientations.model,
        "classes/model_id": (orientations.model + 1).astype(np.int32),
        "noise/sigma2": state.noise.sigma2,
        "noise/scale": state.noise.scale,
        "volumes/map": state.root_volumes,
        "volumes/half": state.halves,
        **{f"curves/{name}": values for name, values in state.curves.items()},
    }


def plain_header(header: Mapping[str, object]) -> dict[str, object]:
    """A map's header values for JSON: arrays as lists."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in header.items()}


def read(run: RunFile, iteration: int, state: AnyState, ctx: Context) -> AnyState:
    """Collective. `state` as it was after a whole iteration, on any number of ranks.

    Maps and curves are read by rank 0 alone. FormatError on all ranks when a value cannot be one of this run.
    """
    run.verify(iteration)
    attributes = run.read_attrs(iteration)
    with ctx.team.together(f"reading iteration {iteration}"):
        rows, small = read_items(run, iteration, ctx)
        wholeness.check(run.path_of(iteration), {**rows, **small}, ctx)
        history = read_history(run, iteration, attributes["history"])
        before_trial = maps_before_trial(run, iteration, history) if ctx.team.is_root else None
    headers = tuple(
        {name: np.array(value, int) if isinstance(value, list) else value for name, value in header.items()}
        for header in json.loads(attributes["map_headers"])
    )
    curves = {name.removeprefix("curves/"): small[name] for name in small if name.startswith("curves/")}
    return replace(
        state,
        iteration=iteration,
        noise=Noise(small["noise/sigma2"], small["noise/scale"]),
        last_rings=tuple(int(r) for r in attributes["rings"]),
        half=rows["half"],
        trust=rows["trust"],
        grey=rows["grey"],
        candidates=from_eman_columns(
            rows["candidates/class"], rows["candidates/score"], rows["candidates/evidence"], rows, ctx.models
        ),
        assignments=Assignments(*(rows[f"assignments/{name}"] for name in ("weight", "posterior", "model", "best"))),
        last=HardPoses(*(rows[f"assignments/{name}"] for name in ("model", "rotation", "shift"))),
        volumes=small.get("volumes/map"),
        halves=small.get("volumes/half"),
        before_trial=before_trial,
        orientations=Orientations(small["orientations/rotation"], small["orientations/model"]),
        map_headers=headers,
        curves=curves,
        history=history,
        summary=history[-1],
        converged=bool(attributes["converged"]),
    )


def read_history(run: RunFile, iteration: int, text: str) -> tuple[Summary, ...]:
    """The summaries of all iterations; FormatError when they are not those of `iteration` iterations."""
    try:
        history = tuple(Summary.from_json(values) for values in json.loads(text))
    except (TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{run.path_of(iteration)}: damaged: the history cannot be read: {error}") from None
    if len(history) != iteration:
        raise FormatError(f"{run.path_of(iteration)}: damaged: the history is not that of {iteration} iterations")
    return history


def maps_before_trial(run: RunFile, iteration: int, history: Sequence[Summary]) -> np.ndarray | None:
    """On rank 0. (m, z, y, x) maps to go back to, when a merge and split is open after `iteration`; else None.

    None too, with a warning, when they cannot be read any more: the trial is then not undone.
    """
    begun = Phase.of(history).begun
    if begun is None or begun >= iteration:
        return None
    try:
        return run.read_array(begun, "volumes/map")
    except FormatError as damage:
        log.warning("warning: %s: the trial that began then cannot be undone", damage)
        return None


def read_items(run: RunFile, iteration: int, ctx: Context) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Own rows, and what is not of particles, of an iteration; maps and curves on rank 0 only.

    FormatError for shapes of another input.
    """
    shapes = run.shapes(iteration)
    projections = shapes.get("orientations/model", (0,))[0]
    nx = ctx.grid.nx
    axes = {
        "particle": ctx.partition.n,
        "place": ctx.settings.sep,
        "map": ctx.models,
        "half": 2,
        "z": nx,
        "y": nx,
        "x": nx,
        "group": len(ctx.particles.table.group_names),
        "class": projections,
    }
    wholeness.check_shapes(run.path_of(iteration), shapes, axes)
    rows, small = {}, {}
    for name, item in schema.ITEMS.items():
        of_root = name.startswith(("volumes/", "curves/"))
        unread = name == "simmx" or name.startswith("classes/")
        if name not in shapes or unread or of_root and not ctx.team.is_root:
            continue
        if item.of_particles:
            rows[name] = run.read_rows(iteration, name, ctx.block)
        else:
            small[name] = run.read_array(iteration, name)
    return rows, small
