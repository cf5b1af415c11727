"""EMAN2's comparators, pair by pair."""

import json

import numpy as np
import pytest

from mpirefine.data.emanctf import EmanCTF
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.comparators.catalogue import CMPS
from mpirefine.maths.eman2.radial import radial_means, ring_correlations, ring_counts

NAMES = ["dot", "ccc", "sqeuclidean", "lod", "quadmindot", "optvariance", "phase", "frc", "frc.freq"]
NAMES += ["optsub", "vertical"]
RELATIVE = {"phase": 1e-3}
ROUNDING = 2e-6  # of correlations near 0


@pytest.fixture
def cases(oracle):
    return json.loads((oracle / "comparators.json").read_text())


@pytest.fixture
def arrays(oracle):
    with np.load(oracle / "comparators.npz") as found:
        yield {name: found[name] for name in found}


def about(pair, case):
    """What the images' headers say; CTF come through their text form, as EMAN2 hands them on."""
    count = 7.0 + pair["pair"] if case["ptcl_repr"] else 0.0
    if case["ctf_on"] is None:
        return About(pair["apix"], count=count)
    return About.of([EmanCTF.from_text(pair["ctf_string"])], pair["n"], pair["apix"], count)


@pytest.mark.parametrize("name", NAMES)
def test_values(name, cases, arrays):
    mine = [case for case in cases["cases"] if case["cmp"] == name]
    assert mine
    for case in mine:
        text = ":".join(
            [
                name,
                *(f"{key}={value}" for key, value in case["params"].items()),
                *(["mask=a file"] if case["mask"] else []),
            ]
        )
        for pair, wanted in zip(cases["pairs"], case["values"]):
            a, b, mask = (arrays[f"{letter}{pair['pair']:02d}"] for letter in "abm")
            found = CMPS.build(text, lambda file: mask)(a, b, about(pair, case))[0]
            assert found == pytest.approx(wanted, rel=RELATIVE.get(name, 1e-4), abs=ROUNDING), (text, pair["pair"])


def test_all_names_are_tried(cases):
    assert {case["cmp"] for case in cases["cases"]} == set(NAMES) <= set(CMPS)


def test_pairs_at_once_are_pairs_one_by_one(cases, arrays):
    pairs = [pair for pair in cases["pairs"] if pair["n"] == 32]
    a, b = (np.array([arrays[f"{letter}{pair['pair']:02d}"] for pair in pairs]) for letter in "ab")
    ctfs = [EmanCTF.from_text(pair["ctf_string"]) for pair in pairs]
    for name in (
        "dot",
        "ccc",
        "sqeuclidean:normto=1",
        "lod",
        "quadmindot",
        "optvariance",
        "phase:snrweight=1",
        "optsub:ctfweight=1",
        "vertical",
        "frc:snrweight=1:ampweight=1:nweight=1",
        "frc:zeromask=1",
        "frc.freq",
    ):
        comparator, all_about = CMPS.build(name), About.of(ctfs, 32, 2.0, np.arange(len(pairs)) + 3.0)
        one_by_one = [comparator(a[i], b[i], all_about.take([i]))[0] for i in range(len(pairs))]
        np.testing.assert_allclose(comparator(a, b, all_about), one_by_one, rtol=1e-5, atol=1e-6)
        one_reference = [comparator(a[i], b[0], all_about.take([i]))[0] for i in range(len(pairs))]
        np.testing.assert_allclose(comparator(a, b[0], all_about), one_reference, rtol=1e-5, atol=1e-6)


def test_ring_correlations(cases, arrays):
    for curve in cases["frc_curves"]:
        a, b = (np.fft.rfft2(arrays[f"{letter}{curve['pair']:02d}"].astype(float))[None] for letter in "ab")
        np.testing.assert_allclose(ring_correlations(a, b)[0], curve["fsc"], atol=2e-5)
        np.testing.assert_array_equal(ring_counts(len(arrays[f"a{curve['pair']:02d}"])), curve["count"])


def test_radial_profiles(cases, arrays):
    for wanted in cases["radial"]:
        spectrum = np.fft.rfft2(arrays[f"a{wanted['pair']:02d}"].astype(float))[None]
        np.testing.assert_allclose(
            radial_means(np.abs(spectrum) ** 2)[0, : spectrum.shape[-2] // 2], wanted["radial_intensity"], rtol=1e-5
        )
        np.testing.assert_allclose(
            radial_means(np.abs(spectrum))[0, : spectrum.shape[-2] // 2], wanted["radial_amplitude"], rtol=1e-5
        )
