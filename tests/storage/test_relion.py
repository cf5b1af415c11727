"""Particle files in and out, against the starfile package, and every complaint about bad ones."""

import sys

import numpy as np
import pytest
import starfile
from scipy.spatial.transform import Rotation

from mpirefine.data.rotations import rotation_from_euler
from mpirefine.errors import FormatError, InputError
from mpirefine.storage import mrc, particle_checks
from mpirefine.storage.relion.particles import read_relion_particles
from mpirefine.storage.stack import ParticleStack
from mpirefine.storage.star import StarTable, read_star, write_star

OPTICS = """
data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
first 1 300.0 2.7 0.1 2.0
"second group" 7 200.0 2.0 0.07 2.0

"""
COLUMNS = [
    "rlnImageName",
    "rlnOpticsGroup",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnPhaseShift",
    "labNote",
]


def make_set(folder, rng, rows=6, **changes):
    """Two stacks of 16 px and a file of 3.1 style; `changes` replaces columns."""
    stacks = {
        "a.mrcs": rng.standard_normal((4, 16, 16)).astype(np.float32),
        "b.mrcs": rng.standard_normal((3, 16, 16)).astype(np.float32),
    }
    for name, pixels in stacks.items():
        mrc.write_stack(folder / name, pixels, 2.0)
    cells = {
        "rlnImageName": ["3@a.mrcs", "1@b.mrcs", "2@b.mrcs", "1@a.mrcs", "000004@a.mrcs", "3@b.mrcs"][:rows],
        "rlnOpticsGroup": list("171771"),
        "rlnDefocusU": ["12000.5"] * 6,
        "rlnDefocusV": ["11000"] * 6,
        "rlnDefocusAngle": list("123456"),
        "rlnPhaseShift": ["0"] * 6,
        "labNote": ["keep me", "x", "y", "z", "", "w"],
    }
    cells.update(changes)
    with open(folder / "p.star", "w") as file:
        file.write("# made by a test\n" + OPTICS + "data_particles\n\nloop_\n")
        names = [name for name in COLUMNS if cells.get(name) is not None]
        file.writelines(f"_{name} #{i + 1}\n" for i, name in enumerate(names))
        for i in range(rows):
            file.write("  ".join(f'"{cells[n][i]}"' if n == "labNote" else cells[n][i] for n in names) + "\n")
    return folder / "p.star", stacks


def test_micrographs_with_enough_particles_are_noise_groups(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(particle_checks, "LEAST_GROUP", 2)
    monkeypatch.setattr(sys.modules[__name__], "COLUMNS", [*COLUMNS, "rlnMicrographName"])
    path, _ = make_set(tmp_path, rng, rlnMicrographName=["x.mrc", "y.mrc", "x.mrc", "y.mrc", "z.mrc", "x.mrc"])
    table = read_relion_particles(path).table
    assert table.group_names == ("first", "second group", "x.mrc", "y.mrc")
    assert table.group.tolist() == [2, 3, 2, 3, 1, 2] and table.optics_of_group.tolist() == [0, 1, 0, 1]
    assert table.ctf.voltage.tolist() == [300, 200, 300, 200, 200, 300]  # optics stay by optics group
    assert table.take(slice(2, 4)).optics_of_group.tolist() == [0, 1, 0, 1]


def test_table_of_a_31_file(tmp_path, rng):
    path, stacks = make_set(tmp_path, rng)
    found = read_relion_particles(path)
    assert found.grid.nx == 16 and found.grid.apix == 2.0 and len(found.table) == 6
    assert found.table.group.tolist() == [0, 1, 0, 1, 1, 0] and found.table.group_names == ("first", "second group")
    assert (
        found.table.ctf.voltage.tolist() == [300, 200, 300, 200, 200, 300] and found.table.ctf.defocus_u[0] == 12000.5
    )
    assert (
        found.table.ctf.defocus_angle.tolist() == [1, 2, 3, 4, 5, 6]
        and found.table.subset is None
        and set(found.table.half.tolist()) == {0, 1}
    )
    pixels = ParticleStack(found.table).read(np.arange(6))
    np.testing.assert_array_equal(
        pixels,
        [
            stacks["a.mrcs"][2],
            stacks["b.mrcs"][0],
            stacks["b.mrcs"][1],
            stacks["a.mrcs"][0],
            stacks["a.mrcs"][3],
            stacks["b.mrcs"][2],
        ],
    )
    part = found.table.take(slice(2, 5))
    np.testing.assert_array_equal(ParticleStack(part).read(np.array([2, 0])), pixels[[4, 2]])
    assert ParticleStack(part).read(np.zeros(0, int)).shape[0] == 0


def test_written_file_keeps_columns_order_and_pose(tmp_path, rng):
    path, _ = make_set(tmp_path, rng)
    source = read_relion_particles(path)
    rotation, shift = Rotation.random(6, random_state=4).as_matrix(), rng.uniform(-3, 3, (6, 2))
    model = np.array([0, 1, -1, 0, 1, 1])
    pose = dict(model=model, posterior=np.linspace(0.5, 1, 6), rotation=rotation, shift_xy=shift)
    source.with_results(**pose).write(tmp_path / "out.star")
    tables = starfile.read(tmp_path / "out.star")
    out = tables["particles"]
    assert out["labNote"].tolist()[0] == "keep me" and out["rlnClassNumber"].tolist() == [1, 2, 0, 1, 2, 2]
    assert [n.split("/")[-1] for n in out["rlnImageName"]] == [
        "a.mrcs",
        "b.mrcs",
        "b.mrcs",
        "a.mrcs",
        "a.mrcs",
        "b.mrcs",
    ]
    again = rotation_from_euler(*(out[c].to_numpy(float) for c in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")))
    np.testing.assert_allclose(again, rotation, atol=1e-6)
    np.testing.assert_allclose(out[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy(), -2.0 * shift, atol=1e-5)
    np.testing.assert_allclose(out["rlnMaxValueProbDistribution"], pose["posterior"], atol=1e-6)
    assert tables["optics"]["rlnOpticsGroupName"].tolist() == ["first", "second group"]
    source.with_results(**pose).write(tmp_path / "set.star", np.array([1, 4]))
    assert len(read_relion_particles(tmp_path / "set.star").table) == 2


def test_30_file_with_one_table(tmp_path, rng):
    mrc.write_stack(tmp_path / "a.mrcs", rng.standard_normal((2, 16, 16)).astype(np.float32), 1.0)
    names = [
        "rlnImageName",
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnDefocusAngle",
        "rlnVoltage",
        "rlnSphericalAberration",
        "rlnAmplitudeContrast",
        "rlnDetectorPixelSize",
        "rlnMagnification",
        "rlnOriginX",
        "rlnOriginY",
        "rlnRandomSubset",
    ]
    rows = [f"{i}@a.mrcs 9000 9000 0 300 2.7 0.1 5.0 20000 1 1 {s}".split() for i, s in ((1, 2), (2, 1))]
    write_star(tmp_path / "old.star", [StarTable.from_columns("", dict(zip(names, zip(*rows))))])
    found = read_relion_particles(tmp_path / "old.star")
    assert found.grid.apix == pytest.approx(2.5) and found.table.subset.tolist() == [1, 0]
    results = found.with_results(
        model=np.zeros(2, int),
        posterior=np.ones(2),
        rotation=np.eye(3)[None].repeat(2, 0),
        shift_xy=np.array([[1.5, 0], [0, -2.0]]),
    )
    results.write(tmp_path / "out.star")
    out = read_star(tmp_path / "out.star")[""]
    assert (
        out.floats("rlnOriginX").tolist() == [-1.5, 0]
        and out.floats("rlnOriginY").tolist() == [0, 2]
        and "rlnOriginXAngst" not in out
    )


def complaints(path, **kwargs):
    with pytest.raises(InputError) as caught:
        read_relion_particles(path, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            dict(rlnImageName=["9@a.mrcs", "1@b.mrcs", "8@b.mrcs", "1@a.mrcs", "2@a.mrcs", "3@b.mrcs"]),
            ["row 1: column _rlnImageName: image 9", "holds 4", "row 3: column _rlnImageName: image 8", "holds 3"],
        ),
        (
            dict(rlnImageName=["a.mrcs", "0@b.mrcs", "x@b.mrcs"] + ["1@a.mrcs"] * 3),
            ["rows 1, 2, 3: column _rlnImageName: an image is named index@"],
        ),
        (dict(rlnImageName=["1@gone.mrcs"] * 6), ["gone.mrcs: cannot be read"]),
        (
            dict(rlnDefocusV=None, rlnDefocusAngle=None),
            ["missing CTF columns _rlnDefocusV, _rlnDefocusAngle", "CtfFind", "--no-ctf"],
        ),
        (dict(rlnDefocusU=["1.2"] * 6), ["look like µm", "multiply by 10000"]),
        (dict(rlnDefocusU=["12000", "abc"] * 3), ["row 2, column _rlnDefocusU: 'abc' is not a number"]),
        (dict(rlnDefocusU=["12000", "nan"] * 3), ["rows 2, 4, 6: column _rlnDefocusU: nan is no value in Å"]),
        (dict(rlnPhaseShift=["500"] * 6), ["_rlnPhaseShift: 500 is no value in degrees"]),
        (dict(rlnOpticsGroup=list("131111")), ["row 2: column _rlnOpticsGroup: no such group"]),
    ],
)
def test_bad_columns(tmp_path, rng, changes, words):
    path, _ = make_set(tmp_path, rng, **changes)
    said = complaints(path)
    for word in words:
        assert word in said
    assert "p.star" in said


def test_all_complaints_come_together(tmp_path, rng):
    path, _ = make_set(tmp_path, rng, rlnImageName=["1@gone.mrcs"] + ["1@a.mrcs"] * 5, rlnDefocusU=["-1e9"] * 6)
    mrc.write_stack(tmp_path / "a.mrcs", np.zeros((4, 18, 18), np.float32), 3.0)
    said = complaints(path)
    assert "gone.mrcs" in said and "_rlnDefocusU" in said and "3 Å per pixel" in said and len(said.splitlines()) == 3


def test_sizes(tmp_path, rng):
    path, _ = make_set(tmp_path, rng)
    mrc.write_stack(tmp_path / "a.mrcs", np.zeros((4, 18, 18), np.float32), 2.0)
    assert "different sizes" in complaints(path)
    for name in ("a.mrcs", "b.mrcs"):
        mrc.write_stack(tmp_path / name, np.zeros((4, 17, 17), np.float32), 2.0)
    assert "square, even" in complaints(path)


def test_images_without_ctf(tmp_path, rng):
    path, _ = make_set(tmp_path, rng, rlnDefocusU=None, rlnDefocusV=None, rlnDefocusAngle=None)
    assert read_relion_particles(path, ctf=False).table.ctf is None
    assert read_relion_particles(path, 3.0, ctf=False).grid.apix == 3.0


def test_not_a_particle_file(tmp_path):
    (tmp_path / "m.star").write_text("data_\nloop_\n_rlnMicrographName\na.mrc\n")
    assert "no column" in complaints(tmp_path / "m.star") or "no table has a column _rlnImageName" in complaints(
        tmp_path / "m.star"
    )
    (tmp_path / "t.star").write_text("hello world\n")
    with pytest.raises(FormatError, match="line 1: 'hello world' stands before any data_"):
        read_star(tmp_path / "t.star")
    (tmp_path / "u.star").write_text("data_x\nloop_\n_a #1\n_b #2\n1 2\n3\n")
    with pytest.raises(FormatError, match="line 6: 1 values for the 2 columns"):
        read_star(tmp_path / "u.star")


def test_single_row_block_round_trip(tmp_path):
    (tmp_path / "g.star").write_text("data_general\n\n_rlnNote 'two words'  # why\n_rlnCount 3\n")
    table = read_star(tmp_path / "g.star")["general"]
    assert [table.cell(name, 0) for name in table.columns] == ["two words", "3"] and not table.loop
    write_star(tmp_path / "h.star", [table])
    assert starfile.read(tmp_path / "h.star")["rlnNote"] == "two words"
    assert table.floats("absent", 2.5).tolist() == [2.5]
    with pytest.raises(FormatError, match="has no column _absent"):
        table.floats("absent")


def test_a_micrograph_in_two_optics_groups_is_two_noise_groups(monkeypatch):
    """Two sessions whose micrographs have the same names: each noise group belongs to one optics group."""
    monkeypatch.setattr(particle_checks, "LEAST_GROUP", 3)
    micrograph, optics = np.array([0, 0, 0, 0, 0, 0, 1]), np.array([0, 1, 0, 1, 0, 1, 1])
    group, names, of_group = particle_checks.noise_groups(["m1", "m2"], micrograph, optics, ["a", "b"])
    assert names == ("a", "b", "m1", "m1") and of_group.tolist() == [0, 1, 0, 1]
    assert group.tolist() == [2, 3, 2, 3, 2, 3, 1]
    assert of_group[group].tolist() == optics.tolist()
