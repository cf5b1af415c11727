"""What an iteration leaves in the run file, and how a run is taken up again from it."""
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from mpirefine.data.partition import Block
from mpirefine.data.poses import Assignments
from mpirefine.maths.emanposes import to_reference
from mpirefine.steps.base import Context, Noise, Poses, State


def write(writer: Any, state: State, ctx: Context) -> None:
    """Collective. Everything an iteration is made of; class averages were written by their step."""
    rows: dict[str, np.ndarray] = {
        "candidates/score": state.candidates.score, "candidates/class": state.candidates.reference,
        "candidates/evidence": state.candidates.evidence, **to_reference(state.candidates),
        "assignments/weight": state.assignments.weight, "assignments/posterior": state.assignments.posterior,
        "assignments/model": state.assignments.model, "assignments/rotation": state.last.rotation,
        "assignments/shift": state.last.shift, "set_aside": ctx.particles.reason,
        "trust": state.trust, "grey": state.grey}
    if ctx.simmx is not None:
        rows["simmx"] = ctx.simmx
    for item, values in rows.items():
        writer.write_rows(item, values, ctx.partition)
    small = {"orientations/rotation": state.orientations.rotation, "orientations/model": state.orientations.model,
             "classes/model_id": (state.orientations.model + 1).astype(np.int32),
             "noise/sigma2": state.noise.sigma2, "noise/scale": state.noise.scale,
             "volumes/map": state.volumes, "volumes/half": state.halves}
    small.update({f"curves/{name}": values for name, values in state.curves.items()})
    names = ctx.team.bcast(sorted(small) if ctx.team.is_root else None)
    for item in names:
        writer.write_array(item, small[item] if ctx.team.is_root else None)
    writer.attrs({"rings": state.rings, "history": json.dumps(state.history), "converged": state.converged})


def read(run: Any, iteration: int, state: State, ctx: Context) -> State:
    """Collective. The state after a whole iteration, on any number of ranks."""
    attrs = run.read_attrs(iteration)
    volumes, halves = run.read_array(iteration, "volumes/map"), run.read_array(iteration, "volumes/half")
    block: Block = ctx.block
    last = Poses(*(run.read_rows(iteration, f"assignments/{name}", block) for name in ("model", "rotation", "shift")))
    noise = Noise(run.read_array(iteration, "noise/sigma2"), run.read_array(iteration, "noise/scale"))
    weight, posterior = (run.read_rows(iteration, f"assignments/{name}", block) for name in ("weight", "posterior"))
    trust, grey = (run.read_rows(iteration, name, block) for name in ("trust", "grey"))
    root = ctx.team.is_root
    assignments = Assignments(weight, posterior, last.model, np.zeros_like(last.model))
    return replace(state, iteration=iteration, noise=noise, assignments=assignments, rings=tuple(int(r) for r in attrs["rings"]),
                   trust=trust, grey=grey, volumes=volumes if root else None, halves=halves if root else None, last=last,
                   history=tuple(json.loads(attrs["history"])), converged=bool(attrs["converged"]))
