"""Angles and transforms of the types EMAN2 knows, against its own."""

import json

import numpy as np
import pytest

from mpirefine.data.rotations import (
    KINDS,
    Placement,
    angles_from_rotation,
    compose,
    eman_from_rotation,
    inverse,
    rotation_from_angles,
    rotation_from_eman,
)

ANGLES = 1e-3
# where only a sum of angles is defined EMAN2 shares it out otherwise, or wrongly: case (az, alt, phi), EMAN2's xtilt,
# ytilt, ztilt, ours
DIFFERENT = {
    (30, 180, 40): (
        (-180.0, 0.0, 325.0),
        (180.0, 0.0, 10.0),
        "EMAN2's angles give another matrix than it printed: ztilt should be 10",
    ),
    (90, 90, 90): (
        (-90.0, 90.0, 270.0),
        (0.0, 90.0, 180.0),
        "ytilt is 90: only ztilt + xtilt, 180, is defined; ours has xtilt 0",
    ),
}


def rows(oracle, name):
    return json.loads((oracle / "euler.json").read_text())[name]


def given(oracle):
    found = rows(oracle, "cases")
    return found, rotation_from_eman(*(np.array([case[key] for case in found], float) for key in ("az", "alt", "phi")))


def test_matrices(oracle):
    found, rotations = given(oracle)
    np.testing.assert_allclose(rotations, [case["matrix"] for case in found], atol=1e-6)
    assert len(found) >= 10


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_is_eman2s_and_gives_the_matrix_back(oracle, kind):
    found, rotations = given(oracle)
    ours = angles_from_rotation(kind, rotations)
    np.testing.assert_allclose(rotation_from_angles(kind, **ours), rotations, atol=1e-9)
    for i, case in enumerate(found):
        known = DIFFERENT.get((case["az"], case["alt"], case["phi"])) if kind == "xyz" else None
        theirs = known[1] if known else [case[kind][name] for name in KINDS[kind]]
        if known:
            assert [case[kind][name] for name in KINDS[kind]] == pytest.approx(known[0], abs=ANGLES)
        for name, value in zip(KINDS[kind], theirs):
            component = name[0] in "en" and kind in ("quaternion", "spin", "sgirot")
            apart = ours[name][i] - value
            assert abs(apart if component else (apart + 180) % 360 - 180) < (1e-6 if component else ANGLES), (
                kind,
                name,
                case,
            )
        if not known:
            np.testing.assert_allclose(rotation_from_angles(kind, **case[kind]), case["matrix"], atol=2e-6)


def placement(numbers):
    shift = [numbers[key] for key in ("tx", "ty", "tz")]
    return Placement(
        rotation_from_eman(numbers["az"], numbers["alt"], numbers["phi"]),
        np.array(shift),
        np.array(bool(numbers["mirror"])),
        np.array(numbers["scale"]),
    ).matrix()


def test_products_inverses_and_points(oracle):
    pairs = rows(oracle, "pairs")
    for pair in pairs:
        a, b = placement(pair["a"]), placement(pair["b"])
        np.testing.assert_allclose(a, pair["A"], atol=1e-6)
        np.testing.assert_allclose(b, pair["B"], atol=1e-6)
        np.testing.assert_allclose(compose(a, b), pair["A_times_B"], atol=2e-6)
        np.testing.assert_allclose(inverse(a), pair["A_inverse"], atol=2e-6)
        point = pair["A_transform_point"]
        np.testing.assert_allclose(a @ [*point["p"], 1], point["q"], atol=2e-6)
    assert any(pair["a"]["mirror"] for pair in pairs) and any(pair["b"]["mirror"] for pair in pairs)


def test_what_is_read_back_of_a_product(oracle):
    for pair in rows(oracle, "pairs"):
        theirs, ours = pair["AB_params"], Placement.of_matrix(compose(placement(pair["a"]), placement(pair["b"])))
        assert bool(ours.mirror) == bool(theirs["mirror"]) and ours.scale == pytest.approx(theirs["scale"], abs=1e-6)
        np.testing.assert_allclose(ours.shift, [theirs[key] for key in ("tx", "ty", "tz")], atol=2e-6)
        np.testing.assert_allclose(
            eman_from_rotation(ours.rotation), [theirs[key] for key in ("az", "alt", "phi")], atol=ANGLES
        )
