"""RELION's angles against its own formula, and back."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.data.angles import euler_from_rotation, rotation_from_euler


def relion_matrix(rot, tilt, psi):
    """Euler_angles2matrix of RELION's src/euler.cpp."""
    (ca, cb, cg), (sa, sb, sg) = (f(np.radians([rot, tilt, psi])) for f in (np.cos, np.sin))
    cc, cs, sc, ss = cb * ca, cb * sa, sb * ca, sb * sa
    return np.array([[cg * cc - sg * sa, cg * cs + sg * ca, -cg * sb], [-sg * cc - cg * sa, -sg * cs + cg * ca, sg * sb], [sc, ss, cb]])


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
