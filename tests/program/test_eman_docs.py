"""docs/eman2.md names every option of EMAN2 and every component, each in the table it belongs to, with the defaults
that the code has.
"""

import importlib
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from mpirefine.program import cli
from mpirefine.program.catalogue import KINDS, registry
from mpirefine.program.declaration import flag_of
from mpirefine.program.eman2.options import PRESETS, EmanOptions
from mpirefine.program.eman2.presets import angular_step
from mpirefine.program.eman2.support import IDLE
from mpirefine.program.options import LIKELIHOOD, Options, add_to
from mpirefine.program.validation import validate

PAGE = Path(__file__).resolve().parents[2] / "docs/eman2.md"
ALSO_EMAN = (
    "verbose",
    "check",
    "iter",
    "models",
    "nmodels",
    "input",
    "path",
    "mass",
    "apix",
    "sym",
    "lowmem",
    "sep",
    "targetres",
    "automask3d",
    "threads",
)
OPTIONS = (*(one.name for one in fields(EmanOptions)), *ALSO_EMAN)
VERDICTS = {"same", "better", "different"}
NAMED = re.compile(r"`([^`\n]+)`")


def section(heading):
    """Lines from a heading to the next one of any level."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = lines.index(heading) + 1
    return lines[start : next((i for i in range(start, len(lines)) if lines[i].startswith("#")), len(lines))]


def rows(heading):
    """Cells of each row of the tables of a section, without their heads; a | within backticks is written \\|."""
    found = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in section(heading) if line.startswith("|")]
    return [
        [cell.strip() for cell in row]
        for row in found
        if not set("".join(row)) <= set("-: ") and row[0].strip() not in ("option", "component")
    ]


def options_told():
    """Name and cells of each row of the options' table."""
    return {name: row for row in rows("## 3. Options") for name in NAMED.findall(row[0])}


def test_every_option_of_eman2_has_a_row():
    told = options_told()
    assert [name for name in (*map(flag_of, OPTIONS), "--version", "--help") if name not in told] == []


def test_every_option_that_is_told_is_there():
    known = (
        {flag_of(one.name) for one in fields(Options)}
        | {one.metadata["short"] for one in fields(Options)}
        | {"--version", "--help", "-h"}
    )
    assert set(options_told()) <= known


def test_every_row_has_a_verdict():
    for row in rows("## 3. Options"):
        assert len(row) == 4 and row[2] in VERDICTS, row
    for kind in KINDS:
        for row in rows(f"### {kind}"):
            assert len(row) == 3 and row[1] in VERDICTS | {"absent"}, row
            assert row[1] == "same" or row[2], row


@pytest.mark.parametrize("place, preset", list(enumerate(PRESETS, 1)))
def test_defaults_are_those_of_the_presets(place, preset):
    told = options_told()
    for name, value in PRESETS[preset].items():
        if flag_of(name) not in told:
            continue
        cells = told[flag_of(name)][1].split(" / ")
        assert len(cells) == 3, name
        text = "on" if value is True else f"{value:g}" if isinstance(value, float) else str(value)
        assert text in cells[place].replace("`", ""), (name, value, cells)


@pytest.mark.parametrize("kind", KINDS)
def test_every_component_has_a_row(kind):
    told = {name for row in rows(f"### {kind}") if row[1] != "absent" for name in NAMED.findall(row[0])}
    assert sorted(set(registry(kind)) - told) == []
    assert sorted(told - set(registry(kind))) == []


def test_absent_components_are_absent():
    for kind in KINDS:
        absent = {name for row in rows(f"### {kind}") if row[1] == "absent" for name in NAMED.findall(row[0])}
        assert not absent & set(registry(kind)), kind


def test_the_step_of_directions_told_is_that_of_the_code():
    assert (
        f"{angular_step(128, 2.0, 12.0, 5):.2f}° at speed 5 for 12 Å, 128 pixels of 2 Å" in options_told()["--speed"][3]
    )


def test_what_is_marked_asks_for_class_averages():
    marked = {name for name, row in options_told().items() if row[0].endswith("(c)")}
    assert marked == {flag_of(one.name) for one in fields(Options) if one.metadata["classes"]}


def test_options_of_the_likelihood_are_named():
    text = " ".join(section("## 3. Options"))
    named = text.split("Of the likelihood only:")[1].split("With class averages the log says")[0]
    assert set(NAMED.findall(named)) == {flag_of(name) for name in LIKELIHOOD}


SUBPROGRAMS = ("project", "simmx", "classify", "classaverage", "make3d")


@pytest.mark.parametrize("name", SUBPROGRAMS)
def test_options_of_commands_are_named(name):
    """Each option of a command that stands for a program of EMAN2 is in its row, and each in the row is one."""
    parser = cli.Parser()
    importlib.import_module(f"mpirefine.program.commands.{name}").add_arguments(parser, full=True)
    idle = {spelling for words, _, _ in IDLE.values() for spelling in words} - {"--storebad", "--lowmem"}
    known = {action.option_strings[0] for action in parser._actions if action.option_strings} - idle - {"-h"}
    (row,) = [row for row in rows("## 7. Commands beside EMAN2's programs") if row[1].startswith(f"`{name}")]
    also = {"--kept", "--twostage", "--seed"}  # named among what differs
    assert known - also == set(NAMED.findall(row[2]))
    assert {option for option in known & also} <= set(re.findall(r"--[a-z]+", row[3]))


def test_nothing_is_missing_in_commands():
    """No row of the table of commands says that an option of EMAN2 is not there."""
    assert not [row for row in rows("## 7. Commands beside EMAN2's programs") if re.search(r"\bnot `--", row[-1])]


def test_translated_command_lines_are_understood():
    text = "\n".join(section("## 2. How to translate a command line")).replace("\\\n", " ")
    lines = re.findall(r"^    mpirun -n \d+ python -m mpirefine (.+)$", text, re.M)
    assert len(lines) == 3
    parser = cli.Parser()
    add_to(parser, full=True)
    ways = []
    for line in lines:
        options = Options.typed(vars(parser.parse_args(shlex.split(line))))
        validate(options)
        ways.append(bool(options.by_classes))
    assert ways == [True, False, False]
