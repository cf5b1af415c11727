"""Particles of STAR files written as lists of EMAN2 and read again: CTF, poses, boxes and pixel sizes, and the warning
about what a list cannot hold.
"""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.errors import InputError
from mpirefine.maths.image.ctf import contrast_transfer
from mpirefine.maths.image.phantom import random_rotations
from mpirefine.storage import mrc
from mpirefine.storage.eman2 import lst
from mpirefine.storage.particle_file import in_format, read_particles
from tests.eman_lists import write_lst

ROWS = 12
FIELDS = {"defocus", "dfdiff", "dfang", "bfactor", "ampcont", "voltage", "cs", "apix", "dsbg", "background", "snr"}
OPTICS = {
    "OpticsGroup": "1 2",
    "Voltage": "300 200",
    "SphericalAberration": "2.7 0.01",
    "AmplitudeContrast": "0.1 0.07",
    "ImagePixelSize": "2.0 1.6",
    "ImageSize": "16 20",
}


def loop(name, columns):
    cells = {
        f"_rln{column}": values.split() if isinstance(values, str) else values for column, values in columns.items()
    }
    rows = [" ".join(map(str, row)) for row in zip(*cells.values())]
    return "\n".join([f"data_{name}", "", "loop_", *cells, *rows, "", ""])


@pytest.fixture
def star(tmp_path, monkeypatch, rng):
    """A STAR file of two optics groups, with columns of either table changed or more of them."""
    monkeypatch.chdir(tmp_path)
    mrc.write_stack("p.mrcs", rng.standard_normal((ROWS, 16, 16)).astype(np.float32), 0.0)
    mrc.write_stack("q.mrcs", rng.standard_normal((ROWS, 20, 20)).astype(np.float32), 0.0)

    def make(optics=None, **columns):
        rows = {
            "ImageName": [f"{i + 1}@{'pq'[i % 2]}.mrcs" for i in range(ROWS)],
            "OpticsGroup": [1 + i % 2 for i in range(ROWS)],
            "DefocusU": rng.uniform(8000, 30000, ROWS),
            "DefocusV": rng.uniform(8000, 30000, ROWS),
            "DefocusAngle": rng.uniform(-180, 180, ROWS),
            "CtfBfactor": rng.uniform(0, 60, ROWS),
        }
        text = loop("optics", {**OPTICS, **(optics or {})}) + loop("particles", {**rows, **columns})
        (tmp_path / "p.star").write_text(text)
        return read_particles("p.star")

    return make


def as_list(source, rng, **changes):
    """The particles written as a list, read again, and the results that were written."""
    told = {
        "model": np.arange(ROWS) % 3 - 1,
        "posterior": np.ones(ROWS),
        "rotation": random_rotations(ROWS, rng),
        "shift_xy": rng.uniform(-3, 3, (ROWS, 2)),
        **changes,
    }
    in_format(source, "lst").with_results(**told).write("out.lst")
    return read_particles("out.lst", poses=True), told


def curves(table):
    fy, fx = np.meshgrid(np.linspace(-0.25, 0.25, 24), np.linspace(-0.25, 0.25, 24))
    return contrast_transfer(table.ctf, fx, fy)


@pytest.mark.parametrize("shift", [0.0, 20.0, 90.0, 135.0, -60.0, 178.0, -120.0, 300.0])
def test_the_ctf_is_the_same(star, rng, shift):
    source = star(PhaseShift=[shift] * ROWS)
    found, _ = as_list(source, rng)
    np.testing.assert_allclose(curves(found.table), curves(source.table), atol=1e-4)
    assert curves(source.table).min() < -0.5


def test_poses_boxes_and_pixel_sizes_of_each_row(star, rng):
    source = star()
    found, told = as_list(source, rng)
    assert found.grid == source.grid == Grid(16, 2.0)
    assert [lens.grid for lens in found.table.lenses] == [Grid(16, 2.0), Grid(20, 1.6)]
    assert found.table.lens.tolist() == [0, 1] * (ROWS // 2) and found.pixel_source == "apix_x in the list"
    np.testing.assert_allclose(found.table.rotation, told["rotation"], atol=1e-6)
    np.testing.assert_allclose(found.table.shift, told["shift_xy"], atol=1e-5)
    assert found.table.files == source.table.files and (found.table.key == source.table.key).all()
    with pytest.raises(InputError, match="--apix is one pixel size for all images, but the list has 1.6, 2 Å"):
        read_particles("out.lst", 2.0)


def test_lines_are_what_eman2_reads(star, rng):
    """Lines of one length; a CTF with every field that EMAN2 asks for; the half-set and the class."""
    as_list(star(RandomSubset=[1 + i % 2 for i in range(ROWS)]), rng)
    head, _, length, *lines = Path("out.lst").read_bytes().decode().splitlines(keepends=True)
    assert head == "#LSX\n" and {len(line) for line in lines} == {int(length[1:])}
    for row, line in enumerate(lines):
        number, name, header = line.strip().split("\t")
        assert (int(number), name) == (row, f"{'pq'[row % 2]}.mrcs")
        found = json.loads(header)
        assert set(found["ctf"]) == FIELDS | {"__class__"} and found["ctf"]["__class__"] == "EMAN2Ctf"
        assert found["ctf"]["apix"] == found["apix_x"] == (2.0, 1.6)[row % 2] and found["half"] == 1 + row % 2
        assert found["class"] == row % 3 and found["xform.projection"]["__class__"] == "Transform"


def test_phases_that_are_flipped_and_those_that_are_not(star, rng):
    """By row: only unflipped ones are marked, since EMAN2's images are flipped."""
    flags = [int(i < 5) for i in range(ROWS)]
    source = star(CtfDataArePhaseFlipped=flags)
    found, _ = as_list(source, rng)
    assert found.table.ctf.flipped.tolist() == [flag == 1 for flag in flags]
    np.testing.assert_allclose(curves(found.table), curves(source.table), atol=1e-4)
    assert ["phases_flipped" in entry.header for entry in lst.read_lst("out.lst")] == [flag == 0 for flag in flags]


def test_one_line_says_what_a_list_cannot_hold(star, rng, caplog):
    lens = {"BeamTiltX": "0.5 0", "CtfDataAreCtfPremultiplied": "1 0", "ImageSize": "16 20"}
    with caplog.at_level(logging.WARNING):
        found, _ = as_list(star(lens, CtfScalefactor=[0.9] * ROWS), rng)
    assert [record.getMessage() for record in caplog.records] == [
        "p.star: written as a list of EMAN2: it cannot hold the scale of each CTF, that images are multiplied by their "
        "CTF (they count as flipped), lens errors (beam tilt, aberrations, magnification); EMAN2 takes one box and "
        "pixel size, these are 2; the phases of 6 images are not flipped (phases_flipped 0, which this program knows): "
        "EMAN2 takes them for flipped, so flip them before you refine there"
    ]
    assert found.table.ctf.flipped.tolist() == [True, False] * (ROWS // 2)


def test_nothing_is_said_where_nothing_is_lost(star, rng, caplog):
    same = {"OpticsGroup": "1", "Voltage": "300", "CtfDataArePhaseFlipped": "1", "ImageSize": "16"}
    optics = {name: same.get(name, values.split()[0]) for name, values in {**OPTICS, **same}.items()}
    names = [f"{i + 1}@p.mrcs" for i in range(ROWS)]
    with caplog.at_level(logging.WARNING):
        found, _ = as_list(star(optics, ImageName=names, OpticsGroup=[1] * ROWS), rng)
    assert not caplog.records and found.table.lens is None and found.grid == Grid(16, 2.0)


def test_particles_without_a_ctf_and_micrographs(star, rng):
    star(MicrographName=["m.mrc"] * ROWS)
    source = read_particles("p.star", ctf=False)
    in_format(source, "lst").unchanged().write("bare.lst")
    assert read_particles("bare.lst", ctf=False).table.ctf is None
    with pytest.raises(InputError, match="no image has a CTF"):
        read_particles("bare.lst")


def test_pixel_sizes_in_lists_that_are_none(star):
    star()
    for value in ("wide", 0, -1.0):
        write_lst("x.lst", [lst.Entry(0, "p.mrcs", {"apix_x": 2.0}), lst.Entry(1, "p.mrcs", {"apix_x": value})])
        with pytest.raises(InputError, match=f"x.lst: row 2: apix_x: {value} is no pixel size in Å"):
            read_particles("x.lst", ctf=False)
    write_lst("x.lst", [lst.Entry(0, "p.mrcs", {"apix_x": 2.0}), lst.Entry(1, "p.mrcs", {"apix_x": 2.0})])
    assert read_particles("x.lst", ctf=False).grid == Grid(16, 2.0)
    assert read_particles("x.lst", 3.0, ctf=False).grid == Grid(16, 3.0)


def test_large_micrographs_are_named(tmp_path, monkeypatch, rng):
    """They make the same noise groups as in the STAR file."""
    monkeypatch.chdir(tmp_path)
    mrc.write_stack("p.mrcs", rng.standard_normal((120, 16, 16)).astype(np.float32), 2.0)
    columns = {"ImageName": [f"{i + 1}@p.mrcs" for i in range(120)], "MicrographName": ["b", "a"] * 60}
    (tmp_path / "p.star").write_text(loop("", columns))
    source = read_particles("p.star", ctf=False)
    in_format(source, "lst").unchanged().write("out.lst")
    found = read_particles("out.lst", ctf=False).table
    assert found.group_names == source.table.group_names == ("all", "a", "b")
    np.testing.assert_array_equal(found.group, source.table.group)
