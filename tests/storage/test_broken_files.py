"""Files with wrong types, absurd numbers and damage: one error that names the file, never another exception, never a
hang.
"""

import h5py
import numpy as np
import pytest

from mpirefine.errors import InputError, RefineError
from mpirefine.storage import mrc
from mpirefine.storage.eman2 import lst
from mpirefine.storage.eman2.hdf_writer import write_hdf
from mpirefine.storage.images import open_images, read_volumes
from mpirefine.storage.particle_file import read_particles
from mpirefine.storage.stack import ParticleStack
from tests.eman_lists import write_lst
from tests.storage.test_optics import STAR

CTF = "E1.5 0 0 100 10 300 2.7 2 0.01 2,1,2 2,0.5,0.25"
HEAD = {"ctf": CTF, "ptcl_source_image": "mic.hdf", "xform.projection": np.eye(3, 4)}


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """Small sound files of every format."""
    monkeypatch.chdir(tmp_path)
    images = rng.standard_normal((3, 16, 16)).astype(np.float32)
    mrc.write_stack("p.mrcs", images, 2.0)
    mrc.write_volume("v.mrc", np.ones((16, 16, 16)), 2.0)
    write_hdf("p.hdf", images, [HEAD] * 3, 2.0)
    write_lst("p.lst", [lst.Entry(i, "p.hdf", {"xform.projection": HEAD["xform.projection"]}) for i in range(3)])
    (tmp_path / "p.star").write_text(STAR)
    return tmp_path


def refused(path, *words, **options):
    with pytest.raises(InputError) as error:
        read_particles(path, **options)
    for word in (str(path), *words):
        assert word in str(error.value), str(error.value)
    assert all(len(line) < 700 and line.isprintable() for line in error.value.problems)


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("1@p.mrcs", "²@p.mrcs", ["row 1: column _rlnImageName", "'²@p.mrcs'"]),
        ("1@p.mrcs", "9" * 30 + "@p.mrcs", ["row 1: column _rlnImageName", "999"]),
        ("1@p.mrcs", "9" * 9000 + "@p.mrcs", ["row 1: column _rlnImageName"]),
        ("1@p.mrcs", "-1@p.mrcs", ["row 1: column _rlnImageName"]),
        ("1@p.mrcs", "1@", ["row 1: column _rlnImageName"]),
        ("1@p.mrcs", "1@p\0.mrcs", ["row 1: column _rlnImageName: p\\x00.mrcs: cannot be read"]),
        ("1@p.mrcs", "1@" + "x" * 8000, ["row 1: column _rlnImageName: xxx", "cannot be read"]),
        ("1@p.mrcs", "1@.", ["row 1: column _rlnImageName", "cannot be read"]),
        ("15000", "1_5", ["row 1, column _rlnDefocusU: '1_5' is not a number"]),
        ("15000", "1e300", ["row 1: column _rlnDefocusU: 1e+300"]),
        (" 20\n", " inf\n", ["row 1: column _rlnDefocusAngle: inf"]),
        ("_rlnDefocusV", "_rlnDefocusU", ["column _rlnDefocusU for the second time"]),
        ("data_particles", "data_optics", ["a second table 'data_optics'"]),
        ("\ndata_particles\n", "", ["a second loop_"]),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_star(folder, old, new, words):
    assert old in STAR
    (folder / "p.star").write_text(STAR.replace(old, new, 1))
    refused("p.star", *words)


@pytest.mark.parametrize(
    "line, words",
    [
        ("²\tp.hdf", ["line 4 is not"]),
        ("9" * 30 + "\tp.hdf", ["line 4 is not"]),
        ("0\t" + "x" * 300 + ".hdf", ["row 1", "cannot be read"]),
        ("0\ta\0b.hdf", ["row 1", "a\\x00b.hdf: cannot be read"]),
        ("0\tp.hdf\t" + "[" * 20000, ["line 4: the third column is no JSON"]),
        ('0\tp.hdf\t{"xform.projection": 5}', ["row 1: xform.projection: 5 is no Transform"]),
        ('0\tp.hdf\t{"xform.projection": {"__class__": "Transform", "matrix": [1, 2]}}', ["line 4", "3 x 4"]),
        (
            '0\tp.hdf\t{"xform.projection": {"__class__": "Transform", "matrix": [1' + "0" * 400 + "]}}",
            ["line 4", "3 x 4"],
        ),
        ('0\tp.hdf\t{"ptcl_source_image": [1, 2]}', ["row 1: ptcl_source_image: [1, 2] is no name"]),
        ('0\tp.hdf\t{"ctf": 7}', ["row 1: not a CTF"]),
        ('0\tp.hdf\t{"ctf": {"defocus": 1' + "0" * 400 + "}}", ["row 1: not a CTF"]),
        ('0\tp.hdf\t{"ctf": {"defocus": 1e300}}', ["row 1: header ctf: 1e+304 is no value in Å"]),
    ],
    ids=range(12),
)
def test_lists(folder, line, words):
    (folder / "x.lst").write_text(f"#LSX\n# c\n# 20\n{line}\n")
    refused("x.lst", *words)


def number(value):
    def change(file):
        file["MDF/images"].attrs["imageid_max"] = value

    return change


def attribute(name, value):
    def change(file):
        for image in file["MDF/images"].values():
            image.attrs["EMAN." + name] = value

    return change


def image(**arguments):
    def change(file):
        del file["MDF/images/0/image"]
        file["MDF/images/0"].create_dataset("image", **arguments)

    return change


@pytest.mark.parametrize(
    "change, words",
    [
        (attribute("apix_x", np.zeros(3)), ["image 0", "header apix_x: [0. 0. 0.]"]),
        (attribute("apix_x", np.nan), ["header apix_x: nan"]),
        (attribute("apix_x", "abc"), ["header apix_x: abc"]),
        (attribute("apix_x", -2.0), ["header apix_x: -2"]),
        (number(10**9), ["imageid_max", "1000000001 images", "holds 3"]),
        (number("text"), ["imageid_max", "text"]),
        (number(5), ["image 3 is missing"]),
        (number(np.nan), ["imageid_max", "nan"]),
        (number(h5py.Empty("f4")), ["imageid_max"]),
        (image(data=h5py.Empty("f4")), ["image 0 (from 0) is no image"]),
        (image(data="text"), ["is no image"]),
        (image(data=1.0), ["is no image"]),
        (image(shape=(1 << 30, 1 << 30), dtype="f4", chunks=(64, 64)), ["is no image"]),
        (
            lambda file: file["MDF/images/0"].move("image", "x") or file["MDF/images/0"].create_group("image"),
            ["a group of others"],
        ),
        (attribute("ctf", np.ones(3)), ["row 1: not a CTF"]),
        (attribute("ptcl_source_image", np.ones(3)), ["rows 1, 2, 3: ptcl_source_image"]),
        (attribute("xform.projection", 5.0), ["rows 1, 2, 3: header xform.projection: 5.0 is no Transform"]),
    ],
    ids=range(17),
)
def test_hdf(folder, change, words):
    with h5py.File("p.hdf", "a") as file:
        change(file)
    refused("p.hdf", *words, poses=True)
    with pytest.raises(InputError, match="p.hdf"):
        read_volumes("p.hdf")


def test_apix_decides_where_the_header_is_wrong(folder):
    with h5py.File("p.hdf", "a") as file:
        attribute("apix_x", "abc")(file)
    assert read_particles("p.hdf", 2.0).grid.apix == 2.0


@pytest.mark.parametrize("bits", ["abc", -1, 2.5, 999])
def test_compressed_pixels(folder, bits):
    with h5py.File("p.hdf", "a") as file:
        image(data=np.ones((16, 16), np.uint16))(file)
        attribute("stored_renderbits", bits)(file)
    with open_images("p.hdf") as found, pytest.raises(InputError, match="p.hdf: image 0.*header stored_renderbits"):
        found.read([0])


@pytest.mark.parametrize("name", ["p.star", "p.lst", "p.hdf", "p.mrcs"])
def test_a_folder_in_place_of_a_file(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(name, "cannot be read", "folder")


def test_an_extended_header_that_is_not_there(folder, caplog):
    raw = bytearray((folder / "p.mrcs").read_bytes())
    before = ParticleStack(read_particles("p.mrcs", ctf=False).table).read(np.arange(3))
    raw[92:96] = np.int32(4096).tobytes()
    (folder / "p.mrcs").write_bytes(raw)
    for name in ("p.mrcs", "p.star"):
        caplog.clear()
        found = read_particles(name, ctf=False)
        np.testing.assert_array_equal(ParticleStack(found.table).read(np.arange(3)), before)
        assert [
            record.message.count("extended header of 4096 bytes that is not there") for record in caplog.records
        ] == [1]
    (folder / "p.mrcs").write_bytes(raw + bytes(100))
    refused(
        "p.mrcs",
        f"{len(raw) + 100} bytes",
        f"asks for {len(raw) + 4096}",
        "extended header of 4096",
        f"{len(raw) - 1024} of pixels",
    )
    volume = bytearray((folder / "v.mrc").read_bytes())
    volume[92:96] = np.int32(80).tobytes()
    (folder / "v.mrc").write_bytes(volume)
    caplog.clear()
    assert (read_volumes("v.mrc")[0][0] == 1).all() and "extended header of 80 bytes" in caplog.text


@pytest.mark.parametrize("name", ["p.star", "p.lst", "p.hdf", "p.mrcs", "v.mrc"])
def test_random_damage(folder, name, rng):
    """Flipped, missing and inserted bytes: read, or refused by an error of the program's own."""
    sound = (folder / name).read_bytes()
    for _ in range(60):
        bad = bytearray(sound if rng.random() < 0.85 else sound[: rng.integers(len(sound))])
        for at in rng.integers(0, max(1, min(len(bad), 4000)), rng.integers(1, 5)):
            kind = rng.integers(3)
            bad[at : at + (kind != 1)] = bytes([rng.integers(256)] if kind < 2 else b"")
        (folder / name).write_bytes(bad)
        try:
            if name == "v.mrc":
                read_volumes(name)
            else:
                table = read_particles(name, poses=name in ("p.lst", "p.hdf")).table
                ParticleStack(table).read(np.arange(len(table)))
        except RefineError as error:
            assert str(error)
