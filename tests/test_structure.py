"""Every rule of tools/check_structure finds the breach that is planted for it, and nothing in a tree without any."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import load_tool

ROOT = Path(__file__).resolve().parent.parent
LONG = "def f():\n" + "    pass\n" * 46
ANY = "from typing import Any\n\n\ndef f(x: Any) -> int:\n    return x\n"
STEP = "class S:\n    name = 's'\n\n    def run(self, state, ctx):\n        return state\n"
RAISES = 'def f():\n    """Nothing said."""\n    raise InputError("no")\n'
BREACHES = [
    ({"maths/a.py": "x = 1\n" * 301}, "301 lines, at most 300"),
    ({"maths/a.py": LONG}, "f has 47 lines, at most 45"),
    ({f"maths/a{i}.py": "" for i in range(16)}, "maths: 16 files, at most 15"),
    ({"maths/told.py": ""}, "a file's name says what is in it, not 'told'"),
    ({"maths/a.py": "def anew():\n    pass\n"}, "'anew' says nothing"),
    ({"data/a.py": "class C:\n    rings: int\n"}, "'rings' says nothing"),
    ({"maths/a.py": "def f():\n    pass\n", "maths/b.py": "class f:\n    pass\n"}, "two public names f in maths/"),
    ({"maths/a.py": "def made_map():\n    pass\n"}, "'made_map' says nothing"),
    ({"maths/a.py": "def f(told: int) -> int:\n    return told\n"}, "'told' says nothing"),
    ({"maths/a.py": "SEEN = 4\n"}, "'SEEN' says nothing"),
    ({"steps/a.py": ANY}, "f has Any in its signature"),
    ({"steps/a.py": "import typing\n\n\nclass C:\n    x: typing.Any\n"}, "C has Any"),
    ({"data/a.py": "def f(x: 'list[Any]') -> int:\n    return 1\n"}, "f has Any in its signature"),
    (
        {"maths/a.py": "from mpirefine.maths import b\n", "maths/b.py": "import mpirefine.maths.a\n"},
        "a circle of imports",
    ),
    ({"program/a.py": "def f():\n    from mpirefine.maths import b\n"}, "imports mpirefine.maths inside f"),
    ({"program/a.py": "def f():\n    import mpirefine.maths.b\n"}, "imports mpirefine.maths.b inside f"),
    ({"steps/a.py": STEP, "steps/b.py": "from mpirefine.steps.a import S\n"}, "imports the step mpirefine.steps.a"),
    ({"steps/a.py": "@dataclass\nclass C:\n    x: int\n"}, "C is a dataclass that is not frozen"),
    ({"steps/a.py": "class Context:\n" + "".join(f"    x{i}: int\n" for i in range(15))}, "Context has 15 fields"),
    ({"steps/a.py": "from mpirefine.storage.star import read_star\n"}, "a step imports mpirefine.storage.star"),
    ({"steps/a.py": "import mpirefine.storage.images\n"}, "a step imports mpirefine.storage.images"),
    ({"steps/a.py": "from mpirefine import storage\n"}, "a step imports mpirefine.storage"),
    ({"steps/a.py": "from mpirefine.storage.run import runfile\n"}, "a step imports mpirefine.storage.run.runfile"),
    ({"steps/a.py": "import numpy as np\n\nnp.save('a', 1)\n"}, "a step calls save"),
    ({"steps/a.py": "x = open('a')\n"}, "a step calls open"),
    ({"program/a.py": "def f(options):\n    return options.by_classes\n"}, "asks which way it is"),
    ({"program/a.py": "def f(state):\n    return hasattr(state, 'x')\n"}, "asks which way it is"),
    ({"steps/a.py": "def f(state):\n    return isinstance(state, Eman2State)\n"}, "asks which way it is"),
    (
        {"maths/eman2/a.py": "", "program/options_more.py": "from mpirefine.maths.eman2 import a\n"},
        "know EMAN2's way",
    ),
    ({"maths/eman2/a.py": "", "steps/b.py": "from mpirefine.maths.eman2 import a\n"}, "know EMAN2's way"),
    ({"maths/a.py": RAISES}, "f raises InputError, its docstring does not say so"),
]
SOUND = {
    "maths/a.py": 'def f(x: int) -> int:\n    """InputError when it is 0."""\n    raise InputError(str(x))\n',
    "steps/first.py": STEP + "\n\nRINGS = 3\n",
    "steps/space.py": "from mpirefine.storage.run import schema\n",
    "steps/method.py": "from mpirefine.steps.first import S\n",
    "program/commands/c.py": "from mpirefine.maths.eman2 import d\n",
    "maths/eman2/d.py": "def _retold():\n    pass\n",
}


@pytest.fixture
def complaints(tmp_path, monkeypatch, capsys):
    """What the tool says of a tree of files, and its exit status."""
    tool = load_tool("check_structure")

    def check(files):
        (tmp_path / "tools").mkdir()
        for name, text in files.items():
            path = tmp_path / "mpirefine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setattr(tool, "ROOT", tmp_path)
        monkeypatch.setattr("sys.argv", ["check_structure"])
        status = tool.main()
        return status, capsys.readouterr().out

    return check


@pytest.mark.parametrize("files, said", BREACHES, ids=[said for _, said in BREACHES])
def test_a_breach_is_found(complaints, files, said):
    status, text = complaints(files)
    assert status == 1 and said in text and len(text.splitlines()) == 1


def test_a_sound_tree_passes(complaints):
    assert complaints(SOUND) == (0, "")


def run_tool(folder, *words):
    """Exit status and output of a tool of the environment that runs the tests, started in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "text, said",
    [
        ("x = " + " + ".join(["1"] * 40) + "\n", "E501"),
        ("def f(x):\n" + "".join(f"    if x == {i}:\n        return {i}\n" for i in range(11)), "C901"),
        ("import os\n", "F401"),
    ],
    ids=["line", "complexity", "unused"],
)
def test_ruff_finds_a_breach(tmp_path, text, said):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "a.py").write_text(text)
    status, output = run_tool(tmp_path, "-m", "ruff", "check", "--no-cache", "a.py")
    assert status == 1 and said in output


@pytest.mark.parametrize(
    "text, said",
    [
        ("def f(x):\n    return x\n", "untyped-def"),
        ("def f(x: int | None) -> int:\n    return x + 1\n", "operator"),
    ],
    ids=["untyped", "optional"],
)
def test_mypy_finds_a_breach(tmp_path, text, said):
    (tmp_path / "a.py").write_text(text)
    words = ["-m", "mypy", "--config-file", str(ROOT / "setup.cfg"), "--cache-dir", str(tmp_path / "cache"), "a.py"]
    status, output = run_tool(tmp_path, *words)
    assert status == 1 and said in output


def test_import_linter_finds_breaches(tmp_path):
    """Of each contract: a lower layer imports a higher one, mathematics reads files, and the loop talks to MPI."""
    shutil.copytree(ROOT / "mpirefine", tmp_path / "mpirefine", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    linter = ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"]
    assert run_tool(tmp_path, *linter)[0] == 0
    for name, line in (
        ("maths/fourier/fsc.py", "import mpirefine.steps.summary"),
        ("maths/image/ctf.py", "import h5py"),
        ("program/loop.py", "import mpi4py"),
    ):
        path = tmp_path / "mpirefine" / name
        path.write_text(f"{path.read_text()}\n{line}\n")
    status, output = run_tool(tmp_path, *linter)
    assert status == 1 and output.count("BROKEN") == 3
