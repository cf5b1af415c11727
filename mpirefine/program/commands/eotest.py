"""Refine a map twice, each time with half of the particles, and compute the FSC of both results, as e2eotest does.

The refinements share only the starting map. Takes the options of a refinement; --path is the folder of both.
"""

from __future__ import annotations

import argparse

from mpirefine.distribution.team import Team
from mpirefine.program.eotest import refine_halves
from mpirefine.program.options import Options, add_to
from mpirefine.program.validation import validate


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare every option of a refinement."""
    add_to(parser, full=full)


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective. ParameterError for options that need several maps or runs."""
    options = Options.typed(vars(args))
    validate(options)
    refine_halves(options, team)
    return 0
