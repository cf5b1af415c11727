"""What an iteration leaves in the run file, and how a run is taken up again from it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from mpirefine.data.partition import Block
from mpirefine.data.poses import Assignments, Orientations
from mpirefine.errors import FormatError
from mpirefine.maths.eman2.poses import from_eman_columns, round_as_stored, to_eman_columns
from mpirefine.program import wholeness
from mpirefine.steps.state import Context, Noise, Poses, State
from mpirefine.storage.eman2.json import to_json
from mpirefine.storage.run import schema


def write(writer: Any, state: State, ctx: Context) -> State:
    """Collective. Everything an iteration is made of; class averages were written by their step. Returns the state as
    it will be read back, with
    poses of candidates rounded to what is kept of them: what a run makes at its end is the same after an interruption.
    """
    rows: dict[str, np.ndarray] = {
        "candidates/score": state.candidates.score,
        "candidates/class": state.candidates.reference,
        "candidates/evidence": state.candidates.evidence,
        **to_eman_columns(state.candidates),
        "assignments/weight": state.assignments.weight,
        "assignments/posterior": state.assignments.posterior,
        "assignments/model": state.assignments.model,
        "assignments/best": state.assignments.best,
        "assignments/rotation": state.last.rotation,
        "assignments/shift": state.last.shift,
        "set_aside": ctx.particles.reason,
        "half": ctx.particles.table.half,
        "trust": state.trust,
        "grey": state.grey,
    }
    if ctx.simmx is not None:
        rows["simmx"] = ctx.simmx
    for item, values in rows.items():
        writer.write_rows(item, values, ctx.partition)
    small = {
        "orientations/rotation": state.orientations.rotation,
        "orientations/model": state.orientations.model,
        "classes/model_id": (state.orientations.model + 1).astype(np.int32),
        "noise/sigma2": state.noise.sigma2,
        "noise/scale": state.noise.scale,
        "volumes/map": state.volumes,
        "volumes/half": state.halves,
    }
    small.update({f"curves/{name}": values for name, values in state.curves.items()})
    names = ctx.team.bcast(sorted(small) if ctx.team.is_root else None)
    for item in names:
        writer.write_array(item, small[item] if ctx.team.is_root else None)
    writer.attrs(
        {
            "rings": state.rings,
            "history": json.dumps(state.history),
            "converged": state.converged,
            "map_headers": json.dumps(to_json(state.map_headers)),
        }
    )
    return replace(state, candidates=round_as_stored(state.candidates))


def read(run: Any, iteration: int, state: State, ctx: Context) -> State:
    """Collective. The state after a whole iteration, on any number of ranks; half-sets as they were used go to the
    context's particles.

    FormatError on all ranks when a value cannot be one of this run.
    """
    run.verify(iteration)
    attrs = run.read_attrs(iteration)
    with ctx.team.together(f"reading iteration {iteration}"):
        rows, small = read_items(run, iteration, ctx)
        wholeness.check(run.path_of(iteration), {**rows, **small}, ctx)
        if len(json.loads(attrs["history"])) != iteration:
            raise FormatError(f"{run.path_of(iteration)}: damaged: the history is not that of {iteration} iterations")
    names = ("model", "rotation", "shift")
    last = Poses(*(rows[f"assignments/{name}"] for name in names))
    assignments = Assignments(*(rows[f"assignments/{name}"] for name in ("weight", "posterior", "model", "best")))
    candidates = from_eman_columns(
        rows["candidates/class"], rows["candidates/score"], rows["candidates/evidence"], rows, ctx.models
    )
    ctx.particles.table = replace(ctx.particles.table, half=rows["half"])
    history = tuple(json.loads(attrs["history"]))
    headers = [
        {name: np.array(value, int) if isinstance(value, list) else value for name, value in header.items()}
        for header in json.loads(attrs["map_headers"])
    ]
    return replace(
        state,
        iteration=iteration,
        noise=Noise(small["noise/sigma2"], small["noise/scale"]),
        assignments=assignments,
        rings=tuple(int(r) for r in attrs["rings"]),
        trust=rows["trust"],
        grey=rows["grey"],
        candidates=candidates,
        last=last,
        volumes=small.get("volumes/map"),
        halves=small.get("volumes/half"),
        orientations=Orientations(small["orientations/rotation"], small["orientations/model"]),
        map_headers=tuple(headers),
        curves={name.removeprefix("curves/"): values for name, values in small.items() if name.startswith("curves/")},
        history=history,
        summary=history[-1],
        converged=bool(attrs["converged"]),
    )


def read_items(run: Any, iteration: int, ctx: Context) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Own rows, and what is not of particles, of an iteration; maps and curves on rank 0 only. FormatError for shapes
    of another input.
    """
    shapes = run.shapes(iteration)
    projections = shapes.get("orientations/model", (0,))[0]
    axes = dict(
        particle=ctx.partition.n,
        place=ctx.options.sep,
        map=ctx.models,
        half=2,
        z=ctx.grid.nx,
        y=ctx.grid.nx,
        x=ctx.grid.nx,
        group=len(ctx.particles.table.group_names),
        **{"class": projections},
    )
    wholeness.check_shapes(run.path_of(iteration), shapes, axes)
    block: Block = ctx.block
    rows, small = {}, {}
    for name, item in schema.ITEMS.items():
        of_root = name.startswith(("volumes/", "curves/"))
        if name not in shapes or name == "simmx" or name.startswith("classes/") or of_root and not ctx.team.is_root:
            continue
        if item.of_particles:
            rows[name] = run.read_rows(iteration, name, block)
        else:
            small[name] = run.read_array(iteration, name)
    return rows, small
