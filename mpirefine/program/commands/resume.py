"""Take an interrupted refinement up again from its last whole iteration (or its start), on any number of ranks."""
from __future__ import annotations

import argparse
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from mpirefine.distribution.team import Team
from mpirefine.errors import InputError
from mpirefine.program import checkpoint, logs
from mpirefine.program.commands.refine import begin, finish, piloted
from mpirefine.program.launcher import check_launcher
from mpirefine.program.options import Options, add_to, validate
from mpirefine.program.session import open_session
from mpirefine.storage.relion import input_digest
from mpirefine.storage.runfile import RunFile

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
        whole = run_file.iterations()
        options = replace(Options.from_json(run_file.header["options"]), **changes)
        if team.from_root(input_digest, options.input) != run_file.header["input_digest"]:
            raise InputError(f"{options.input} is not the file that {folder} was started with: restore it, or start a new run")
        options = replace(options, radius=float(run_file.header["radius"]))
        validate(options)
        if team.is_root:
            logs.into(folder)
        log.info("mpirefine on %d ranks takes up %s after iteration %d of %d", team.size, folder, max(whole, default=0), options.iter)
        session = open_session(options, team, Options.from_json(run_file.header["asked"]))
        session.context.run = run_file
        if not whole:
            return begin(session, piloted(session), folder, began)
        session.context.clock.take_up(folder / "timing.json", whole[-1])
        state = checkpoint.read(run_file, whole[-1], session.state, session.context)
        if state.iteration >= options.iter or state.converged:
            log.info("nothing is left to do: writing the results again")
        return finish(session, state, folder, began)
