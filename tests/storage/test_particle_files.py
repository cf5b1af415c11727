"""Particles in EMAN2's lists and stacks: what is read of them, every complaint, and sets written in either format and
read again.
"""

from pathlib import Path

import numpy as np
import pytest

from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.rotations import rotation_from_eman
from mpirefine.errors import FormatError, InputError
from mpirefine.maths.image.phantom import random_rotations
from mpirefine.storage import mrc
from mpirefine.storage.eman2 import lst
from mpirefine.storage.images import write_images
from mpirefine.storage.particle_file import in_format, read_particles
from mpirefine.storage.stack import ParticleStack
from tests.eman_lists import write_lst

CTFS = [
    EmanCTF(
        1.5 + 0.1 * i, 0.2, 30.0, 50.0, 10.0, 300.0 if i < 3 else 200.0, 2.7, 2.0, 0.01, (1.0,) * 3, (0.5, 0.25, 0.125)
    )
    for i in range(5)
]


@pytest.fixture
def particles(tmp_path, monkeypatch, rng):
    """Two stacks in HDF with CTF, and a list of five of their images, the first one last."""
    monkeypatch.chdir(tmp_path)
    images = rng.standard_normal((5, 16, 16)).astype(np.float32)
    heads = [{"ctf": ctf.to_text(), "ptcl_source_image": "mic.hdf"} for ctf in CTFS]
    write_images("a.hdf", list(images[:3]), 2.0, heads[:3])
    write_images("b.hdf", list(images[3:]), 2.0, heads[3:])
    write_lst(
        "p.lst",
        [
            lst.Entry(1, "a.hdf"),
            lst.Entry(2, "a.hdf"),
            lst.Entry(0, "b.hdf"),
            lst.Entry(1, "b.hdf"),
            lst.Entry(0, "a.hdf"),
        ],
    )
    return images


ORDER = [1, 2, 3, 4, 0]


def columns(count, rng, **changes):
    return {
        "model": np.arange(count) % 3 - 1,
        "posterior": rng.random(count),
        "rotation": random_rotations(count, rng),
        "shift_xy": rng.uniform(-3, 3, (count, 2)),
        **changes,
    }


def test_a_list_of_two_stacks(particles):
    source = read_particles("p.lst")
    table = source.table
    assert source.grid.nx == 16 and source.grid.apix == 2.0 and source.suffix == ".lst"
    assert table.image.tolist() == [1, 2, 0, 1, 0] and table.file.tolist() == [0, 0, 1, 1, 0]
    np.testing.assert_array_equal(ParticleStack(table).read(np.array([4, 0, 3])), particles[[0, 1, 4]])
    np.testing.assert_allclose(table.ctf.defocus_u, [1e4 * CTFS[i].defocus + 1000 for i in ORDER], rtol=1e-5)
    np.testing.assert_allclose(table.ctf.defocus_v, [1e4 * CTFS[i].defocus - 1000 for i in ORDER], rtol=1e-5)
    assert table.ctf.flipped.all() and table.ctf.voltage.tolist() == [300, 300, 200, 200, 300]
    assert [table.eman_ctf[i].snr for i in table.eman_index] == [(0.5, 0.25, 0.125)] * 5
    assert source.image_names(np.array([1, 2])) == [f"2@{table.files[0]}", f"0@{table.files[1]}"]
    assert read_particles("a.hdf", ctf=False).table.ctf is None and read_particles("a.hdf", 3.5).grid.apix == 3.5


def test_a_stack_of_sections_has_no_headers(particles):
    mrc.write_stack("plain.mrcs", particles, 2.0)
    with pytest.raises(InputError, match="plain.mrcs: no image has a CTF.*or say --no-ctf if the images carry none"):
        read_particles("plain.mrcs")
    found = read_particles("plain.mrcs", ctf_required=False)
    assert read_particles("plain.mrcs", ctf=False).table.ctf is None
    assert found.table.ctf is None and len(found.table) == 5 and found.grid.apix == pytest.approx(2)


@pytest.mark.parametrize(
    "made, told",
    [
        (
            lambda: write_lst("x.lst", [lst.Entry(0, "a.hdf"), lst.Entry(3, "a.hdf")]),
            "x.lst: row 2: image 3 of a.hdf, which holds 3",
        ),
        (lambda: write_lst("x.lst", [lst.Entry(0, "a.hdf"), lst.Entry(0, "gone.hdf")]), "gone.hdf: cannot be read"),
        (lambda: write_lst("x.lst", []), "x.lst: the list is empty"),
        (
            lambda: write_lst("x.lst", [lst.Entry(0, "a.hdf"), lst.Entry(0, "wide.hdf")]),
            r"different sizes: 16 x 16 \(a.hdf\), 18 x 18 \(wide.hdf\)",
        ),
        (
            lambda: write_lst("x.lst", [lst.Entry(0, "a.hdf"), lst.Entry(0, "fine.hdf")]),
            r"pixel sizes differ: 2 Å \(a.hdf\), 1.5 Å \(fine.hdf\)",
        ),
        (
            lambda: write_lst("x.lst", [lst.Entry(0, "a.hdf"), lst.Entry(0, "bare.hdf")]),
            "row 2.*no CTF in the header, but others have one",
        ),
        (
            lambda: write_lst("x.lst", [lst.Entry(0, "a.hdf", {"ctf": "E1 2"})]),
            "x.lst: row 1: not a CTF of EMAN2: 'E1 2'",
        ),
        (
            lambda: write_lst("x.lst", [lst.Entry(0, "odd.hdf")]),
            "images of 17 x 17 pixels, but the box must be square, even",
        ),
        (lambda: write_lst("x.lst", [lst.Entry(0, "map.hdf")]), "holds 16x16x16 voxels: a map"),
        (
            lambda: write_lst("x.lst", [lst.Entry(0, "nowhere.hdf")]),
            "nowhere.hdf: no pixel size|x.lst: no pixel size in the headers",
        ),
        (lambda: Path("x.lst").write_text("some text\n"), "x.lst: line 1 is 'some text'"),
    ],
    ids=["beyond", "gone", "empty", "sizes", "pixels", "ctf", "bad ctf", "odd", "map", "no pixel", "no list"],
)
def test_every_complaint(particles, made, told):
    write_images("wide.hdf", [np.eye(18, dtype=np.float32)], 2.0, [{"ctf": CTFS[0].to_text()}])
    write_images("fine.hdf", [np.eye(16, dtype=np.float32)], 1.5, [{"ctf": CTFS[0].to_text()}])
    write_images("bare.hdf", [np.eye(16, dtype=np.float32)], 2.0)
    write_images("nowhere.hdf", [np.eye(16, dtype=np.float32)], 0.0)
    write_images("odd.hdf", [np.eye(17, dtype=np.float32)], 2.0)
    write_images("map.hdf", [np.ones((16, 16, 16), np.float32)], 2.0)
    made()
    with pytest.raises((InputError, FormatError), match=told):
        read_particles("x.lst")


def test_a_list_written_and_read_again(particles, rng):
    """Class from 1, 0 for those set aside; poses come back; some rows only."""
    source, told = read_particles("p.lst"), columns(5, rng)
    source.with_results(**told).write("out.lst")
    entries = lst.read_lst("out.lst")
    assert [entry.header["class"] for entry in entries] == (told["model"] + 1).tolist() and entries[0].file == "a.hdf"
    np.testing.assert_allclose([entry.header["score"] for entry in entries], -told["posterior"], atol=1e-6)
    again = read_particles("out.lst", poses=True).table
    np.testing.assert_allclose(again.rotation, told["rotation"], atol=1e-6)
    np.testing.assert_allclose(again.shift, told["shift_xy"], atol=1e-6)
    assert again.ctf is not None and again.files == source.table.files
    source.with_results(**told).write("some.lst", np.array([4, 2]))
    assert [(entry.index, entry.file) for entry in lst.read_lst("some.lst")] == [(0, "a.hdf"), (0, "b.hdf")]
    with pytest.raises(InputError, match="--fixed-poses needs xform.projection"):
        read_particles("p.lst", poses=True)


def test_a_mirrored_view_is_the_one_from_behind(particles):
    """EMAN2 mirrors x after the rotation: the image is that of the view turned about y by 180 degrees, seen from
    behind.
    """
    view = rotation_from_eman(20.0, 50.0, 70.0)
    mirrored = np.concatenate([np.diag([-1.0, 1, 1]) @ view, [[1.5], [-2.5], [0]]], axis=1)
    write_lst("m.lst", [lst.Entry(0, "a.hdf", {"xform.projection": mirrored})])
    found = read_particles("m.lst", poses=True).table
    assert np.linalg.det(found.rotation[0]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found.rotation[0], np.diag([-1.0, 1, -1]) @ view, atol=1e-6)
    np.testing.assert_allclose(found.shift[0], [1.5, -2.5])


def test_a_list_as_star_and_back(particles, rng):
    """RELION's file has an optics group for each voltage, CTF and flipped phases; the particles are the same ones."""
    source, told = read_particles("p.lst"), columns(5, rng)
    in_format(source, "star").with_results(**told).write("out.star")
    star = read_particles("out.star", poses=True)
    assert star.grid == source.grid and star.table.ctf.flipped.all() and star.table.files == source.table.files
    assert star.table.image.tolist() == [1, 2, 0, 1, 0]
    for field in ("defocus_u", "defocus_v", "defocus_angle", "voltage", "cs", "amplitude_contrast", "bfactor"):
        np.testing.assert_allclose(getattr(star.table.ctf, field), getattr(source.table.ctf, field), atol=1e-4)
    np.testing.assert_allclose(star.table.rotation, told["rotation"], atol=1e-4)
    np.testing.assert_allclose(star.table.shift, told["shift_xy"], atol=1e-4)
    text = (star.path).read_text()
    optics, rows = text.split("data_particles")
    assert all(
        f"_{name} " in optics and f"_{name} " not in rows
        for name in ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
    )
    assert optics.count("200.000000") == 1 and optics.count("300.000000") == 1
    in_format(star, "lst").with_results(**told).write("back.lst")
    assert [(e.index, e.file) for e in lst.read_lst("back.lst")] == [(e.index, e.file) for e in lst.read_lst("p.lst")]
    assert in_format(source, None) is source and in_format(source, "lst") is source


@pytest.mark.parametrize("name", ["star", "lst"])
def test_rows_are_formatted_once_for_all_sets(particles, rng, name, monkeypatch):
    """Each set holds the bytes that its rows have in the file of all particles, in the order asked for."""
    suffix, results = "." + name, columns(5, rng)
    rows = in_format(read_particles("p.lst"), name).with_results(**results)
    rows.write("all" + suffix)
    monkeypatch.setattr("mpirefine.storage.eman2.particles.format_line", None)
    monkeypatch.setattr("mpirefine.storage.relion.particles.decimal_cells", None)
    lines = [line for line in Path("all" + suffix).read_text().splitlines() if "@" in line or line[:1].isdigit()][-5:]
    for chosen in ([4, 2], [], [0, 1, 2, 3, 4]):
        rows.write("set" + suffix, np.array(chosen, int))
        text = Path("set" + suffix).read_text().splitlines()
        assert [line.rstrip() for line in text[len(text) - len(chosen) - (name == "star") :] if line] == [
            lines[row].rstrip() for row in chosen
        ]
