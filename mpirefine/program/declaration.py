"""How an option is declared: a dataclass field that carries its help, unit, limits and level."""

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
    """A field of Options. `level` 0 is shown by --help, 1 by --help-all only; `least` and `most` are the smallest and
    largest value allowed.

    `short` is a one-letter spelling; `bare` what the option means without a value; `classes` marks what asks for
    EMAN2's way: scores by a
    comparator, and class averages.
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
