"""EMAN2's averagers."""

import json

import numpy as np
import pytest

from mpirefine.data.emanctf import EmanCTF
from mpirefine.maths.eman2.averagers import AVERAGERS

# of the average's sigma
TOLERANCE = {
    "mean": 1e-5,
    "median": 1e-5,
    "minmax": 1e-5,
    "sigma": 5e-5,
    "ctf.auto": 1e-3,
    "ctfw.auto": 1e-3,
    "ctf.weight": 1e-3,
    "ctf.weight.autofilt": 1e-3,
}
# DIFFERENT ON PURPOSE: localweight is that of EMAN2 until 2019, the oracle does not mean it as a fixture;
# weightedfourier: EMAN2 itself fails without avg_weight
DIFFERENT = {"localweight", "weightedfourier"}


@pytest.fixture
def cases(oracle):
    return json.loads((oracle / "averagers.json").read_text())["cases"]


@pytest.fixture
def arrays(oracle):
    with np.load(oracle / "averagers.npz") as found:
        yield found


def with_zeros(images):
    """As the oracle did it before averaging with ignore0."""
    count, ny, nx = images.shape
    k, y, x = np.ogrid[:count, :ny, :nx]
    return np.where((x + y + k) % 4 == 0, 0, images).astype(np.float32)


@pytest.mark.parametrize("name", sorted(TOLERANCE))
def test_averages(name, cases, arrays):
    tried = 0
    for case in cases:
        images = np.array([arrays[f"{case['prefix']}img{i}"] for i in range(len(case["ctf"]))])
        # through their text form, as EMAN2 hands them on
        ctfs = [EmanCTF.from_text(EmanCTF.from_fields(fields).to_text()) for fields in case["ctf"]]
        for output in (o for o in case["outputs"] if o["averager"] == name):
            tried += 1
            component = AVERAGERS.build(":".join([name, *(f"{k}={v}" for k, v in output["params"].items())]))
            found = component(with_zeros(images) if "ignore0" in output["params"] else images, ctfs, case["apix"])
            wanted = arrays[output["key"]]
            assert found.image.dtype == np.float32
            assert np.abs(found.image - wanted).max() <= TOLERANCE[name] * wanted.std(), (
                output,
                np.abs(found.image - wanted).max(),
            )
            assert found.wiener_filtered == output.get("ctf_wiener_filtered")
            if "sigma_key" in output:
                np.testing.assert_allclose(found.sigma, arrays[output["sigma_key"]], atol=1e-5)
            if "norm_key" in output:
                np.testing.assert_array_equal(found.norm, arrays[output["norm_key"]])
            if "ctf_snr_total" in output:
                np.testing.assert_allclose(found.snr_total, output["ctf_snr_total"], atol=1e-5)
    assert tried


def test_all_names_are_tried(cases):
    assert {output["averager"] for case in cases for output in case["outputs"]} - set(TOLERANCE) <= DIFFERENT
    assert DIFFERENT <= set(AVERAGERS)
