"""How an option is declared: a dataclass field with its help text, unit, limits and level."""

from __future__ import annotations

from dataclasses import field
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
