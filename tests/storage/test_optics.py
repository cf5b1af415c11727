"""What RELION's particle files say of optics: pixel sizes, groups, flags and lens errors, and every contradiction in
them.
"""

import numpy as np
import pytest

from mpirefine.errors import InputError
from mpirefine.storage import mrc
from mpirefine.storage.particle_file import in_format
from mpirefine.storage.relion.conversion import star_tables
from mpirefine.storage.relion.particles import read_relion_particles
from mpirefine.storage.star import write_star

OPTICS = {
    "rlnOpticsGroupName": ["one", "two"],
    "rlnOpticsGroup": ["1", "2"],
    "rlnVoltage": ["300", "200"],
    "rlnSphericalAberration": ["2.7", "2.7"],
    "rlnAmplitudeContrast": ["0.1", "0.1"],
    "rlnImagePixelSize": ["2.0", "2.0"],
    "rlnImageSize": ["16", "16"],
}
ROWS = 12


def table(name, columns):
    names = [column for column, cells in columns.items() if cells is not None]
    rows = zip(*(columns[column] for column in names))
    return (
        f"\ndata_{name}\n\nloop_\n"
        + "".join(f"_{column}\n" for column in names)
        + "".join(" ".join(row) + "\n" for row in rows)
    )


def particles(count=ROWS, **changes):
    return {
        "rlnImageName": [f"{i + 1}@p.mrcs" for i in range(count)],
        "rlnOpticsGroup": [str(1 + i % 2) for i in range(count)],
        "rlnDefocusU": ["15000"] * count,
        "rlnDefocusV": ["14000"] * count,
        "rlnDefocusAngle": ["20"] * count,
        **changes,
    }


STAR = table("optics", OPTICS) + table("particles", particles(3))


@pytest.fixture
def made(tmp_path, rng):
    """A file of twelve particles in two optics groups, with columns changed, as read or as the complaint about it."""
    mrc.write_stack(tmp_path / "p.mrcs", rng.standard_normal((ROWS, 16, 16)).astype(np.float32), 0.0)

    def make(optics=None, **changes):
        text = table("particles", particles(**changes))
        if optics is not False:
            text = table("optics", {**OPTICS, **(optics or {})}) + text
        (tmp_path / "p.star").write_text(text)
        return read_relion_particles(tmp_path / "p.star")

    return make


def complaint(make, *words, **changes):
    with pytest.raises(InputError) as error:
        make(**changes)
    said = str(error.value)
    for word in ("p.star", *words):
        assert word in said, said
    return said.splitlines()


def old_file(**changes):
    columns = {
        "rlnVoltage": ["300"] * ROWS,
        "rlnSphericalAberration": ["2.7"] * ROWS,
        "rlnAmplitudeContrast": ["0.1"] * ROWS,
        "rlnDetectorPixelSize": ["10"] * ROWS,
        "rlnMagnification": ["50000"] * ROWS,
        "rlnOpticsGroup": None,
    }
    return {"optics": False, **columns, **changes}


@pytest.mark.parametrize(
    "column, cell, words",
    [
        (
            "rlnMagnification",
            "0.5",
            ["row 5: column _rlnMagnification: 0.5, where others have 50000", "200000 Å per pixel, not 2"],
        ),
        ("rlnMagnification", "0", ["row 5: column _rlnMagnification: 0, where others have 50000"]),
        ("rlnDetectorPixelSize", "1000", ["row 5: column _rlnDetectorPixelSize: 1000, where others have 10"]),
        ("rlnDetectorPixelSize", "nan", ["row 5: column _rlnDetectorPixelSize: nan, where others have 10"]),
        ("rlnMagnification", "many", ["row 5, column _rlnMagnification: 'many' is not a number"]),
    ],
)
def test_one_row_with_an_absurd_pixel_size_is_named(made, column, cell, words):
    usual = old_file()[column]
    assert len(complaint(made, *words, **old_file(**{column: [*usual[:4], cell, *usual[5:]]}))) == 1


def test_pixel_sizes_of_columns(made):
    found = made(**old_file())
    assert found.grid.apix == 2.0 and "_rlnDetectorPixelSize and _rlnMagnification" in found.pixel_source
    assert made().pixel_source == "column _rlnImagePixelSize of table 'optics'"
    complaint(made, "column _rlnMagnification: 0: no pixel size", "--apix", **old_file(rlnMagnification=["0"] * ROWS))
    complaint(made, "pixel sizes 2 (row 1), 2.5 (row 2) Å differ", optics={"rlnImagePixelSize": ["2.0", "2.5"]})
    unused = {name: [*cells, cells[0]] for name, cells in OPTICS.items()}
    assert (
        made(optics={**unused, "rlnOpticsGroup": ["1", "2", "3"], "rlnImagePixelSize": ["2.0", "2.0", "9.0"]}).grid.apix
        == 2.0
    )


def test_optics_tables_that_contradict_themselves(made):
    complaint(
        made,
        "table 'optics': group 1 stands in rows 1 and 2 with different values of _rlnVoltage: 300 and 200",
        optics={"rlnOpticsGroup": ["1", "1"]},
        rlnOpticsGroup=["1"] * ROWS,
    )
    same = {name: [cells[0]] * 2 for name, cells in OPTICS.items()}
    assert (
        made(optics={**same, "rlnVoltage": ["300", "300.0"]}, rlnOpticsGroup=["1"] * ROWS).table.ctf.voltage.tolist()
        == [300] * ROWS
    )
    assert made(optics={"rlnOpticsGroupName": ["one", "one"]}).table.ctf.voltage[:2].tolist() == [300, 200]
    complaint(
        made,
        "table 'optics', row 2: column _rlnImageSize: 96, but the images of",
        "have 16 px",
        optics={"rlnImageSize": ["16", "96"]},
    )
    complaint(
        made,
        "rows 2, 4, 6, 8, 10 and 1 more: column _rlnOpticsGroup: no such group",
        optics={"rlnOpticsGroup": ["1", "7"]},
    )
    complaint(made, "table 'optics' has no rows", optics={name: [] for name in OPTICS})


@pytest.mark.parametrize(
    "column, field", [("rlnCtfDataArePhaseFlipped", "flipped"), ("rlnCtfDataAreCtfPremultiplied", "premultiplied")]
)
def test_what_was_done_to_the_images(made, tmp_path, column, field):
    """By optics group or by row; none where no image has it; written back for particles that came from elsewhere."""
    assert (
        getattr(made().table.ctf, field) is None and getattr(made(optics={column: ["0", "0"]}).table.ctf, field) is None
    )
    by_group = made(optics={column: ["0", "1"]})
    assert getattr(by_group.table.ctf, field).tolist() == [False, True] * (ROWS // 2)
    by_row = [str(int(i < 5)) for i in range(ROWS)]
    assert getattr(made(optics={column: ["1", "1"]}, **{column: by_row}).table.ctf, field).tolist() == [
        i < 5 for i in range(ROWS)
    ]
    complaint(made, f"row 2, column _{column}: 'yes' is not a number", optics={column: ["0", "yes"]})
    tables = star_tables(by_group.table, by_group.grid)
    assert sorted(tables["optics"].column(column)) == ["0", "1"]
    write_star(tmp_path / "again.star", tables.values())
    again = read_relion_particles(tmp_path / "again.star").table.ctf
    assert getattr(again, field).tolist() == [False, True] * (ROWS // 2) and again.voltage.tolist() == [300, 200] * (
        ROWS // 2
    )
    other = "premultiplied" if field == "flipped" else "flipped"
    assert getattr(again, other) is None
    assert in_format(by_group, "star") is by_group


def test_lens_errors_by_group_and_by_row(made):
    assert made().aberrations is None
    found = made(
        optics={"rlnBeamTiltX": ["0.5", "0"], "rlnOddZernike": ["[0.1,-2,3]", "[]"], "rlnMagMatrix_00": ["1.01", "1"]}
    ).aberrations
    assert (
        found.names == ("optics group one", "optics group two")
        and found.voltage.tolist() == [300, 200]
        and found.cs.tolist() == [2.7, 2.7]
    )
    assert found.tilt.tolist() == [[0.5, 0], [0, 0]] and found.odd == ((0.1, -2.0, 3.0), ()) and found.even == ((), ())
    assert found.magnification.tolist() == [[[1.01, 0], [0, 1]], [[1, 0], [0, 1]]]
    rows = made(rlnBeamTiltY=["0.25"] * 6 + ["0.75"] * 6, optics={"rlnEvenZernike": ["[1]", "[2]"]}).aberrations
    assert rows.names == ("row 1", "row 2", "row 7", "row 8") and rows.tilt[:, 1].tolist() == [0.25, 0.25, 0.75, 0.75]
    assert rows.even == ((1.0,), (2.0,), (1.0,), (2.0,)) and rows.voltage.tolist() == [300, 200, 300, 200]


@pytest.mark.parametrize("cell", ["0.1", "[0.1,x]", "[0.1,2", "[nan]", "[1,,2]", "[" + ",".join(["0"] * 999) + "]"])
def test_malformed_coefficients(made, cell):
    lines = complaint(
        made,
        "row 2: column _rlnEvenZernike of table optics",
        "no list of finite numbers",
        optics={"rlnEvenZernike": ["[0]", cell]},
    )
    assert len(lines) == 1 and len(lines[0]) < 400
    complaint(
        made, "row 2: column _rlnBeamTiltX of table optics: no finite number", optics={"rlnBeamTiltX": ["0", "inf"]}
    )
