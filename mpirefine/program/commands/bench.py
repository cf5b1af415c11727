"""Measure this machine: peak rates, the speed of matching, and the seconds per unit of work of each step.

Prints JSON, which 'plan --machine' reads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mpirefine.distribution.team import Team
from mpirefine.program import logs
from mpirefine.program.launcher import check_threads
from mpirefine.program.performance.benchmark import measure
from mpirefine.program.performance.history import append_history


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare output files and threads."""
    parser.add_argument("--out", type=Path, help="also write the JSON to this file, for 'plan --machine'")
    parser.add_argument(
        "--history", type=Path, help="append a line with date, commit, processor and results to this file"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads per rank (default 1)")


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective. ParameterError when a node has too few cores for --threads."""
    check_threads(team, args.threads)
    logs.set_up(team.rank, team.size, 0)
    machine, rates = measure(team, args.threads)
    figures = {"machine": machine.to_json(), "matching": rates}
    text = json.dumps(figures, indent=1)
    with team.together("writing the profile"):
        if team.is_root:
            logs.say(text)
            if args.out:
                args.out.write_text(text + "\n")
            if args.history:
                append_history(args.history, "bench", figures)
    return 0
