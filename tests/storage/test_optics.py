"""What RELION's particle files say of optics: pixel sizes, groups, flags and lens errors, and every contradiction in
them.
"""

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens, common_grid
from mpirefine.errors import InputError
from mpirefine.maths.image.aberrations import beam_tilt, with_tilt
from mpirefine.storage import mrc
from mpirefine.storage.eman2.lst import read_lst
from mpirefine.storage.particle_file import in_format
from mpirefine.storage.relion.conversion import star_tables
from mpirefine.storage.relion.lenses import MATRIX, OTHER_NAMES
from mpirefine.storage.relion.particles import read_relion_particles
from mpirefine.storage.relion.poses import ANGLES
from mpirefine.storage.star import read_star, write_star

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
    unused = {name: [*cells, cells[0]] for name, cells in OPTICS.items()}
    assert (
        made(optics={**unused, "rlnOpticsGroup": ["1", "2", "3"], "rlnImagePixelSize": ["2.0", "2.0", "9.0"]}).grid.apix
        == 2.0
    )


TWO_GRIDS = {"rlnImagePixelSize": ["2.0", "1.6"], "rlnImageSize": ["16", "20"]}


@pytest.fixture
def two_grids(made, tmp_path, rng):
    """As `made`, with images of 20 px of 1.6 Å in the second group."""
    mrc.write_stack(tmp_path / "q.mrcs", rng.standard_normal((ROWS, 20, 20)).astype(np.float32), 1.6)
    names = [f"{i + 1}@{'pq'[i % 2]}.mrcs" for i in range(ROWS)]

    def make(optics=None, **changes):
        return made(optics={**TWO_GRIDS, **(optics or {})}, **{"rlnImageName": names, **changes})

    return make


def test_optics_groups_with_different_pixel_sizes_and_boxes(two_grids, tmp_path):
    """Each has its lens; the common grid has the coarsest pixel."""
    found = two_grids()
    assert found.table.lenses == (Lens("optics group one", Grid(16, 2.0)), Lens("optics group two", Grid(20, 1.6)))
    assert found.table.lens.tolist() == [0, 1] * (ROWS // 2) and found.grid == Grid(16, 2.0)
    write_star(tmp_path / "again.star", star_tables(found.table, found.grid).values())
    again = read_relion_particles(tmp_path / "again.star")
    assert [lens.grid for lens in again.table.lenses] == [Grid(16, 2.0), Grid(20, 1.6)]
    # rounding is no difference, a small one is
    assert len(two_grids(optics={"rlnImagePixelSize": ["1.6", "1.60001"]}).table.lenses) == 2  # by their boxes
    complaint(two_grids, "optics group two: images of different sizes: ", rlnOpticsGroup=["2"] * ROWS)
    complaint(two_grids, "q.mrcs: 1.6 Å per pixel, but", "says 2", optics={"rlnImagePixelSize": ["2.0", "2.0"]})
    complaint(
        two_grids, "row 2: column _rlnImagePixelSize of table optics: 7", optics={"rlnImagePixelSize": ["2", "7"]}
    )


@pytest.mark.parametrize("sizes, count", [(["2.0", "2.00001"], 1), (["2.0", "2.01"], 2)])
def test_pixel_sizes_that_differ_a_little(made, sizes, count):
    assert len(made(optics={"rlnImagePixelSize": sizes}).table.lenses) == count


def test_one_pixel_size_for_groups_that_have_two(two_grids, tmp_path):
    """--apix would be wrong for one of them; but it decides where the columns cannot be right."""
    two_grids()
    with pytest.raises(InputError, match="--apix is one pixel size .* _rlnImagePixelSize of table 'optics' has 1.6, 2"):
        read_relion_particles(tmp_path / "p.star", 2.0)
    wild = table("optics", {**OPTICS, "rlnImagePixelSize": ["2.0", "2e5"]}) + table("particles", particles())
    (tmp_path / "p.star").write_text(wild)
    assert read_relion_particles(tmp_path / "p.star", 2.0).grid.apix == 2.0


def test_pixel_sizes_by_row(made):
    """A few rows are a mistake, many are another data set."""
    many = made(**old_file(rlnMagnification=["50000"] * 7 + ["40000"] * 5))
    assert [lens.grid.apix for lens in many.table.lenses] == [2.0, 2.5] and many.grid == Grid(12, 2.5)
    assert [lens.name for lens in many.table.lenses] == ["row 1", "row 8"]
    complaint(
        made,
        "row 5: column _rlnMagnification: 40000, where others have 50000: 2.5 Å per pixel, not 2",
        **old_file(rlnMagnification=["50000"] * 4 + ["40000"] + ["50000"] * 7),
    )


@pytest.mark.parametrize("old", [False, True])
def test_poses_are_written_back_as_they_were(two_grids, tmp_path, rng, old):
    """In the frame of each lens: Å, or pixels of its own images; of the common grid in between."""
    names = ("rlnOriginX", "rlnOriginY") if old else ("rlnOriginXAngst", "rlnOriginYAngst")
    angles = {name: [f"{x:.6f}" for x in rng.uniform(5, 85, ROWS)] for name in ANGLES}
    origins = rng.uniform(-5, 5, (ROWS, 2)).round(6)
    matrix = {"rlnMagMat00": ["1", "1.03"], "rlnMagMat01": ["0", "0.02"], "rlnMagMat10": ["0", "-0.01"]}
    cells = {name: [f"{x:.6f}" for x in values] for name, values in zip(names, origins.T)}
    two_grids(optics=matrix, **angles, **cells)
    found = read_relion_particles(tmp_path / "p.star", poses=True)
    unit = np.array([2.0, 1.6] * (ROWS // 2))[:, None] if old else 1.0
    transform = np.array([np.eye(2), np.linalg.inv([[1.03, 0.02], [-0.01, 1.0]]).T] * (ROWS // 2))
    np.testing.assert_allclose(found.table.shift, np.einsum("pij,pj->pi", transform, -origins * unit / 2.0), atol=1e-9)
    told = dict(model=np.zeros(ROWS, int), posterior=np.ones(ROWS))
    rows = found.with_results(**told, rotation=found.table.rotation, shift_xy=found.table.shift)
    rows.write(tmp_path / "out.star")
    out = read_star(tmp_path / "out.star")["particles"]
    np.testing.assert_allclose(np.stack([out.floats(name) for name in names], 1), origins, atol=1e-6)
    for name in ANGLES:
        np.testing.assert_allclose(out.floats(name), np.array(angles[name], float), atol=2e-6)
    rows = in_format(found, "lst").with_results(**told, rotation=found.table.rotation, shift_xy=found.table.shift)
    rows.write(tmp_path / "out.lst")
    lines = [entry.header["xform.projection"] for entry in read_lst(tmp_path / "out.lst")]
    pixels = origins if old else origins / np.array([2.0, 1.6] * (ROWS // 2))[:, None]
    np.testing.assert_allclose([np.reshape(line, (3, 4))[:2, 3] for line in lines], -pixels, atol=1e-5)


def test_the_common_grid():
    grid = Grid(64, 6.55)
    assert common_grid([Lens("a", grid)]) == grid == common_grid([Lens("a", grid), Lens("b", Grid(64, 6.5501))])
    assert common_grid([Lens("a", Grid(80, 5.24)), Lens("b", grid)]) == grid
    assert common_grid([Lens("a", Grid(128, 1.0)), Lens("b", Grid(100, 1.2))]) == Grid(100, 1.2)  # 120 Å of 128
    assert common_grid([Lens("a", Grid(128, 1.0)), Lens("b", Grid(120, 1.2))]) == Grid(106, 1.2)  # 128 Å of 144
    assert common_grid([Lens("a", Grid(100, 1.0)), Lens("b", Grid(80, 1.0))]) == Grid(80, 1.0)


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
    (plain,) = made().table.lenses
    assert plain == Lens("optics group one", Grid(16, 2.0)) and made().table.lens is None
    table = made(
        optics={"rlnBeamTiltX": ["0.5", "0"], "rlnOddZernike": ["[0.1,-2,3]", "[]"], "rlnMagMat00": ["1.01", "1"]}
    ).table
    assert table.lens.tolist() == [0, 1] * (ROWS // 2)
    one, two = table.lenses
    assert two == Lens("optics group two", Grid(16, 2.0)) and one.name == "optics group one" and one.even == ()
    assert one.magnification == ((1.01, 0), (0, 1)) and one.odd == with_tilt((0.1, -2, 3), (0.5, 0), 2.7, 300)
    table = made(rlnBeamTiltY=["0.25"] * 6 + ["0.75"] * 6, optics={"rlnEvenZernike": ["[1]", "[2]"]}).table
    assert [lens.name for lens in table.lenses] == ["row 1", "row 2", "row 7", "row 8"]
    assert table.lens.tolist() == [0, 1] * 3 + [2, 3] * 3
    assert [lens.even for lens in table.lenses] == [(1.0,), (2.0,), (1.0,), (2.0,)]
    tilts = [beam_tilt(lens.odd, 2.7, volts)[1] for lens, volts in zip(table.lenses, (300, 200, 300, 200))]
    np.testing.assert_allclose(tilts, [0.25, 0.25, 0.75, 0.75])
    # the CTF has the even ones
    assert [table.ctf.even_coefficients[place] for place in table.ctf.even] == [(1.0,), (2.0,)] * (ROWS // 2)
    assert made().table.ctf.even is None


def test_names_of_magnification_columns(made):
    """Those that RELION writes, and those of its documentation."""
    for columns in (MATRIX, OTHER_NAMES.values()):
        cells = dict(zip(columns, (["1.01"] * 2, ["0.02"] * 2, ["-0.03"] * 2, ["0.99"] * 2)))
        (lens,) = made(optics=cells).table.lenses
        assert lens.magnification == ((1.01, 0.02), (-0.03, 0.99))
    complaint(made, "row 2: column _rlnMagMat00 of table optics", "400 %", optics={"rlnMagMat00": ["5", "5"]})


def test_beam_tilt_needs_the_lens(made, tmp_path):
    text = table("particles", particles(rlnBeamTiltX=["0"] * 5 + ["1"] * 7, rlnOpticsGroup=None))
    (tmp_path / "p.star").write_text(text)
    with pytest.raises(InputError, match="row 6: .*BeamTiltX: beam tilt cannot be corrected without _rlnVoltage and"):
        read_relion_particles(tmp_path / "p.star", 2.0, ctf=False)


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
