"""Reports after each iteration and at the end: maps, FSC curves, the table on the terminal, report.html."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mpirefine.program.reports import html, terminal
from mpirefine.program.results import outputs
from mpirefine.program.start.setup import Session
from mpirefine.steps.state import Difference, State
from mpirefine.storage.atomic import write_text

log = logging.getLogger(__name__)
PAGE_SECONDS = 60.0  # least time between two writings of report.html, since each takes a second


class Reports:
    """Writes into the folder of a run and to the terminal; `began` is the start of the command (time.monotonic)."""

    def __init__(self, session: Session, folder: Path, began: float):
        self.session, self.folder, self.began = session, folder, began
        options = asdict(session.resolved.options)
        self.about = html.RunFacts(f"mpirefine: {folder}", options, session.notes)
        self._page_written = float("-inf")

    def after_iteration(self, state: State) -> None:
        """Collective. Report a stored iteration; RankFailure or InputError when files cannot be written."""
        ctx, clock = self.session.context, self.session.clock
        with ctx.team.together("writing maps"):
            if ctx.team.is_root:
                outputs.write_maps(self.folder, state, self.session.resolved, ctx.grid)
                outputs.write_curves(self.folder, state, ctx.grid)
                self._update_page(state)
        clock.write(self.folder / "timing.json", time.monotonic() - self.began, ctx.partition.n)
        last, took = ctx.settings.iterations, clock.seconds(state.iteration)
        log.info("%s", terminal.iteration_table(state.summary, state.iteration, last, took))

    def at_the_end(
        self, state: State, differences: Sequence[Difference], full: html.FullSizeCurves | None = None
    ) -> None:
        """Collective. Report which maps are different states, and the full-size maps. RankFailure when the disk is
        full.

        report.html of a run that was finished before stays as it is.
        """
        if differences:
            log.info("%s", terminal.difference_table(differences))
        ctx = self.session.context
        with ctx.team.together("writing differences.json and report.html"):
            if ctx.team.is_root and differences:
                rows = [
                    {
                        "maps": [pair.a + 1, pair.b + 1],
                        "p_value": pair.p,
                        "particles": pair.particles,
                        "power": pair.power,
                        "verdict": terminal.decide_difference(pair, len(differences)),
                    }
                    for pair in differences
                ]
                write_text(self.folder / "differences.json", json.dumps(rows, indent=1))
            if ctx.team.is_root and state.curves and (differences or full):
                self._write_page(state, terminal.difference_rows(differences), full)

    def _update_page(self, state: State) -> None:
        """On rank 0. Write report.html when the last one is old or no iteration follows."""
        last = state.converged or state.iteration >= self.session.context.settings.iterations
        if last or time.monotonic() - self._page_written > PAGE_SECONDS:
            self._write_page(state)
            self._page_written = time.monotonic()

    def _write_page(
        self, state: State, differences: Sequence[Sequence[str]] = (), full: html.FullSizeCurves | None = None
    ) -> None:
        """On rank 0. Write report.html."""
        grid, timing = self.session.context.grid, self.session.clock.iterations
        html.write_page(self.folder, state, grid, self.about, timing, differences, full)
