"""EMAN2's own files read back to what EMAN2 reads in them: pixels, headers, lists, JSON."""

import json
from pathlib import Path

import numpy as np
import pytest

from mpirefine.storage.eman2 import lst
from mpirefine.storage.eman2.hdf_writer import statistics
from mpirefine.storage.eman2.json import from_json
from mpirefine.storage.images import open_images

IMAGES = [
    "classes.hdf",
    "projections.hdf",
    "particles/p.hdf",
    "threed_1.hdf",
    "simmx.hdf",
    "classmx.hdf",
    "cls_result.hdf",
    "header_types.hdf",
    "header_types_c.hdf",
    "fft_image.hdf",
    "rect.hdf",
    "rect3d.hdf",
    "p_8bit.hdf",
    "p_12bit.hdf",
    "p_lossless.hdf",
    "vol_10bit.hdf",
    "vol_6bit.hdf",
    "stack_f32.mrcs",
    "stack_int16.mrcs",
    "proc_clip.mrc",
    "rect3d.mrc",
    "sets/all.lst",
    "sets/json.lst",
    "sets/nested.lst",
    "sets/sub.lst",
    "sets/comment.lst",
]
# made by EMAN2 while reading: not in the file
MADE = {"HostEndian", "ImageEndian", "is_complex_x", "source_n", "source_path", "data_n", "data_source", "datatype"}
STATISTICS = {"mean", "sigma", "minimum", "maximum", "square_sum"}


@pytest.fixture
def project(oracle, monkeypatch):
    """Lists are relative to the project's folder."""
    monkeypatch.chdir(oracle / "files")
    return json.loads((oracle / "programs.json").read_text())["read_back"]


@pytest.fixture
def arrays(oracle):
    with np.load(oracle / "program_outputs.npz") as found:
        yield found


def same(value, wanted):
    """A header value against the JSON of what EMAN2 read."""
    if isinstance(wanted, dict):
        ((kind, content),) = wanted.items()
        if kind == "Transform":
            np.testing.assert_allclose(np.ravel(value), content, atol=1e-6)
        elif isinstance(value, str):
            assert kind == "EMAN2Ctf" and float(value.split()[0][1:]) == pytest.approx(content["defocus"])
        else:
            assert kind == value["__class__"] == "EMAN2Ctf" and value["defocus"] == pytest.approx(content["defocus"])
    elif isinstance(wanted, (str, bool)):
        assert value == wanted
    else:
        np.testing.assert_allclose(value, wanted, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", IMAGES)
def test_pixels_and_headers(project, arrays, name):
    told = project[name]
    with open_images(name) as file:
        assert file.count == told["count"] and list(file.shape) == told["shape"]
        images = file.read(range(file.count))
        np.testing.assert_allclose(
            images.reshape(file.count, -1).mean(axis=1, dtype=float), told["mean"], rtol=1e-6, atol=2e-6
        )
        np.testing.assert_allclose(images.reshape(file.count, -1)[:, 0], told["pix00"], rtol=1e-5, atol=1e-6)
        key = name.replace("/", "__")
        if key in arrays:
            kept = arrays[key]
            own = images if images.ndim == kept.ndim else images[0]
            own = own[12:20] if kept.ndim == 3 and name.startswith("vol_10") else own
            np.testing.assert_allclose(own[: len(kept)], kept, rtol=1e-6, atol=1e-6)
        for index, wanted in enumerate(told["headers"]):
            found = file.header(index)
            for field, value in wanted.items():
                if field in MADE or (
                    not name.endswith(("hdf", "lst")) and field not in ("apix_x", "apix_y", "apix_z", *STATISTICS)
                ):
                    continue
                if field in STATISTICS:  # which EMAN2 makes anew when it reads; the file's are from before compression
                    np.testing.assert_allclose(statistics(images[index])[field], value, rtol=1e-5, atol=1e-6)
                    continue
                assert field in found, field
                same(found[field], value)


def test_lists_in_lists_and_json_columns(project):
    """Against the layout: EMAN2 itself drops the inner list's columns, which are kept here."""
    entries = lst.read_lst("sets/json.lst")
    assert entries[0].header and any(
        isinstance(v, np.ndarray) and v.shape == (3, 4) for e in entries for v in e.header.values()
    )
    assert all(path == Path("particles/p.hdf") for path, _, _ in lst.resolve("sets/nested.lst").entries)


def test_json(oracle):
    found = from_json((oracle / "files/info_mic0001_info.json").read_text())
    assert found["quality"] == 5 and found["text"] == "hello" and found["boxes"][0] == [100.5, 200.0, "manual"]
    assert found["xf"].shape == (3, 4) and found["xf"][0, 1] == pytest.approx(0.0697246)
    assert found["ctf"][1]["__class__"] == "EMAN2Ctf" and found["ctf"][1]["snr"][2] == 1.25
