"""Every rule of tools/check_structure finds the breach that is planted for it, and nothing in a tree without any."""

import pytest

from tests.tools import load_tool

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
    ({"steps/a.py": ANY}, "f has Any in its signature"),
    (
        {"maths/a.py": "from mpirefine.maths import b\n", "maths/b.py": "import mpirefine.maths.a\n"},
        "a circle of imports",
    ),
    ({"program/a.py": "def f():\n    from mpirefine.maths import b\n"}, "imports mpirefine.maths inside f"),
    ({"steps/a.py": STEP, "steps/b.py": "from mpirefine.steps.a import S\n"}, "imports the step mpirefine.steps.a"),
    ({"steps/a.py": "@dataclass\nclass C:\n    x: int\n"}, "C is a dataclass that is not frozen"),
    ({"steps/a.py": "class Context:\n" + "".join(f"    x{i}: int\n" for i in range(15))}, "Context has 15 fields"),
    ({"steps/a.py": "from mpirefine.storage.star import read_star\n"}, "a step imports mpirefine.storage.star"),
    ({"maths/eman2/a.py": "", "steps/b.py": "from mpirefine.maths.eman2 import a\n"}, "know EMAN2's way"),
    ({"maths/a.py": RAISES}, "f raises InputError, its docstring does not say so"),
]
SOUND = {
    "maths/a.py": 'def f(x: int) -> int:\n    """InputError when it is 0."""\n    raise InputError(str(x))\n',
    "steps/first.py": STEP,
    "steps/method.py": "from mpirefine.steps.first import S\n",
    "program/commands/c.py": "from mpirefine.maths.eman2 import d\n",
    "maths/eman2/d.py": "def _told():\n    pass\n",
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
