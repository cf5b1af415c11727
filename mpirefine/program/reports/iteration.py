"""What the user gets to see after every iteration: maps, curves, the table, the report page."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

from mpirefine.program import outputs
from mpirefine.program.reports import html, terminal
from mpirefine.program.setup import Session
from mpirefine.steps.likelihood.held_out_test import Difference
from mpirefine.steps.state import State
from mpirefine.storage.atomic import write_text

log = logging.getLogger(__name__)
PAGE_SECONDS = 60.0  # between two writings of terminal.html, which take a second: short iterations are not held up


class Presenter:
    """Called with the state of every whole iteration."""

    def __init__(self, session: Session, folder: Path, began: float):
        self.session, self.folder, self.began = session, folder, began
        self.about = html.About(f"mpirefine: {folder}", asdict(session.context.options), session.notes)
        self._page_written = float("-inf")

    def __call__(self, state: State) -> None:
        """Collective."""
        ctx = self.session.context
        with ctx.team.together("writing maps"):
            if ctx.team.is_root:
                outputs.write_maps(
                    self.folder,
                    state.iteration,
                    state.volumes,
                    ctx.grid,
                    self.session.resolved.mass,
                    ctx.options.map_suffix,
                    state.map_headers,
                )
                outputs.write_curves(self.folder, state, ctx.grid)
                self._page(state)
        ctx.clock.write(self.folder / "timing.json", time.monotonic() - self.began, ctx.partition.n)
        log.info(
            "%s",
            terminal.iteration_table(
                state.summary, state.iteration, ctx.options.iter, ctx.clock.seconds(state.iteration)
            ),
        )

    def tell_differences(self, state: State, found: list[Difference]) -> None:
        """Collective. Which maps are different states, after the last iteration. The page of a run that was finished
        before stays as it is.
        """
        if found:
            log.info("%s", terminal.difference_table(found))
        ctx = self.session.context
        with ctx.team.together("writing differences.json and terminal.html"):
            if ctx.team.is_root and found:
                rows = [
                    dict(
                        maps=[pair.a + 1, pair.b + 1],
                        p_value=pair.p,
                        particles=pair.particles,
                        power=pair.power,
                        verdict=terminal.verdict(pair, len(found)),
                    )
                    for pair in found
                ]
                write_text(self.folder / "differences.json", json.dumps(rows, indent=1))
                if state.curves:
                    html.write(
                        self.folder, state, ctx.grid, self.about, ctx.clock.iterations, terminal.difference_rows(found)
                    )

    def _page(self, state: State) -> None:
        """On rank 0."""
        ctx = self.session.context
        last = state.converged or state.iteration >= ctx.options.iter
        if last or time.monotonic() - self._page_written > PAGE_SECONDS:
            html.write(self.folder, state, ctx.grid, self.about, ctx.clock.iterations)
            self._page_written = time.monotonic()
