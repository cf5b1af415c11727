"""Euler angles of EMAN2 and Spider (RELION) against EMAN2's own."""

import json

import numpy as np
import pytest

from mpirefine.data.rotations import (
    eman_from_rotation,
    euler_from_rotation,
    rotation_from_eman,
    rotation_from_euler,
    spin_from_rotation,
)

ANGLES = 1e-3
KINDS = {
    "eman": (("az", "alt", "phi"), eman_from_rotation, rotation_from_eman),
    "spider": (("phi", "theta", "psi"), euler_from_rotation, rotation_from_euler),
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
def test_angles_are_eman2s_and_give_the_matrix_back(oracle, kind):
    found, rotations = given(oracle)
    names, angles, matrix = KINDS[kind]
    ours = angles(rotations)
    np.testing.assert_allclose(matrix(*ours), rotations, atol=1e-9)
    for i, case in enumerate(found):
        for name, values in zip(names, ours):
            assert abs((values[i] - case[kind][name] + 180) % 360 - 180) < ANGLES, (kind, name, case)
        np.testing.assert_allclose(matrix(*(case[kind][name] for name in names)), case["matrix"], atol=2e-6)


def test_turns_about_an_axis(oracle):
    found, rotations = given(oracle)
    omega, axis = spin_from_rotation(rotations)
    for i, case in enumerate(found):
        assert abs((omega[i] - case["spin"]["omega"] + 180) % 360 - 180) < ANGLES
        np.testing.assert_allclose(axis[i], [case["spin"][name] for name in ("n1", "n2", "n3")], atol=1e-6)


def test_matrices_with_shift_scale_and_mirror(oracle):
    """EMAN2's x' = mirror(scale · R x + t), as the processor xform applies it."""
    for pair in rows(oracle, "pairs"):
        for numbers, matrix in ((pair["a"], pair["A"]), (pair["b"], pair["B"])):
            ours = numbers["scale"] * rotation_from_eman(numbers["az"], numbers["alt"], numbers["phi"])
            ours = np.column_stack([ours, [numbers[key] for key in ("tx", "ty", "tz")]])
            ours[0] *= -1 if numbers["mirror"] else 1
            np.testing.assert_allclose(ours, matrix, atol=1e-6)
