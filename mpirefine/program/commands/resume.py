"""Take an interrupted refinement up again from its last whole iteration (or its start), on any number of ranks."""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from mpirefine.distribution.team import Team
from mpirefine.errors import FormatError
from mpirefine.program import checkpoint, logs
from mpirefine.program.commands.refine import begin, finish, piloted
from mpirefine.program.launcher import check_launcher
from mpirefine.program.options import Options, add_to, validate
from mpirefine.program.setup import Session, open_session
from mpirefine.steps.state import State
from mpirefine.storage.run.runfile import RunFile

log = logging.getLogger(__name__)
CHANGEABLE = ("iter", "threads", "lowmem", "patience", "verbose")


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """The folder, and the options that may change between start and resume."""
    parser.add_argument("folder", type=Path, help="folder of the run, like multi_01")
    add_to(parser, full=True, only=CHANGEABLE)


def main(args: argparse.Namespace) -> int:
    """Collective."""
    changes = {name: value for name, value in vars(args).items() if name != "folder"}
    with Team.world() as team:
        check_launcher(team.size)
        return run(args.folder, team, changes)


def run(folder: Path, team: Team, changes: dict[str, Any]) -> int:
    """Collective. `changes` are options that may differ from the first start (iter, threads, lowmem, verbose)."""
    began = time.monotonic()
    logs.start(team.rank, team.size, int(changes.get("verbose", 1)))
    with RunFile.open(folder, team) as run_file:
        options = replace(Options.from_json(run_file.header["options"]), **changes)
        run_file.inputs.check(thorough=True)
        options = replace(options, radius=float(run_file.header["radius"]))
        validate(options)
        if team.is_root:
            logs.into(folder)
        session = open_session(options, team, Options.from_json(run_file.header["asked"]))
        session.context.run = run_file
        state = last_whole(session)
        log.info(
            "mpirefine on %d ranks takes up %s after iteration %d of %d",
            team.size,
            folder,
            state.iteration,
            options.iter,
        )
        if not state.iteration:
            return begin(session, piloted(session), folder, began)
        session.context.clock.take_up(folder / "timing.json", state.iteration)
        if state.iteration >= options.iter or state.converged:
            log.info("nothing is left to do: writing the results again")
        return finish(session, state, folder, began)


def last_whole(session: Session) -> State:
    """Collective. The state after the last iteration that is whole, or that of the start; damaged iterations are named
    and set aside.
    """
    run = session.context.run
    for iteration in reversed(run.iterations()):
        try:
            return checkpoint.read(run, iteration, session.state, session.context)
        except FormatError as damage:
            log.warning(
                "warning: %s: it is kept as %s, and the one before is taken", damage, run.set_aside(iteration).name
            )
    return session.state
