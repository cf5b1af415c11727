"""The command line: finds the command, parses its options, and gives one clear line for each mistake."""

from __future__ import annotations

import argparse
import difflib
import importlib
from types import ModuleType
from typing import Any, NoReturn

import mpirefine
from mpirefine.errors import ParameterError
from mpirefine.program import logs
from mpirefine.program.launcher import check_launcher

COMMANDS = {
    "refine": "refine several maps at once against one set of particles (also without the word)",
    "resume": "continue an interrupted refinement",
    "plan": "estimate the memory, messages and seconds of a run beforehand (no MPI, no data)",
    "bench": "measure this machine: peak rates, speed of matching; makes the profile that plan reads",
    "project": "project maps over their asymmetric units (e2project3d)",
    "simmx": "score particles against projections (e2simmx, e2simmx2stage)",
    "classify": "assign each particle to its best references (e2classify)",
    "classaverage": "average the particles of each class (e2classaverage)",
    "make3d": "reconstruct a map from class averages (e2make3d)",
    "proc": "apply processors to maps and stacks (e2proc3d, e2proc2d)",
    "fsc": "compute the Fourier shell correlation of two maps",
    "eotest": "refine a map twice, with half of the particles each, and compute the FSC (e2eotest)",
    "help": "list filters, comparators, symmetries and all other named components, with their parameters",
    "selfcheck": "show what this installation and this job use: MPI, HDF5, FFTW, threads, nodes",
}
SERIAL = frozenset({"plan", "classify", "fsc", "help"})  # commands without MPI
USAGE = """usage: [mpirun -n N] python -m mpirefine --input particles.star --models a.mrc,b.mrc [options]
       [mpirun -n N] python -m mpirefine resume multi_01 [options]
       python -m mpirefine --help | --help-all | COMMAND --help

commands:
"""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises ParameterError, suggests the nearest spelling and takes no abbreviations."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def print_help(self, file: Any = None) -> None:
        """Print the help, on the first rank only."""
        logs.say(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Raise ParameterError; for unknown options it suggests the nearest spelling."""
        if message.startswith("unrecognized arguments:"):
            words = [w for w in message.split(": ", 1)[1].split() if w.startswith("-")] or [message.split(": ", 1)[1]]
            known = [o for action in self._actions for o in action.option_strings]
            lines = []
            for word in words:
                near = difflib.get_close_matches(word.split("=")[0], known, 1)
                lines.append(
                    f"unknown option {word.split('=')[0]}"
                    + (f": did you mean {near[0]}?" if near else ": see --help-all")
                )
            message = "\n".join(lines)
        raise ParameterError(message)


def usage() -> str:
    """The text that a call without arguments prints."""
    return USAGE + "\n".join(f"  {name:13s} {text}" for name, text in COMMANDS.items())


def main(argv: list[str]) -> int:
    """Run a command line and return its exit status. MPI starts only for commands that need it.

    ParameterError for an unknown command, another RefineError for other mistakes.
    """
    if not argv:
        logs.say(usage())
        return 0
    if "--version" in argv:
        logs.say(f"mpirefine {mpirefine.__version__}")
        return 0
    name, rest = (argv[0], argv[1:]) if not argv[0].startswith("-") else ("refine", argv)
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        raise ParameterError(
            f"unknown command '{name}'"
            + (f": did you mean {near[0]}?" if near else f": choose one of {', '.join(COMMANDS)}")
        )
    module = importlib.import_module(f"mpirefine.program.commands.{name}")
    parser = Parser(prog=f"python -m mpirefine {name}", description=module.__doc__)
    module.add_arguments(parser, full="--help-all" in rest)
    if "--help-all" in rest:
        logs.say(parser.format_help())
        return 0
    args = parser.parse_args(rest)
    return module.main(args) if name in SERIAL else run_with_team(module, args)


def run_with_team(module: ModuleType, args: argparse.Namespace) -> int:
    """Collective. Start MPI and run a command on all ranks.

    RankFailure when the launcher belongs to another MPI than mpi4py.
    """
    team_module = importlib.import_module("mpirefine.distribution.team")
    with team_module.Team.world() as team:
        check_launcher(team.size)
        return module.main(args, team)
