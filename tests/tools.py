"""The programs under tools/ as modules."""

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path


def load_tool(name):
    """The program tools/`name`, imported."""
    path = Path(__file__).resolve().parents[1] / "tools" / name
    spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, str(path)))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
