"""The loop of a refinement: run the steps of each iteration, store its results, report them."""

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
    """What all iterations share; `report` is called with the state after each iteration that is stored."""

    method: Method[AnyState]
    context: Context
    clock: Clock
    run_file: RunFile
    report: Callable[[AnyState], None]

    def refine(self, state: AnyState) -> AnyState:
        """Collective. Iterate until --iter or convergence.

        An iteration enters the run file as a whole, and is reported after that. InputError when an input file has
        changed; StorageFailure when the disk is full.
        """
        while state.iteration < self.context.settings.iterations and not state.converged:
            state = self._iteration(replace(state, iteration=state.iteration + 1, curves={}, summary=Summary()))
            self.report(state)
        return state

    def _iteration(self, state: AnyState) -> AnyState:
        """Collective. Run the steps of one iteration and store its results."""
        ctx, clock, run = self.context, self.clock, self.run_file
        run.inputs.check()
        # the estimate takes the number of projections from the last iteration
        run.ensure_space(self._bytes(state), f"iteration {state.iteration}")
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
        """Bytes that an iteration needs on the disk."""
        return iteration_bytes(state, self.context, self.method.stack_bytes(state, self.context))

    def _store(self, stacks: Sequence[ImageStack], state: AnyState, writer: IterationWriter) -> None:
        """Collective. Write the image stacks that rank 0 holds into the folder of the run."""
        writer.ensure_space(self._bytes(state))
        with self.context.team.together("writing projections and class averages"):
            for stack in stacks:
                write_images(self.run_file.folder / stack.name, stack.images, stack.apix, stack.headers or None)
