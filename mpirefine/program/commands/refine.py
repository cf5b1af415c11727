"""Refine several maps at once against one set of particles."""

from __future__ import annotations

import argparse
import json
import logging
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np

import mpirefine
from mpirefine.distribution.team import Team
from mpirefine.program import logs, outputs, run_folder
from mpirefine.program.launcher import check_launcher
from mpirefine.program.loop import refine, steps_of
from mpirefine.program.options import Options, add_to, validate
from mpirefine.program.reports.iteration import Presenter
from mpirefine.program.setup import Session, open_session, read_twins
from mpirefine.steps.likelihood import held_out_test
from mpirefine.steps.likelihood.pilot import Pilot
from mpirefine.steps.state import State
from mpirefine.storage.eman2.json import write_json
from mpirefine.storage.run import fingerprint
from mpirefine.storage.run.runfile import RunFile

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Every option of a refinement."""
    add_to(parser, full=full)


def main(args: argparse.Namespace) -> int:
    """Collective."""
    options = Options.typed(vars(args))
    validate(options)
    with Team.world() as team:
        check_launcher(team.size)
        if options.runs > 1 and not options.check:
            from mpirefine.program.repeated_runs import repeat  # which starts runs itself

            return repeat(options, team)
        return run(options, team)


def run(options: Options, team: Team) -> int:
    """Collective. A new refinement in a folder of its own."""
    began = time.monotonic()
    logs.start(team.rank, team.size, options.verbose)
    log.info("mpirefine %s on %d ranks", mpirefine.__version__, team.size)
    session = open_session(options, team)
    state = piloted(session)
    if options.check:
        log.info("everything was found and read; nothing was done (--check)")
        return 0
    inputs = fingerprint.record_fingerprints(team, team.from_root(input_files, session))
    folder = team.from_root(start_folder, session.resolved.options)
    header = dict(
        options=session.resolved.options.to_json(),
        asked=options.to_json(),
        versions=json.dumps(versions(team)),
        inputs=inputs,
        ranks=team.size,
        radius=session.context.plan.radius * session.context.grid.apix,
    )
    with RunFile.create(folder, team, header) as run_file:
        session.context.run = run_file
        return begin(session, state, folder, began)


def input_files(session: Session) -> list[str]:
    """On rank 0. Every file that the run reads: particles and their stacks, filtered twins, maps and masks."""
    options, particles = session.resolved.options, session.inputs.particles
    sources = [particles, *([read_twins(options, particles)] if options.usefilt else [])]
    stacks = [file for source in sources for file in (str(source.path), *source.table.files)]
    named = [
        name.strip()
        for names in (options.models, options.mask or "", options.usefilt or "")
        for name in names.split(",")
    ]
    return fingerprint.with_listed_files([options.input, *stacks, *named])


def piloted(session: Session) -> State:
    """Collective. The state to begin with: what a few particles say of maps, noise and contrast. Class averages need
    none of it but the contrast.
    """
    ctx = session.context
    names = tuple(session.inputs.names) if session.inputs else ()
    with ExitStack() as ctx.resources, ctx.clock.iteration(0), ctx.clock("pilot"):
        state = Pilot(names).run(session.state, ctx)
    if ctx.method is not None:
        return session.state
    scale = state.noise.scale
    log.info(
        "grey scale of every starting map: found from the particles%s",
        ""
        if len(scale) == 1
        else f"; {len(scale)} noise groups have {scale.min():.2f} to {scale.max():.2f} of the mean",
    )
    return state


def begin(session: Session, state: State, folder: Path, began: float) -> int:
    """Collective. From the starting maps, as the pilot left them, to the end."""
    ctx = session.context
    with ctx.team.together("writing the starting maps"):
        if ctx.team.is_root:
            outputs.write_maps(folder, 0, state.volumes, ctx.grid, session.resolved.mass, ctx.options.map_suffix)
    return finish(session, state, folder, began)


def start_folder(options: Options) -> Path:
    """On rank 0. The folder of the run, with its log begun and the options in EMAN2's file for them."""
    folder = run_folder.create(options.path)
    logs.into(folder)
    write_json(folder / "0_refine_parms.json", asdict(options))
    log.info("results in %s", folder)
    return folder


def finish(session: Session, state: State, folder: Path, began: float) -> int:
    """Collective. What a run that is taken up owes of its last iteration, then the loop from `state` to the end, and
    what the user takes away.
    """
    ctx = session.context
    presenter = Presenter(session, folder, began)
    if state.iteration:
        presenter(state)
    state = refine(state, steps_of(ctx), ctx, presenter)
    with ctx.team.together("writing half-maps"):
        if ctx.team.is_root and state.halves is not None:
            outputs.write_halves(folder, state.iteration, state.halves, ctx.grid, ctx.options.map_suffix)
    if ctx.method is None:
        outputs.write_hard_maps(folder, state, ctx, session.resolved.mass)
    sizes = outputs.write_particles(folder, session.inputs.particles if session.inputs else None, state, ctx)
    ctx.clock.write(folder / "timing.json", time.monotonic() - began, ctx.partition.n)
    presenter.tell_differences(state, held_out_test.compare(state, ctx))
    log.info(
        "%d particles: %s; %d set aside",
        ctx.partition.n,
        ", ".join(f"{size} of map {m}" for m, size in enumerate(sizes, 1)),
        ctx.partition.n - sum(sizes),
    )
    there = ctx.team.from_root(outputs.what_is_there, folder, state.iteration)
    log.info("done in %.0f s: %s in %s", time.monotonic() - began, there, folder)
    return 0


def versions(team: Team) -> dict[str, str]:
    """Versions that decide numbers."""
    import h5py
    import scipy

    return dict(mpirefine=mpirefine.__version__, numpy=np.__version__, scipy=scipy.__version__, h5py=h5py.__version__)
