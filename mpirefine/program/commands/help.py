"""List the named components of a kind, such as processors, cmps or symmetries, with their parameters."""

from __future__ import annotations

import argparse

from mpirefine.program import logs
from mpirefine.program.catalogue import KINDS, registry
from mpirefine.registry import Registry


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare the kind and the name to list."""
    parser.add_argument("kind", nargs="?", help=f"one of {', '.join(KINDS)}; without it: the number of each kind")
    parser.add_argument("name", nargs="?", help="a component, shown in full")
    parser.add_argument("-v", "--verbose", action="store_true", help="show parameters, units and formulas")


def main(args: argparse.Namespace) -> int:
    """Print the list. ParameterError for an unknown kind or name."""
    if args.kind is None:
        lines = [f"  {kind:14s} {len(list(registry(kind))):3d} components" for kind in KINDS]
        logs.say(
            "components by name, written name:key=value:key=value; list them with 'help KIND [-v]' or 'help KIND "
            "NAME':\n" + "\n".join(lines)
        )
        return 0
    components = registry(args.kind)
    if args.name is not None:
        alone = Registry(components.kind)
        alone.register(args.name)(components.function(args.name))
        logs.say(alone.describe(verbose=True))
        return 0
    logs.say(components.describe(verbose=args.verbose))
    return 0
