"""The refinement: the same steps, iteration after iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from mpirefine.program import checkpoint
from mpirefine.steps.eman2 import pipeline
from mpirefine.steps.likelihood.average import Average
from mpirefine.steps.likelihood.classify import Classify
from mpirefine.steps.likelihood.noise import Reestimate
from mpirefine.steps.likelihood.postprocess import Postprocess
from mpirefine.steps.likelihood.project import Project
from mpirefine.steps.likelihood.reconstruct import Reconstruct
from mpirefine.steps.likelihood.simmx import Simmx
from mpirefine.steps.likelihood.trust import Trust
from mpirefine.steps.shared.converge import Converge
from mpirefine.steps.shared.empty_classes import Guard
from mpirefine.steps.shared.space import iteration_bytes
from mpirefine.steps.shared.split_merge import Exchange
from mpirefine.steps.state import Context, State, Step

PIPELINE: tuple[Step, ...] = (
    Exchange(),
    Project(),
    Simmx(),
    Trust(),
    Classify(),
    Average(),
    Reestimate(),
    Reconstruct(),
    Postprocess(),
    Guard(),
    Converge(),
)


BY_CLASSES: tuple[Step, ...] = (*pipeline.PIPELINE, Guard(), Converge())


def steps_of(ctx: Context) -> tuple[Step, ...]:
    """The steps of an iteration: by likelihood, or by comparators and class averages."""
    return PIPELINE if ctx.method is None else BY_CLASSES


def refine(state: State, pipeline: Sequence[Step], ctx: Context, report: Callable[[State], None]) -> State:
    """Collective. Iterate until --iter or convergence; an iteration is in the run file when it is whole, and only then
    reported. InputError when an
    input file is no longer what it was.
    """
    while state.iteration < ctx.options.iter and not state.converged:
        state = replace(state, iteration=state.iteration + 1, curves={}, summary={})
        ctx.run.inputs.check()
        ctx.run.ensure_space(
            iteration_bytes(state, ctx), f"iteration {state.iteration}"
        )  # before hours of work; as many projections as before
        with (
            ctx.clock.iteration(state.iteration),
            ctx.run.write_iteration(state.iteration, ctx.clock) as ctx.writer,
            ExitStack() as ctx.resources,
        ):
            for step in pipeline:
                with ctx.clock(step.name):
                    state = step.run(state, ctx)
            with ctx.clock("checkpoint"):
                ctx.run.inputs.check()
                state = checkpoint.write(ctx.writer, state, ctx)
        report(state)
    return state
