"""EMAN2's formats as written here: the layout its reader needs, round trips, and what is wrong with files."""

import json

import h5py
import numpy as np
import pytest

from mpirefine.errors import FormatError, InputError
from mpirefine.storage.eman2 import lst
from mpirefine.storage.eman2.hdf_header import stored_as
from mpirefine.storage.eman2.hdf_writer import write_hdf
from mpirefine.storage.eman2.json import from_json, to_json
from mpirefine.storage.images import open_images, read_volumes, write_images
from tests.eman_lists import write_lst

HEADER = dict(
    model_id=2,
    ptcl_repr=5,
    class_ptcl_idxs=np.array([3, 1, 4]),
    class_ssnr=np.array([0.5, 1.25]),
    class_ptcl_src="sets/all.lst",
    h_float=0.1,
    flag=True,
    **{"xform.projection": np.arange(12, dtype=float).reshape(3, 4), "ctf": "E1.5 0 0 100 10 300 2.7 2.5 0.01 1,2 1,3"},
)


def test_what_is_written_obeys_the_layout(tmp_path, rng):
    images = rng.standard_normal((3, 4, 6)).astype(np.float32)
    write_hdf(tmp_path / "a.hdf", images, [HEADER] * 3, 2.5)
    with h5py.File(tmp_path / "a.hdf") as file:
        top = file["/MDF/images"].attrs.get_id("imageid_max")
        assert top.shape == (1,) and top.dtype == np.int32 and file["/MDF/images"].attrs["imageid_max"][0] == 2
        group = file["/MDF/images/1"]
        data = group["image"]
        assert data.dtype == "<f4" and data.shape == (4, 6) and data.chunks is None
        for name in group.attrs:
            kind = group.attrs.get_id(name)
            assert name.startswith("EMAN.")
            assert not kind.dtype.kind == "O" and kind.dtype not in (np.int64, np.uint64), (
                name
            )  # no text of any length, no long integers
            assert kind.shape == () if kind.dtype.kind == "S" else len(kind.shape) == 1, name
            assert not (kind.dtype == np.float64 and kind.shape[0] > 1), name
        assert group.attrs.get_id("EMAN.class_ptcl_src").dtype == "S13"  # one more for the end mark
        assert group.attrs.get_id("EMAN.xform.projection").dtype.names == tuple(
            f"{r}{c}" for r in range(3) for c in range(4)
        )
        assert group.attrs["EMAN.flag"].tolist() == [84]
        assert [group.attrs[f"EMAN.{k}"].tolist() for k in ("nx", "ny", "nz", "apix_x")] == [[6], [4], [1], [2.5]]
        assert group.attrs["EMAN.mean"][0] == pytest.approx(images[1].mean(), abs=1e-6)


def test_round_trip(tmp_path, rng):
    volume = rng.standard_normal((6, 6, 6)).astype(np.float32)
    write_images(tmp_path / "v.hdf", [volume, 2 * volume], 3.5, [HEADER, {}])
    with open_images(tmp_path / "v.hdf") as file:
        assert file.count == 2 and file.shape == (6, 6, 6) and file.apix == 3.5
        np.testing.assert_array_equal(file.read([1, 0]), [2 * volume, volume])
        found = file.header(0)
        for key, value in HEADER.items():
            np.testing.assert_array_equal(found[key], value)
        assert file.value(0, "model_id") == 2 and file.value(1, "model_id") is None
    maps, apix = read_volumes(tmp_path / "v.hdf")
    assert len(maps) == 2 and apix == 3.5


def test_one_element_arrays_come_back_as_numbers(tmp_path):
    """EMAN2's own reader does so, and then loses the particle: what reads them here must expect it."""
    write_hdf(tmp_path / "a.hdf", [np.zeros((4, 4))], [{"class_ptcl_idxs": np.array([7])}], 1.0)
    with open_images(tmp_path / "a.hdf") as file:
        assert file.value(0, "class_ptcl_idxs") == 7


@pytest.mark.parametrize("suffix", [".mrcs", ".hdf"])
def test_stacks_and_maps_by_suffix(tmp_path, rng, suffix):
    images = rng.standard_normal((5, 6, 6)).astype(np.float32)
    write_images(tmp_path / f"s{suffix}", list(images), 1.5)
    with open_images(tmp_path / f"s{suffix}") as file:
        assert file.count == 5 and file.shape == (6, 6) and file.apix == 1.5
        np.testing.assert_array_equal(file.read([4, 1]), images[[4, 1]])
    write_images(tmp_path / "m.mrc", [images], 1.5)
    with open_images(tmp_path / "m.mrc") as file:
        assert file.count == 1 and file.shape == (5, 6, 6)


def test_lists(tmp_path, rng, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = rng.standard_normal((6, 4, 4)).astype(np.float32)
    write_images("a.hdf", list(images), 2.0, [{"model_id": i} for i in range(6)])
    (tmp_path / "sets").mkdir()
    write_lst("sets/inner.lst", [lst.Entry(i, "a.hdf", {"score": float(i)} if i == 3 else {}) for i in (5, 3, 0)])
    write_lst("sets/outer.lst", [lst.Entry(1, "sets/inner.lst", {"class": 2}), lst.Entry(0, "sets/inner.lst")])
    raw = (tmp_path / "sets/inner.lst").read_bytes().split(b"\n")
    assert (
        raw[0] == b"#LSX"
        and raw[1].startswith(b"#")
        and {len(line) + 1 for line in raw[3:-1]} == {int(raw[2][2:])}
        and raw[-1] == b""
    )
    with open_images("sets/outer.lst") as file:
        np.testing.assert_array_equal(file.read([0, 1]), images[[3, 5]])
        head = file.header(0)
        assert (head["score"], head["class"], head["model_id"], head["data_n"], file.value(1, "model_id")) == (
            3.0,
            2,
            3,
            3,
            5,
        )
    matrix = np.array([[1, 0, 0, 2.5], [0, 1, 0, -1], [0, 0, 1, 0]], np.float32)
    write_lst("sets/posed.lst", [lst.Entry(0, "a.hdf", {"xform.projection": matrix})])
    np.testing.assert_array_equal(lst.read_lst("sets/posed.lst")[0].header["xform.projection"], matrix)


def test_json_round_trip():
    found = from_json(json.dumps(to_json({"sym": "c1", "iter": 3, "t": np.eye(3, 4), "n": np.int64(4)})))
    assert found["sym"] == "c1" and found["iter"] == 3 and found["n"] == 4
    np.testing.assert_array_equal(found["t"], np.eye(3, 4))


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.lst", b"0\ta.hdf\n", "line 1 is '0\ta.hdf', but an EMAN2 list begins with #LSX"),
        ("a.lst", b"#LSX\n# c\n# 9\nx\ta.hdf\n", "line 4 is not 'number<tab>file'"),
        ("a.lst", b"#LSX\n# c\n# 9\n0\ta.hdf\t{a\n", "line 4: the third column is no JSON"),
        ("a.lst", b"#LSX\n# c\n# 9\n0\ta.lst\n", "a list that names itself"),
        ("a.lst", b"#LSX\n# c\n# 9\n", "the list is empty"),
        ("a.hdf", b"nothing", "no HDF5 file, or truncated"),
        ("a.tif", b"II", "'.tif' is no format that is read"),
        ("bdb:x#y", None, "old database"),
        ("a.hdf:3", None, "make a list"),
        ("none.hdf", None, "no such file"),
    ],
)
def test_bad_files(tmp_path, monkeypatch, name, content, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        open_images(name)
    assert message in str(error.value) and name in str(error.value)


def test_hdf_without_images_and_with_holes(tmp_path):
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        file["x"] = 1
    with pytest.raises(FormatError, match="without EMAN2's /MDF/images"):
        open_images(tmp_path / "a.hdf")
    write_hdf(tmp_path / "b.hdf", [np.zeros((4, 4))] * 2, [{}] * 2, 1.0)
    with h5py.File(tmp_path / "b.hdf", "a") as file:
        del file["/MDF/images/1"]
    with open_images(tmp_path / "b.hdf") as file, pytest.raises(FormatError, match="image 1 is missing of 2"):
        file.read([1])


@pytest.mark.parametrize("value", [2**40, [1, 2, "a"], np.zeros((2, 2))])
def test_values_that_eman2_cannot_hold(value):
    with pytest.raises(ValueError, match="EMAN2"):
        stored_as(value)
