"""What the user gets to see after every iteration: maps, curves, the table, the report page."""
from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

from mpirefine.program import outputs, page, report
from mpirefine.program.session import Session
from mpirefine.steps.base import State
from mpirefine.steps.different import Difference
from mpirefine.storage.beside import write_text

log = logging.getLogger(__name__)
PAGE_SECONDS = 60.0        # between two writings of report.html, which take a second: short iterations are not held up


class Presenter:
    """Called with the state of every whole iteration."""

    def __init__(self, session: Session, folder: Path, began: float):
        self.session, self.folder, self.began = session, folder, began
        self.about = page.About(f"mpirefine: {folder}", asdict(session.context.options), session.notes)
        self._page_written = float("-inf")

    def __call__(self, state: State) -> None:
        """Collective."""
        ctx = self.session.context
        with ctx.team.together("writing maps"):
            if ctx.team.is_root:
                outputs.write_maps(self.folder, state.iteration, state.volumes, ctx.grid, self.session.resolved.mass, ctx.options.map_suffix,
                                   state.map_headers)
                outputs.write_curves(self.folder, state, ctx.grid)
                self._page(state)
        ctx.clock.write(self.folder / "timing.json", time.monotonic() - self.began, ctx.partition.n)
        log.info("%s", report.iteration_table(state.summary, state.iteration, ctx.options.iter, ctx.clock.seconds(state.iteration)))

    def tell_differences(self, state: State, found: list[Difference]) -> None:
        """Collective. Which maps are different states, after the last iteration. The page of a run that was finished before stays as it is."""
        if found:
            log.info("%s", report.difference_table(found))
        ctx = self.session.context
        with ctx.team.together("writing differences.json and report.html"):
            if ctx.team.is_root and found:
                rows = [dict(maps=[pair.a + 1, pair.b + 1], p_value=pair.p, particles=pair.particles, power=pair.power,
                             verdict=report.verdict(pair, len(found)))
                        for pair in found]
                write_text(self.folder / "differences.json", json.dumps(rows, indent=1))
                if state.curves:
                    page.write(self.folder, state, ctx.grid, self.about, ctx.clock.iterations, report.difference_rows(found))

    def _page(self, state: State) -> None:
        """On rank 0."""
        ctx = self.session.context
        last = state.converged or state.iteration >= ctx.options.iter
        if last or time.monotonic() - self._page_written > PAGE_SECONDS:
            page.write(self.folder, state, ctx.grid, self.about, ctx.clock.iterations)
            self._page_written = time.monotonic()
