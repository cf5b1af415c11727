"""The registries of named components by kind, and the files that components name."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from mpirefine.errors import FormatError, InputError, ParameterError
from mpirefine.registry import Component, Registry, nearest
from mpirefine.storage.images import open_images

KINDS = {
    "processors": ("mpirefine.maths.eman2.processors.catalogue", "PROCESSORS"),
    "cmps": ("mpirefine.maths.eman2.comparators.catalogue", "CMPS"),
    "aligners": ("mpirefine.maths.eman2.aligners.catalogue", "ALIGNERS"),
    "averagers": ("mpirefine.maths.eman2.averagers", "AVERAGERS"),
    "reconstructors": ("mpirefine.maths.eman2.reconstructors.catalogue", "RECONSTRUCTORS"),
    "projectors": ("mpirefine.maths.eman2.gridding", "PROJECTORS"),
    "orientgens": ("mpirefine.maths.eman2.orientgens", "ORIENTGENS"),
    "symmetries": ("mpirefine.maths.geometry.symmetry", "SYMMETRIES"),
}
TEXT = (".txt", ".dat", ".csv")  # suffixes of files with curves


def registry(kind: str) -> Registry:
    """The registry of a kind of components, whose modules are imported now.

    ParameterError with the nearest spelling for an unknown kind.
    """
    if kind not in KINDS:
        raise ParameterError(f"unknown kind of components '{kind}': {nearest(kind, list(KINDS))}")
    module, name = KINDS[kind]
    return getattr(importlib.import_module(module), name)


def load(name: str) -> np.ndarray:
    """Read the file that a parameter names: a curve (n, 2) from text, else the first image (yx) or map (zyx).

    InputError when the file cannot be read, FormatError when a text file is no table of numbers.
    """
    if Path(name).suffix.lower() not in TEXT:
        with open_images(name) as file:
            return file.read([0])[0]
    try:
        curve = np.loadtxt(name, ndmin=2, comments="#")
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise FormatError(f"{name}: not a table of numbers ({error})") from None
    if curve.shape[1] < 2 or not np.isfinite(curve).all():
        raise FormatError(f"{name}: a curve needs two columns of finite numbers: the file has {curve.shape[1]}")
    return curve


def build(kind: str, text: str) -> Component:
    """Build the component of `text`, name:key=value, and read the files it names.

    ParameterError for unknown names or values, InputError or FormatError for files.
    """
    return registry(kind).build(text, load)


def build_optional(kind: str, text: str | None) -> Component | None:
    """As `build`, but None for None, an empty text and the word none.

    ParameterError for unknown names or values, InputError or FormatError for files.
    """
    return registry(kind).build_optional(text, load)
