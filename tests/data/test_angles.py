"""RELION's angles against its own formula, EMAN2's angles and turns about an axis back and forth."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.data.rotations import (
    eman_from_rotation,
    euler_from_rotation,
    rotation_from_eman,
    rotation_from_euler,
    spin_from_rotation,
)


def relion_matrix(rot, tilt, psi):
    """Euler_angles2matrix of RELION's src/euler.cpp."""
    (ca, cb, cg), (sa, sb, sg) = (f(np.radians([rot, tilt, psi])) for f in (np.cos, np.sin))
    cc, cs, sc, ss = cb * ca, cb * sa, sb * ca, sb * sa
    return np.array(
        [
            [cg * cc - sg * sa, cg * cs + sg * ca, -cg * sb],
            [-sg * cc - cg * sa, -sg * cs + cg * ca, sg * sb],
            [sc, ss, cb],
        ]
    )


@pytest.mark.parametrize("angles", [(10, 20, 30), (0, 0, 40), (-170, 135, 5), (0, 180, 77), (90, 90, 90)])
def test_matrix_is_relions(angles):
    matrix = rotation_from_euler(*map(np.float64, angles))
    np.testing.assert_allclose(matrix, relion_matrix(*angles), atol=1e-12)
    np.testing.assert_allclose(rotation_from_euler(*euler_from_rotation(matrix)), matrix, atol=1e-9)


def test_many_at_once():
    matrices = Rotation.random(50, random_state=1).as_matrix()
    np.testing.assert_allclose(rotation_from_euler(*euler_from_rotation(matrices)), matrices, atol=1e-9)
    rot, tilt, psi = euler_from_rotation(matrices)
    assert rot.shape == (50,) and (tilt >= 0).all() and (tilt <= 180).all()


def test_emans_angles_come_back():
    turns = rotation_from_eman([0, 30, 30, 90, 0, 20], [0, 0, 180, 90, 180, 1e-4], [0, 40, 40, 90, 180, 70])
    matrices = np.concatenate([Rotation.random(50, random_state=2).as_matrix(), turns, [np.diag([-1.0, -1.0, 1.0])]])
    np.testing.assert_allclose(rotation_from_eman(*eman_from_rotation(matrices)), matrices, atol=1e-7)


def test_spins_are_about_the_axis():
    matrices = Rotation.random(50, random_state=3).as_matrix()
    omega, axis = spin_from_rotation(matrices)
    assert ((omega >= 0) & (omega <= 180)).all()
    turns = Rotation.from_rotvec(-np.radians(omega)[:, None] * axis).as_matrix()  # coordinates turn the other way
    np.testing.assert_allclose(turns, matrices, atol=1e-9)
    assert spin_from_rotation(rotation_from_eman(25, 0, 0))[0] == pytest.approx(25)
