"""STAR files of every layout: cells come back byte by byte, changed cells alone change, errors name line and row."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mpirefine.errors import FormatError, InputError
from mpirefine.storage import star_parser
from mpirefine.storage.star import StarTable, read_star, write_star
from mpirefine.storage.star_cells import decimal_cells, integer_cells, quote, unquote

PLAIN = """# made elsewhere
data_optics

loop_
_rlnOpticsGroup #1
_rlnVoltage #2
1 300.000
2 2.00e+02

data_particles

loop_
_rlnImageName #1
_rlnDefocusU #2
_note #3
1@a.mrcs 1.50 x
2@a.mrcs +1.5 data_y
3@b.mrcs 0150e-1 loop_
4@b.mrcs nan a#b
"""
LAYOUTS = {
    "plain": PLAIN,
    "windows": PLAIN.replace("\n", "\r\n"),
    "old mac": PLAIN.replace("\n", "\r"),
    "tabs": PLAIN.replace(" ", "\t"),
    "odd spacing": PLAIN.replace(" ", " \t  ").replace("\n", "  \n").replace("\n1@", "\n \t 1@"),
    "blank lines": PLAIN.replace("\n", "\n\n   \n"),
    "comments": PLAIN.replace("2@a", "# one more\n   #another @ one\n2@a").replace(
        "data_particles", "#x\ndata_particles"
    ),
    "no last line end": PLAIN.rstrip(),
    "double quotes": PLAIN.replace(" x\n", ' "x"\n'),
    "single quotes": PLAIN.replace(" x\n", " 'x'\n"),
    "no numbers of columns": "\n".join(line.split(" #")[0] if line[:1] == "_" else line for line in PLAIN.split("\n")),
    "indented keywords": PLAIN.replace("data_", "  data_").replace("loop_\n_", " loop_  \n  _"),
    "no loop": PLAIN.replace(
        "loop_\n_rlnOpticsGroup #1\n_rlnVoltage #2\n1 300.000\n2 2.00e+02", "_a 1\n_b 'x y' # z\n"
    ),
}


@pytest.fixture(params=["at once", "in pieces", "line by line"])
def scan(request, monkeypatch):
    """The ways in which bytes are read."""
    if request.param == "in pieces":
        monkeypatch.setattr(star_parser, "SCANNED_BYTES", 8)
    if request.param == "line by line":
        monkeypatch.setattr(star_parser, "_scan_lines", star_parser._parse_lines)


def cells(table):
    return {name: table.column(name) for name in table.columns}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, scan, layout):
    (tmp_path / "a.star").write_bytes(LAYOUTS[layout].encode())
    tables = read_star(tmp_path / "a.star")
    assert list(tables) == ["optics", "particles"]
    assert cells(tables["particles"]) == {
        "rlnImageName": ["1@a.mrcs", "2@a.mrcs", "3@b.mrcs", "4@b.mrcs"],
        "rlnDefocusU": ["1.50", "+1.5", "0150e-1", "nan"],
        "_note"[1:]: ["x", "data_y", "loop_", "a#b"],
    }
    np.testing.assert_array_equal(tables["particles"].floats("rlnDefocusU"), [1.5, 1.5, 15, np.nan])
    if layout == "no loop":
        assert cells(tables["optics"]) == {"a": ["1"], "b": ["x y"]} and not tables["optics"].loop
    else:
        assert cells(tables["optics"]) == {"rlnOpticsGroup": ["1", "2"], "rlnVoltage": ["300.000", "2.00e+02"]}
    names, codes = tables["particles"].factorise("note")
    assert names == ("x", "data_y", "loop_", "a#b") and codes.tolist() == [0, 1, 2, 3]
    write_star(tmp_path / "b.star", tables.values())
    again = read_star(tmp_path / "b.star")
    for name, table in tables.items():
        assert cells(again[name]) == cells(table) and again[name].loop == table.loop
        assert [again[name]._raw(c, slice(None)) for c in table.columns] == [
            table._raw(c, slice(None)) for c in table.columns
        ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_changed_cells_alone_change(tmp_path, scan, layout, rng):
    """A column replaced, one added, rows in another order: every other cell has the bytes it had."""
    (tmp_path / "a.star").write_bytes(LAYOUTS[layout].encode())
    table = read_star(tmp_path / "a.star")["particles"]
    order = [3, 1, 1, 0]
    new = table.with_columns({"rlnDefocusU": ["a b", "1", "", "#"], "more": integer_cells(np.arange(4))}).take(order)
    write_star(tmp_path / "b.star", [new])
    again = read_star(tmp_path / "b.star")["particles"]
    for name in ("rlnImageName", "note"):
        assert again._raw(name, slice(None)) == [table._raw(name, slice(None))[row] for row in order]
    assert again.column("rlnDefocusU") == ["#", "1", "1", "a b"] and again.column("more") == ["3", "1", "1", "0"]
    assert again.columns == ("rlnImageName", "rlnDefocusU", "note", "more")


TEXTS = [
    'it"s a',
    "it's a",
    "data_x",
    "DATA_x",
    "loop_",
    "_x",
    "#x",
    "",
    "a b",
    "a\tb",
    '"',
    "'",
    "''",
    '"x"',
    'a"b',
    ";",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("loop", [True, False])
def test_texts_that_need_quotes(tmp_path, text, loop):
    """In the first column and in the last."""
    rows = 2 if loop else 1
    table = StarTable.from_columns("x", {"a": [text] * rows, "b": ["1"] * rows, "c": [text] * rows}, loop)
    write_star(tmp_path / "a.star", [table, StarTable.from_columns("y", {"a": ["z"]})])
    found = read_star(tmp_path / "a.star")
    assert cells(found["x"]) == cells(table) == {"a": [text] * rows, "b": ["1"] * rows, "c": [text] * rows}
    assert found["y"].column("a") == ["z"]
    write_star(tmp_path / "b.star", found.values())
    assert (tmp_path / "b.star").read_bytes() == (tmp_path / "a.star").read_bytes()


def test_a_text_that_no_cell_can_hold():
    assert unquote(quote("a \"b' c")) == b"a \"b' c"
    for text in ("a\nb", "a' b\" c"):
        with pytest.raises(InputError, match="cannot be written to a STAR file"):
            quote(text)


def test_a_row_that_begins_like_a_column_comes_first(tmp_path):
    (tmp_path / "a.star").write_text("data_x\nloop_\n_a\n_b\n1 2\n_c 3\n")
    table = read_star(tmp_path / "a.star")["x"]
    write_star(tmp_path / "b.star", [table.take([1, 0])])
    assert cells(read_star(tmp_path / "b.star")["x"]) == {"a": ["_c", "1"], "b": ["3", "2"]}


def test_names_that_are_no_ascii_and_bytes_that_are_no_text(tmp_path, scan):
    raw = "data_x\nloop_\n_a\n_b\né\u00a0.mrcs 1\n".encode() + b"\xff\xfe 2\n\x00\x01 3\n"
    (tmp_path / "a.star").write_bytes(raw)
    table = read_star(tmp_path / "a.star")["x"]
    assert table.column("a")[0] == "é\u00a0.mrcs" and table.floats("b").tolist() == [1, 2, 3]
    write_star(tmp_path / "b.star", [table])
    assert (tmp_path / "b.star").read_bytes().endswith(raw.split(b"_b\n")[1] + b"\n")


@pytest.mark.parametrize("length", [200, 70_000])
def test_long_cells_and_rows(tmp_path, scan, length):
    names = [f"{'x' * (length + number)}" for number in range(3)]
    table = StarTable.from_columns("x", {"a": names, "b": ["1", "2", "3"], "c": names})
    write_star(tmp_path / "a.star", [table])
    found = read_star(tmp_path / "a.star")["x"]
    assert cells(found) == cells(table) and found.floats("b").tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("2@a.mrcs +1.5 data_y", "2@a.mrcs +1.5", "line 17: 2 values for the 3 columns of table 'particles'"),
        ("4@b.mrcs nan a#b", "4@b.mrcs nan a b", "line 19: 4 values for the 3 columns"),
        ("3@b.mrcs 0150e-1 loop_", "loop_", "line 18: a second loop_ in table 'particles'"),
        ("3@b.mrcs 0150e-1 loop_", "data_optics", "line 18: a second table 'data_optics'"),
        ("_note #3", "_rlnImageName", "line 15: column _rlnImageName for the second time"),
        ("loop_\n_rlnImageName", "_rlnImageName", "line 15: values outside of a loop_ in table 'particles'"),
        ("data_optics\n", "", "line 3: 'loop_' stands before any data_ block"),
    ],
)
def test_errors_name_the_line(tmp_path, scan, old, new, words):
    (tmp_path / "a.star").write_text(PLAIN.replace(old, new))
    with pytest.raises(FormatError, match=words):
        read_star(tmp_path / "a.star")


@pytest.mark.parametrize("cell", ["1_5", "x", "1e", "²", "0x10", "--1", "1" * 80 + "x", "1\0", '"1'])
def test_a_cell_that_is_no_number(tmp_path, scan, cell):
    rows = "".join(f"{number}\n" for number in [1, 2, cell, 4])
    (tmp_path / "a.star").write_text(f"data_x\nloop_\n_a\n{rows}")
    with pytest.raises(FormatError, match="row 3, column _a: '.*' is not a number"):
        read_star(tmp_path / "a.star")["x"].floats("a")


def test_numbers_of_every_kind(tmp_path, scan, rng):
    texts = [
        "1",
        "-2.5",
        "+.5",
        "3.",
        "1e5",
        "-1E-05",
        "inf",
        "-nan",
        "Infinity",
        "1" * 80,
        *map(repr, rng.normal(size=50).tolist()),
    ]
    (tmp_path / "a.star").write_text("data_x\nloop_\n_a\n" + "\n".join(texts))
    np.testing.assert_array_equal(read_star(tmp_path / "a.star")["x"].floats("a"), [float(text) for text in texts])


def test_numbers_as_cells(rng):
    values = np.array([0.0, -0.0, -1e-9, 1.5, -2.0000005, 1e20, *rng.normal(0, 1e3, 1000)])
    assert decimal_cells(values).tolist() == [f"{value:.6f}".encode() for value in values + 0.0]
    assert integer_cells(np.array([0, -1, 12345])).tolist() == [b"0", b"-1", b"12345"]
    assert len(decimal_cells(values[:0])) == 0 and len(integer_cells(np.zeros(0, int))) == 0


def test_blocks_without_rows(tmp_path, scan):
    (tmp_path / "a.star").write_text("data_\n\ndata_a\nloop_\n_x\n\ndata_b\nloop_\n_y\n1\n")
    tables = read_star(tmp_path / "a.star")
    assert {name: len(table) for name, table in tables.items()} == {"": 0, "a": 0, "b": 1}
    assert tables["a"].column("x") == [] and len(tables["a"].floats("x")) == 0
    write_star(tmp_path / "b.star", tables.values())
    assert {name: len(table) for name, table in read_star(tmp_path / "b.star").items()} == {"": 0, "a": 0, "b": 1}


def test_measuring_command():
    tool = Path(__file__).resolve().parents[2] / "tools" / "measure_star"
    done = subprocess.run([sys.executable, tool, "--rows", "2000"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["rows"] == 2000 and found["columns"] == 22 and found["read_seconds"] < 5


def random_file(rng, rows, columns, quotes):
    """A file of random layout, and the raw cells of its table."""
    words = ["1.5", "-2", "x@y.mrcs", "a#b", "é", "data", "loop", "_", "[1,2]", "a'b", 'a"b', "nan", "x" * 300]
    if quotes:
        words += ["'a b'", '"a b"', '""', "'it's'", '"# x"', "'data_x'"]
    else:
        words = [word for word in words if "'" not in word and '"' not in word]
    table = [[str(word) for word in rng.choice(words, columns)] for _ in range(rows)]
    for row in table:
        row[0] = f"{len(row[0])}@{row[0]}" if row[0][0] not in "'\"" else row[0]
    end = str(rng.choice(["\n", "\r\n", " \n", "\n\n", "\n # c 'd\n"]))
    text = f"{end}data_a{end}loop_{end}" + "".join(f"_c{number}{end}" for number in range(columns))
    for row in table:
        text += str(rng.choice(["", " ", "\t "])) + str(rng.choice([" ", "\t", "   "])).join(row) + end
    return (text + f"data_b{end}_x 1{end}").encode(), [[cell.encode() for cell in row] for row in table]


@pytest.mark.parametrize("quotes", [True, False])
def test_random_layouts(tmp_path, scan, rng, quotes):
    """Every cell has the bytes that were written into the file, before and after a column was replaced."""
    for _ in range(40):
        columns = int(rng.integers(1, 6))
        raw, cells_of_rows = random_file(rng, int(rng.integers(1, 30)), columns, quotes)
        (tmp_path / "a.star").write_bytes(raw)
        tables = read_star(tmp_path / "a.star")
        expected = [list(cells) for cells in zip(*cells_of_rows)]
        assert [tables["a"]._raw(name, slice(None)) for name in tables["a"].columns] == expected
        changed, order = int(rng.integers(columns)), rng.permutation(len(tables["a"]))
        new = tables["a"].with_columns({f"c{changed}": ["new"] * len(order)}).take(order)
        write_star(tmp_path / "b.star", [new, tables["b"]])
        again = read_star(tmp_path / "b.star")
        expected[changed] = [b"new"] * len(order)
        assert [again["a"]._raw(name, slice(None)) for name in again["a"].columns] == [
            [cells[row] for row in order] for cells in expected
        ]
        assert again["b"].column("x") == ["1"]
