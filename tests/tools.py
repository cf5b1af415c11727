"""What tests of several rooms share: the programs under tools/ as modules, and the angle between views."""

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path

import numpy as np

from mpirefine.maths.geometry.symmetry import operations


def load_tool(name):
    """The program tools/`name`, imported."""
    path = Path(__file__).resolve().parents[1] / "tools" / name
    spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, str(path)))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def angular_distance(a: np.ndarray, b: np.ndarray, symmetry: str = "c1") -> np.ndarray:
    """(n,) angle in degrees between the views of rotations a and b (n, 3, 3), mirrors and symmetry copies counted as
    the same.
    """
    copies = np.einsum("nx,gxy->gny", b[:, 2], operations(symmetry))
    cosine = np.abs(np.einsum("nx,gnx->gn", a[:, 2], copies)).max(axis=0)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
