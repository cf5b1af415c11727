"""How an option is declared: a dataclass field with its help text, unit, limits and level."""

from __future__ import annotations

import argparse
from dataclasses import Field, field
from typing import Any


def opt(
    default: Any,
    text: str,
    *,
    unit: str = "",
    level: int = 1,
    least: float | None = None,
    most: float = float("inf"),
    choices: tuple[str, ...] = (),
    short: str = "",
    bare: str | None = None,
    classes: bool = False,
) -> Any:
    """Declare an option as a dataclass field with a help `text`.

    --help shows `level` 0 only, --help-all also level 1. `least` and `most` are the smallest and the largest allowed
    value, `short` is a one-letter spelling, and `bare` is the value of the option when it is given without one.
    `classes` marks an option that selects EMAN2's way: scores by a comparator, and class averages.
    """
    return field(
        default=default,
        metadata=dict(
            text=text,
            unit=unit,
            level=level,
            least=least,
            most=most,
            choices=choices,
            short=short,
            bare=bare,
            classes=classes,
        ),
    )


def flag_of(name: str) -> str:
    """The spelling of an option on the command line."""
    return "--" + name.replace("_", "-")


def add_option(place: argparse._ActionsContainer, option: Field[object], kind: type, full: bool) -> None:
    """Declare an option; the help shows it when it has level 0 or the help is `full`."""
    meta, flag = option.metadata, flag_of(option.name)
    shown = meta["text"] + (f" [{meta['unit']}]" if meta["unit"] else "")
    if option.default not in (None, "", False):
        shown += f" (default {option.default})"
    text = shown.replace("%", "%%") if full or meta["level"] == 0 else argparse.SUPPRESS
    flags = [meta["short"], flag] if meta["short"] else [flag]
    if kind is bool:
        place.add_argument(*flags, action="store_true", default=argparse.SUPPRESS, help=text)
        return
    bare = {} if meta["bare"] is None else {"nargs": "?", "const": meta["bare"]}
    place.add_argument(
        *flags,
        type=kind,
        default=argparse.SUPPRESS,
        help=text,
        choices=meta["choices"] or None,
        metavar=None if meta["choices"] else kind.__name__.upper(),
        **bare,
    )
