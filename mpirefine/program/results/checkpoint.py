"""Write an iteration to the run file, and read it again to resume the run."""

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
    """Collective. Write the state of an iteration; class averages were written before, by their step.

    Returns the state as `read` gives it, with the poses of candidates rounded as they are stored, so that a resumed run
    gives the same results as an uninterrupted one. StorageFailure when the disk is full.
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
    candidates, assignments, last = state.candidates, state.assignments, state.last
    assert last is not None
    rows = {
        "candidates/score": candidates.score,
        "candidates/class": candidates.reference,
        "candidates/evidence": candidates.evidence,
        **to_eman_columns(candidates),
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
    """On rank 0. Every dataset without a row for each particle, except class averages."""
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
    """The header values of a map for JSON, with arrays as lists."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in header.items()}


def read(run: RunFile, iteration: int, state: AnyState, ctx: Context) -> AnyState:
    """Collective. Read the state after a stored iteration, on any number of ranks; the rest comes from `state`.

    Only rank 0 reads maps and curves. FormatError on all ranks when the file is damaged.
    """
    run.verify(iteration)
    attributes = run.read_attrs(iteration)
    with ctx.team.together(f"reading iteration {iteration}"):
        rows, small = read_items(run, iteration, ctx)
        wholeness.check(run.path_of(iteration), {**rows, **small}, ctx)
        history = read_history(run, iteration, attributes["history"])
        before_trial = read_maps_before_trial(run, iteration, history) if ctx.team.is_root else None
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
    """Parse the summaries of all iterations so far; FormatError when their number is not `iteration`."""
    try:
        history = tuple(Summary.from_json(values) for values in json.loads(text))
    except (TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{run.path_of(iteration)}: damaged: the history cannot be read: {error}") from None
    if len(history) != iteration:
        raise FormatError(
            f"{run.path_of(iteration)}: damaged: the history has {len(history)} iterations instead of {iteration}"
        )
    return history


def read_maps_before_trial(run: RunFile, iteration: int, history: Sequence[Summary]) -> np.ndarray | None:
    """On rank 0. The maps (mzyx) to restore if the split that is on trial after `iteration` fails; None without one.

    None with a warning when they cannot be read: the split is then kept.
    """
    begun = Phase.of(history).begun
    if begun is None or begun >= iteration:
        return None
    try:
        return run.read_array(begun, "volumes/map")
    except FormatError as damage:
        log.warning("warning: %s: the split on trial cannot be undone", damage)
        return None


def read_items(run: RunFile, iteration: int, ctx: Context) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Collective. The own rows, and the arrays without particle rows, of an iteration; maps and curves on rank 0 only.

    FormatError when shapes do not fit the input.
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
        only_root = name.startswith(("volumes/", "curves/"))
        unused = name == "simmx" or name.startswith("classes/")
        if name not in shapes or unused or only_root and not ctx.team.is_root:
            continue
        if item.of_particles:
            rows[name] = run.read_rows(iteration, name, ctx.block)
        else:
            small[name] = run.read_array(iteration, name)
    return rows, small
