"""Groups and asymmetric units against EMAN2's."""

import json

import numpy as np
import pytest

from mpirefine.data.rotations import eman_from_rotation, rotation_from_eman
from mpirefine.maths.geometry.asymmetric_unit import in_asym_unit, reduce, unit_angles
from mpirefine.maths.geometry.symmetry import elements

ICOSAHEDRAL_222 = "icos2"
# EMAN2 finds no solution for these (reduce_ok = 0) and gives a view outside the unit; azimuth and altitude of EMAN2's
# answer, of ours
UNSOLVED = {
    ("d2", 28.612, 90.037): ((28.612, 90.037), (151.388, 89.963)),
    ("d3", -52.058, 90.867): ((67.942, 90.867), (112.058, 89.133)),
    ("icos", -158.06, 117.794): ((-128.215, 3.714), (-56.215, 3.714)),
}


def cases(oracle, name):
    return json.loads((oracle / name).read_text())["cases"]


def test_operations_are_those_of_eman2(oracle):
    groups = cases(oracle, "symmetry_ops.json")
    for case in groups:
        ours, shifts = elements(case["sym"])
        theirs = np.array(case["matrices"])
        assert len(ours) == case["nsym"]
        distance = np.abs(ours[:, None] - theirs[None]).max(axis=(2, 3))
        assert distance.min(axis=1).max() < 1e-5 and distance.min(axis=0).max() < 1e-5, case["sym"]
        np.testing.assert_allclose(
            shifts, 0 if case["translations"] is None else np.array(case["translations"])[:, 2], atol=1e-5
        )
        if case["sym"] != ICOSAHEDRAL_222:  # whose order in EMAN2 follows no rule
            assert (distance.argmin(axis=1) == np.arange(len(ours))).all(), case["sym"]
    assert {"c1", "d7", "tet", "oct", "icos", "icos2"} <= {case["sym"] for case in groups}


def test_units_are_those_of_eman2(oracle):
    views = cases(oracle, "asym_unit.json")
    for case in views:
        for mirror, key in ((False, "in_unit_nomirror"), (True, "in_unit_mirror")):
            assert bool(in_asym_unit(case["sym"], case["alt"], case["az"], mirror)) == bool(case[key]), (case, mirror)
    assert len(views) >= 100


def test_reduced_views_are_those_of_eman2(oracle):
    for case in cases(oracle, "asym_unit.json"):
        view = rotation_from_eman(case["az"], case["alt"], case["phi"])
        ours, theirs = reduce(case["sym"], view), rotation_from_eman(*case["reduced_az_alt_phi"])
        assert in_asym_unit(case["sym"], *unit_angles(case["sym"], ours), True)
        if case["reduce_ok"]:
            assert np.abs(ours - theirs).max() < np.radians(1e-3), case
            continue
        known = UNSOLVED.get((case["sym"], case["az"], case["alt"]))
        if known:
            assert case["reduced_az_alt_phi"][:2] == pytest.approx(known[0], abs=1e-3)
            assert [float(angle) for angle in eman_from_rotation(ours)[:2]] == pytest.approx(known[1], abs=1e-3)
        assert np.abs(view @ elements(case["sym"])[0] - ours).max(axis=(1, 2)).min() < 1e-9
