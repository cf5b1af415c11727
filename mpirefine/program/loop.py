"""The refinement: the same steps, iteration after iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic

from mpirefine.program.performance.timing import Clock
from mpirefine.program.results import checkpoint
from mpirefine.steps.shared.space import iteration_bytes
from mpirefine.steps.state import AnyState, Context, ImageStack, Method
from mpirefine.steps.summary import Summary
from mpirefine.steps.workspace import Workspace
from mpirefine.storage.images import write_images
from mpirefine.storage.run.iteration_writer import IterationWriter
from mpirefine.storage.run.runfile import RunFile


@dataclass(frozen=True)
class Loop(Generic[AnyState]):
    """What iterations need beside their state; `report` is called with the state of every whole one."""

    method: Method[AnyState]
    context: Context
    clock: Clock
    run_file: RunFile
    report: Callable[[AnyState], None]

    def refine(self, state: AnyState) -> AnyState:
        """Collective. Iterate until --iter or convergence.

        An iteration is in the run file when it is whole, and only then reported. InputError when an input file is no
        longer what it was; StorageFailure when the disk is full.
        """
        while state.iteration < self.context.settings.iterations and not state.converged:
            state = self._iteration(replace(state, iteration=state.iteration + 1, curves={}, summary=Summary()))
            self.report(state)
        return state

    def _iteration(self, state: AnyState) -> AnyState:
        """Collective. One iteration, from its projections to the disk."""
        ctx, clock, run = self.context, self.clock, self.run_file
        run.inputs.check()
        run.ensure_space(self._bytes(state), f"iteration {state.iteration}")  # as many projections as in the last one
        with (
            clock.iteration(state.iteration),
            run.write_iteration(state.iteration, clock) as writer,
            Workspace(writer) as work,
        ):
            for step in self.method.steps(work):
                with clock(step.name):
                    state = step.run(state, ctx)
            with clock("store averages"):
                self._store(self.method.stacks(state, ctx), state, writer)
            with clock("checkpoint"):
                run.inputs.check()
                state = checkpoint.write(writer, self.method.released(state), ctx)
        return state

    def _bytes(self, state: AnyState) -> int:
        """On the disk, of an iteration."""
        return iteration_bytes(state, self.context, self.method.stack_bytes(state, self.context))

    def _store(self, stacks: Sequence[ImageStack], state: AnyState, writer: IterationWriter) -> None:
        """Collective. Stacks that rank 0 has go into the folder of the run."""
        writer.ensure_space(self._bytes(state))
        with self.context.team.together("writing projections and class averages"):
            for stack in stacks:
                write_images(self.run_file.folder / stack.name, stack.images, stack.apix, stack.headers or None)
