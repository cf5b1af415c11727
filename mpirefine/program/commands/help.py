"""List the named components: processors, cmps, aligners, averagers, reconstructors, projectors, orientgens,
symmetries.
"""

from __future__ import annotations

import argparse

from mpirefine.program import logs
from mpirefine.program.catalogue import KINDS, registry
from mpirefine.registry import Registry


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """What to list."""
    parser.add_argument("kind", nargs="?", help=f"one of {', '.join(KINDS)}; none: how many there are of each")
    parser.add_argument("name", nargs="?", help="one component, in full")
    parser.add_argument("-v", "--verbose", action="store_true", help="with parameters, units and formulas")


def main(args: argparse.Namespace) -> int:
    """No MPI."""
    if args.kind is None:
        lines = [f"  {kind:14s} {len(list(registry(kind))):3d} of them" for kind in KINDS]
        logs.say(
            "components by name, written name:key=value:key=value; list them with 'help KIND [-v]' or 'help KIND "
            "NAME':\n" + "\n".join(lines)
        )
        return 0
    found = registry(args.kind)
    if args.name is not None:
        alone = Registry(found.kind)
        alone.register(args.name)(found.function(args.name))
        logs.say(alone.describe(verbose=True))
        return 0
    logs.say(found.describe(verbose=args.verbose))
    return 0
