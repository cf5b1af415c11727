"""Asymmetric units: of a view's copies exactly one lies inside."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.errors import ParameterError
from mpirefine.maths.geometry.asymmetric_unit import in_asym_unit, reduce, unit_angles
from mpirefine.maths.geometry.symmetry import operations

GROUPS = ["c1", "c2", "c5", "d1", "d2", "d3", "d6", "tet", "oct", "icos", "icos2"]
UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0])


@pytest.fixture
def views():
    return Rotation.random(400, random_state=3).as_matrix()


@pytest.mark.parametrize("name", GROUPS)
def test_one_copy_of_a_view_lies_in_the_unit(name, views):
    copies = views[:, None] @ operations(name)
    assert (in_asym_unit(name, *unit_angles(name, copies), True).sum(axis=1) == 1).all()
    both = np.concatenate([copies, UPSIDE_DOWN @ copies], axis=1)
    assert (in_asym_unit(name, *unit_angles(name, both), False).sum(axis=1) == 1).all()


@pytest.mark.parametrize("name", GROUPS)
def test_reduced_views_are_copies_in_the_unit(name, views):
    reduced = reduce(name, views)
    assert in_asym_unit(name, *unit_angles(name, reduced), True).all()
    assert np.abs(views[:, None] @ operations(name) - reduced[:, None]).max(axis=(2, 3)).min(axis=1).max() < 1e-9
    np.testing.assert_allclose(reduce(name, reduced), reduced, atol=1e-9)


def test_a_helix_has_a_band_of_views_but_no_unit(views):
    alt = np.array([79, 81, 90, 91, 99, 101])
    np.testing.assert_array_equal(
        in_asym_unit("h8:1:40:5:10", alt, 200, False), [False, True, True, False, False, False]
    )
    np.testing.assert_array_equal(in_asym_unit("h8:1:40:5:10", alt, 200, True), [False, True, True, True, True, False])
    with pytest.raises(ParameterError, match="helix"):
        reduce("h8:1:40:5:10", views)
