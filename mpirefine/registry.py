"""Components by name: `name:key=value:key=value`, with strict checks, and able to describe themselves.

A component is a function that is registered under a name. Its keyword-only arguments are what a user may set; their
annotations give the types, its docstring the help text. What else the program must know of a component (whether an
aligner mirrors images, whether an averager corrects the CTF) is declared with it as a trait, never guessed from its
name.

This module knows no component: each is registered in the module that defines it.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args

import numpy as np

from mpirefine.errors import ParameterError

Loader = Callable[[str], np.ndarray]
Function = TypeVar("Function", bound=Callable[..., Any])
TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class Spec(NamedTuple):
    """A component as typed: its name, and its parameters as text.

    >>> Spec.parse("filter.lowpass.gauss:cutoff_freq=0.05")
    Spec(name='filter.lowpass.gauss', values={'cutoff_freq': '0.05'})
    """

    name: str
    values: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read `name:key=value:key=value`.

        Raises ParameterError for a missing name or '=', an empty key or value, and a key given twice.
        """
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
    """A registered function with its parameters set; calling it calls the function with them."""

    name: str
    function: Callable[..., Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)  # those that were given
    declared: Mapping[str, bool | str] = field(default_factory=dict)  # traits as `Registry.register` has them

    def __call__(self, *args: Any) -> Any:
        return self.function(*args, **self.parameters)

    def value(self, parameter: str) -> Any:
        """A parameter as given, or else its default; None when the component has no such parameter."""
        known = keyword_parameters(self.function)
        return self.parameters.get(parameter, known[parameter].default if parameter in known else None)

    @property
    def traits(self) -> frozenset[str]:
        """The traits that hold for the component with these parameters."""
        return frozenset(
            trait
            for trait, holds in self.declared.items()
            if (bool(self.value(holds)) if isinstance(holds, str) else holds)
        )


def keyword_parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only arguments of a function, by name, with their annotations evaluated."""
    signature = inspect.signature(function, eval_str=True)
    return {key: p for key, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY}


def explain(*texts: str) -> Callable[[Function], Function]:
    """Decorator: append to a docstring the meaning of parameters that many components share."""

    def add(function: Function) -> Function:
        function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), *texts])
        return function

    return add


def nearest(word: str, known: list[str]) -> str:
    """A hint for an error message: the known word that is spelled most alike, or else all of them."""
    near = difflib.get_close_matches(word, known, 1)
    return (
        f"did you mean {near[0]}?" if near else f"it is one of {', '.join(sorted(known))}" if known else "there is none"
    )


class Registry:
    """All components of one kind."""

    def __init__(self, kind: str):
        self.kind = kind  # singular, as in an error message: "processor", "comparator"
        self._functions: dict[str, Callable[..., Any]] = {}
        self._traits: dict[str, dict[str, bool | str]] = {}

    def register(self, *names: str, **traits: bool | str) -> Callable[[Function], Function]:
        """Decorator: make a function known by the first name and, as other spellings, by the rest.

        Each keyword is a trait: True where it always holds, or the name of the parameter whose value decides.
        """

        def add(function: Function) -> Function:
            for name in names:
                self._functions[name], self._traits[name] = function, traits
            return function

        return add

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._functions))

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def function(self, name: str) -> Callable[..., Any]:
        """The function of a name. Raises ParameterError with the nearest spelling for an unknown one."""
        if name not in self._functions:
            raise ParameterError(f"unknown {self.kind} '{name}': {nearest(name, list(self))}")
        return self._functions[name]

    def parameters(self, name: str) -> dict[str, inspect.Parameter]:
        """The keyword-only arguments of a component. Raises ParameterError for an unknown name."""
        return keyword_parameters(self.function(name))

    def build(self, text: str, load: Loader | None = None) -> Component:
        """The component that `text` asks for. `load` reads the files that array parameters name.

        Raises ParameterError for an unknown name or parameter, a value of the wrong type, and a missing parameter.
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
        return Component(spec.name, self.function(spec.name), values, self._traits[spec.name])

    def build_optional(self, text: str | None, load: Loader | None = None) -> Component | None:
        """As `build`, but None for None, an empty text and the word none, as in EMAN2. Raises ParameterError."""
        return None if not text or text.strip().lower() == "none" else self.build(text, load)

    def describe(self, *, verbose: bool = False) -> str:
        """One line for each component; `verbose` adds its parameters with their defaults, and its whole docstring."""
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
                f"{key}=<{type_name(p.annotation)}>" if p.default in (p.empty, None) else f"{key}={p.default}"
                for key, p in parameters.items()
            ),
        ]
    )


def value_types(annotation: Any) -> list[type]:
    """The types that an annotation allows, without None."""
    return [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]


def type_name(annotation: Any) -> str:
    """The type of a parameter as help and errors name it; an array is read from a file."""
    kinds = value_types(annotation)
    return "|".join("file" if kind is np.ndarray else getattr(kind, "__name__", str(kind)) for kind in kinds)


def convert(where: str, value: str, annotation: Any, load: Loader | None) -> Any:
    """The value of a parameter from its text: int, float, bool, str, or the array in the file that it names.

    `where` is the parameter as an error names it. Raises ParameterError when no allowed type fits, or when a file is
    named and `load` is None.
    """
    kinds = value_types(annotation)
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
    raise ParameterError(f"{where}={value}: must be {' or '.join(type_name(kind) for kind in kinds)}")
