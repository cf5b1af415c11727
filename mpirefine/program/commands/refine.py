"""Refine several maps at once against one set of particles."""

from __future__ import annotations

import argparse

from mpirefine.distribution.team import Team
from mpirefine.program import run
from mpirefine.program.options import Options, add_to
from mpirefine.program.repeated_runs import repeat
from mpirefine.program.validation import validate


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare every option of a refinement."""
    add_to(parser, full=full)


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective. InputError or ParameterError with every problem of files and options."""
    options = Options.typed(vars(args))
    validate(options)
    if options.runs > 1 and not options.check:
        repeat(options, team)
    else:
        run.start(options, team)
    return 0
