"""The driver of a refinement from beginning to end: start it in a new folder, or resume it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy

import mpirefine
from mpirefine.distribution.team import Team
from mpirefine.errors import FormatError
from mpirefine.maths.fourier.fsc import resolution_at
from mpirefine.maths.fourier.half_maps import HALF_MAP_FSC
from mpirefine.program import logs
from mpirefine.program.loop import Loop
from mpirefine.program.options import Options
from mpirefine.program.reports.html import FullSizeCurves
from mpirefine.program.reports.iteration import Reports
from mpirefine.program.results import checkpoint, outputs, run_folder
from mpirefine.program.start.full_size import full_size_grid
from mpirefine.program.start.inputs import input_files
from mpirefine.program.start.setup import Session, open_session
from mpirefine.program.validation import validate
from mpirefine.steps.state import State
from mpirefine.storage.atomic import write_text
from mpirefine.storage.run import fingerprint
from mpirefine.storage.run.runfile import RunFile, library_version

log = logging.getLogger(__name__)
MAPS_WRITTEN = 3  # of each full-size map: itself and its half-maps


def start(options: Options, team: Team) -> None:
    """Collective. Run a new refinement in its own folder; with --check it ends before anything is written.

    InputError or ParameterError with every problem, StorageFailure or RankFailure when the disk is full.
    """
    began = time.monotonic()
    logs.set_up(team.rank, team.size, options.verbose)
    log.info("mpirefine %s on %d ranks", mpirefine.__version__, team.size)
    session = open_session(options, team)
    state = run_pilot(session)
    if options.check:
        log.info("the input is complete and readable; --check ends here")
        return
    resolved, ctx = session.resolved.options, session.context
    inputs = fingerprint.record_fingerprints(team, team.from_root(input_files, resolved, session.inputs))
    folder = team.from_root(make_folder, resolved)
    header = {
        "options": resolved.to_json(),
        "asked": options.to_json(),
        "versions": json.dumps(versions()),
        "inputs": inputs,
        "ranks": team.size,
        "radius": ctx.plan.radius * ctx.grid.apix,
    }
    with RunFile.create(folder, team, header) as run_file:
        Driver(session, run_file, began).from_the_start(state)


def resume(folder: Path, team: Team, changes: Mapping[str, Any]) -> None:
    """Collective. Continue a run from its last complete iteration, or from its start, on any number of ranks.

    `changes` are options with new values. InputError when the folder holds no run, or when an input file has changed;
    StorageFailure or RankFailure when the disk is full.
    """
    began = time.monotonic()
    logs.set_up(team.rank, team.size, int(changes.get("verbose", 1)))
    with RunFile.open(folder, team) as run_file:
        options = replace(Options.from_json(run_file.header["options"]), **changes)
        run_file.inputs.check(thorough=True)
        options = replace(options, radius=float(run_file.header["radius"]))
        with team.together("checking the options"):
            validate(options)
        if team.is_root:
            logs.log_to(folder)
        session = open_session(options, team, Options.from_json(run_file.header["asked"]))
        state = read_last(session, run_file)
        log.info(
            "mpirefine on %d ranks resumes %s after iteration %d of %d",
            team.size,
            folder,
            state.iteration,
            options.iter,
        )
        driver = Driver(session, run_file, began)
        if not state.iteration:
            driver.from_the_start(run_pilot(session))
        else:
            session.clock.resume(folder / "timing.json", state.iteration)
            if state.iteration >= session.context.settings.iterations or state.converged:
                log.info("all iterations are done: writing the results again")
            driver.to_the_end(state, report_first=True)


def run_pilot(session: Session) -> State:
    """Collective. Match a few particles to find scales and noise; the state for the first iteration.

    InputError when particles and maps have opposite contrast.
    """
    with session.clock.iteration(0), session.clock("pilot"):
        return session.method.first(session.state, session.context)


def make_folder(options: Options) -> Path:
    """On rank 0. Make the folder of the run, begin its log, and write the options into the file that EMAN2 uses.

    InputError when it cannot be made.
    """
    folder = run_folder.create(options.path)
    logs.log_to(folder)
    write_text(folder / "0_refine_parms.json", json.dumps(asdict(options), indent=0, sort_keys=True))
    log.info("results in %s", folder)
    return folder


def read_last(session: Session, run_file: RunFile) -> State:
    """Collective. Read the state after the last complete iteration; without one, the state of the session.

    Damaged iterations are logged and renamed.
    """
    for iteration in reversed(run_file.iterations()):
        try:
            return checkpoint.read(run_file, iteration, session.state, session.context)
        except FormatError as damage:
            kept = run_file.set_aside(iteration).name
            log.warning("warning: %s: renamed to %s, continuing from the iteration before", damage, kept)
    return session.state


@dataclass(frozen=True)
class Driver:
    """Runs the iterations of a session and writes its results; `began` is the start of the command (time.monotonic)."""

    session: Session
    run_file: RunFile
    began: float

    def from_the_start(self, state: State) -> None:
        """Collective. Write the starting maps, as the pilot scaled them, and run to the end."""
        ctx = self.session.context
        with ctx.team.together("writing the starting maps"):
            if ctx.team.is_root:
                outputs.write_maps(self.run_file.folder, state, self.session.resolved, ctx.grid)
        self.to_the_end(state)

    def to_the_end(self, state: State, *, report_first: bool = False) -> None:
        """Collective. Iterate from `state` and write the results; with `report_first`, report `state` itself first."""
        session, folder, ctx = self.session, self.run_file.folder, self.session.context
        reports = Reports(session, folder, self.began)
        if report_first:
            reports.after_iteration(state)
        loop = Loop(session.method, ctx, session.clock, self.run_file, reports.after_iteration)
        state = loop.refine(state)
        with ctx.team.together("writing half-maps"):
            if ctx.team.is_root and state.halves is not None:
                outputs.write_halves(
                    folder, state.iteration, state.halves, ctx.grid, session.resolved.options.map_suffix
                )
        conclusion = session.method.last(state, ctx)
        with ctx.team.together("writing maps"):
            if conclusion.hard_maps is not None:
                outputs.write_hard_maps(folder, state.iteration, conclusion.hard_maps, session.resolved, ctx.grid)
        sizes = outputs.write_particles(folder, session.inputs, session.resolved.options, state, ctx)
        full = self._full_size(state)
        session.clock.write(folder / "timing.json", time.monotonic() - self.began, ctx.partition.n)
        reports.at_the_end(state, conclusion.differences, full)
        self._log_results(state, sizes)

    def _full_size(self, state: State) -> FullSizeCurves | None:
        """Collective. Maps at the particles' own size, or that of --full-box, where they were matched in another; the
        FSC of their half-maps on rank 0.
        """
        session, ctx, options = self.session, self.session.context, self.session.resolved.options
        grid, began = full_size_grid(ctx.particles.lenses, options.full_box), time.monotonic()
        if options.no_full_maps or not session.method.makes_full_maps:
            return None
        if ctx.grid.agrees(grid):
            if options.full_box:
                log.info("--full-box %d: particles were matched in this box, so that the maps have it", grid.nx)
            return None
        size = MAPS_WRITTEN * ctx.models * 4 * grid.nx**3
        self.run_file.ensure_space(size, f"full-size maps of {grid.nx} px")
        curves = []
        for found in session.method.full_maps(state, ctx, grid):
            with ctx.team.together("writing full-size maps"):
                if found.volume is not None:
                    outputs.write_full_map(self.run_file.folder, state.iteration, found, session.resolved, grid)
                    resolution = resolution_at(found.curves["half_fsc"], HALF_MAP_FSC, grid)
                    known = "one half is empty" if np.isnan(resolution) else f"{resolution:.2f} Å by its half-maps"
                    log.info("map %d at full size: %s", found.model + 1, known)
                    curves.append(found.curves)
        if not curves:
            return None
        log.info("full-size maps of %d px took %.0f s", grid.nx, time.monotonic() - began)
        return FullSizeCurves(grid, curves)

    def _log_results(self, state: State, sizes: tuple[int, ...]) -> None:
        """Collective. Write the last lines of the log."""
        ctx, folder = self.session.context, self.run_file.folder
        of_maps = ", ".join(f"{size} of map {m}" for m, size in enumerate(sizes, 1))
        log.info("%d particles: %s; %d set aside", ctx.partition.n, of_maps, ctx.partition.n - sum(sizes))
        results = ctx.team.from_root(outputs.list_results, folder, state.iteration)
        log.info("done in %.0f s: %s in %s", time.monotonic() - self.began, results, folder)


def versions() -> dict[str, str]:
    """Versions of the packages that influence the results."""
    return {
        "mpirefine": mpirefine.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "h5py": library_version(),
    }
