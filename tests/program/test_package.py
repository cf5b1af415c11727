"""The structure: what importing starts, who may know MPI, which layer sees which."""

import re
import subprocess
import sys

import pytest

import mpirefine
from tests.program.small import ROOT, clean_environment

PACKAGE = sorted((ROOT / "mpirefine").rglob("*.py"))
HEAVY = ("mpi4py.MPI", "scipy", "h5py", "matplotlib", "finufft", "pyfftw", "jinja2", "tqdm")


def python(text):
    return subprocess.run(
        [sys.executable, "-c", text], check=True, capture_output=True, text=True, env=clean_environment(), cwd=ROOT
    ).stdout.split()


@pytest.mark.parametrize(
    "module", ["mpirefine", "mpirefine.program.cli", "mpirefine.program.options", "mpirefine.program.start.defaults"]
)
def test_import_starts_nothing(module):
    assert python(f"import sys, {module}; print(*[m for m in {HEAVY} if m in sys.modules])") == []


def test_maths_and_data_do_not_load_mpi():
    paths = [
        p.relative_to(ROOT).with_suffix("")
        for p in PACKAGE
        if p.relative_to(ROOT / "mpirefine").parts[0] in ("maths", "data") and p.stem != "__init__"
    ]
    names = [".".join(p.parts) for p in paths]
    assert len(names) > 15
    load = f"import importlib, sys\nfor n in {names}: importlib.import_module(n)\n"
    assert python(load + "print(*[m for m in ('mpi4py', 'h5py') if m in sys.modules])") == []


def test_the_world_is_named_in_one_place():
    """Team.world() makes it; the entry point, which no Team outlives, ends all ranks through it."""
    named = {
        p.relative_to(ROOT / "mpirefine").as_posix() for p in PACKAGE if re.search(r"\bCOMM_WORLD\b", p.read_text())
    }
    assert named == {"distribution/team.py", "__main__.py"}
    assert (ROOT / "mpirefine/distribution/team.py").read_text().count("COMM_WORLD") == 1


def test_only_distribution_and_the_command_line_import_mpi():
    named = {
        p.relative_to(ROOT / "mpirefine").parts[0]
        for p in PACKAGE
        if re.search(r"^\s*(from|import) mpi4py", p.read_text(), re.M)
    }
    assert named == {"distribution", "program"}
    inside = {
        p.name for p in PACKAGE if "program" in p.parts and re.search(r"^\s*(from|import) mpi4py", p.read_text(), re.M)
    }
    assert inside == {"installation.py"}


def test_layers():
    done = subprocess.run(
        ["lint-imports", "--no-cache"], cwd=ROOT, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", PACKAGE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_habits(path):
    text = path.read_text()
    assert not re.search(r"^\s*print\(", text, re.M)
    assert "import *" not in text
    if path.name != "__init__.py":
        assert text.startswith('"""')
    elif path.parent != ROOT / "mpirefine":
        assert text == ""


def test_the_citation_names_this_version():
    cited = dict(re.findall(r"(?m)^(version|license): (.*)$", (ROOT / "CITATION.cff").read_text()))
    assert cited == {"version": mpirefine.__version__, "license": "BSD-3-Clause"}
