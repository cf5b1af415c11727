"""Components by name: `name:key=value:key=value`, strict, and able to explain themselves. Knows no component; each
lives where its function lives.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, NamedTuple, get_args

import numpy as np

from mpirefine.errors import ParameterError

Loader = Callable[[str], np.ndarray]
TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class Spec(NamedTuple):
    """What was typed for a component: its name, and its parameters as text.

    >>> Spec.parse("filter.lowpass.gauss:cutoff_freq=0.05")
    Spec(name='filter.lowpass.gauss', values={'cutoff_freq': '0.05'})
    """

    name: str
    values: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Raises ParameterError for a missing name or '=', an empty key or value, and a key given twice."""
        name, *parts = str(text).strip().split(":")
        if not name:
            raise ParameterError(f"'{text}': a component is written name:key=value:key=value")
        values: dict[str, str] = {}
        for part in parts:
            key, equals, value = part.partition("=")
            value = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
            if not equals or not key or not value:
                raise ParameterError(f"'{text}': '{part}' is not key=value")
            if key in values:
                raise ParameterError(f"'{text}': {key} is given twice")
            values[key] = value
        return cls(name, values)


@dataclass(frozen=True)
class Component:
    """A function with its parameters set; called with what it works on."""

    name: str
    function: Callable[..., Any]
    parameters: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args, **self.parameters)


def nearest(word: str, known: list[str]) -> str:
    """A hint with the nearest spelling, or all choices."""
    near = difflib.get_close_matches(word, known, 1)
    return (
        f"did you mean {near[0]}?" if near else f"it is one of {', '.join(sorted(known))}" if known else "there is none"
    )


class Registry:
    """All components of one kind. A component's parameters are its function's keyword-only arguments, typed, explained
    in its docstring.
    """

    def __init__(self, kind: str):
        self.kind = kind  # singular, as in an error message: "processor", "comparator"
        self._functions: dict[str, Callable[..., Any]] = {}

    def register(self, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: known from now on by the first name and, as other spellings, by the rest."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            for name in names:
                self._functions[name] = function
            return function

        return add

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._functions))

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def function(self, name: str) -> Callable[..., Any]:
        """The function of a name; ParameterError with the nearest spelling."""
        if name not in self._functions:
            raise ParameterError(f"unknown {self.kind} '{name}': {nearest(name, list(self))}")
        return self._functions[name]

    def parameters(self, name: str) -> dict[str, inspect.Parameter]:
        """Its keyword-only arguments."""
        signature = inspect.signature(self.function(name), eval_str=True)
        return {key: p for key, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY}

    def build(self, text: str, load: Loader | None = None) -> Component:
        """The component that `text` asks for. `load` reads what array parameters name (files).

        Raises ParameterError for an unknown name or parameter, a value of the wrong type, and a parameter that is
        missing.
        """
        spec = Spec.parse(text)
        known = self.parameters(spec.name)
        values = {}
        for key, value in spec.values.items():
            if key not in known:
                takes = f"it takes: {', '.join(known)}" if known else "it takes none"
                raise ParameterError(f"{spec.name} has no parameter '{key}': {takes}")
            values[key] = convert(f"{spec.name}:{key}", value, known[key].annotation, load)
        missing = [key for key, p in known.items() if p.default is p.empty and key not in values]
        if missing:
            raise ParameterError(f"{spec.name} needs {', '.join(missing)}: {spec.name}:{missing[0]}=...")
        return Component(spec.name, self.function(spec.name), values)

    def build_optional(self, text: str | None, load: Loader | None = None) -> Component | None:
        """As `build`; None for nothing, an empty text and the word none, as EMAN2 has it."""
        return None if not text or text.strip().lower() == "none" else self.build(text, load)

    def describe(self, *, verbose: bool = False) -> str:
        """A line for each component; `verbose` adds its parameters with their defaults, and its whole docstring."""
        lines = []
        width = max((len(name) for name in self), default=0)
        for name in self:
            text = inspect.getdoc(self.function(name)) or ""
            if not verbose:
                lines.append(f"{name:{width}s}  {text.splitlines()[0] if text else ''}")
                continue
            lines += [signature_text(name, self.parameters(name)), *("    " + line for line in text.splitlines()), ""]
        return "\n".join(lines).rstrip()


def signature_text(name: str, parameters: dict[str, inspect.Parameter]) -> str:
    """A component as it is typed, each parameter with its default, or its type where it must be given."""
    return ":".join(
        [
            name,
            *(
                f"{key}=<{kind_of(p.annotation)}>" if p.default in (p.empty, None) else f"{key}={p.default}"
                for key, p in parameters.items()
            ),
        ]
    )


def kind_of(annotation: Any) -> str:
    """The word for a parameter's type."""
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]
    names = ["file" if kind is np.ndarray else getattr(kind, "__name__", str(kind)) for kind in kinds]
    return "|".join(names)


def convert(where: str, value: str, annotation: Any, load: Loader | None) -> Any:
    """A parameter's text as its type: int, float, bool, str, or an array read from the file it names; None is allowed
    where the type says so.
    """
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]
    for kind in kinds:
        try:
            if kind is bool:
                return TRUTHS[value.lower()]
            if kind is np.ndarray:
                if load is None:
                    raise ParameterError(f"{where} names a file, and none can be read here")
                return load(value)
            if kind is int and float(value) == int(float(value)):
                return int(float(value))
            if kind is float and np.isfinite(float(value)):
                return float(value)
            if kind is str:
                return value
        except (ValueError, KeyError, OverflowError):
            continue
    raise ParameterError(f"{where}={value}: must be {' or '.join(kind_of(kind) for kind in kinds)}")
