"""Point groups and directions of projection."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.errors import ParameterError
from mpirefine.maths.geometry.directions import nearest_cells, projection_directions
from mpirefine.maths.geometry.symmetry import SYMMETRIES, operations
from tests.tools import angular_distance

ORDER = {
    "c1": 1,
    "c2": 2,
    "c7": 7,
    "d1": 2,
    "d2": 4,
    "d7": 14,
    "tet": 12,
    "oct": 24,
    "icos": 60,
    "icos5": 60,
    "icos2": 60,
}


@pytest.mark.parametrize("name", ORDER)
def test_a_group_closes(name):
    group = operations(name)
    assert len(group) == ORDER[name]
    np.testing.assert_allclose(group[0], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(group @ group.transpose(0, 2, 1), np.broadcast_to(np.eye(3), group.shape), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(group), 1, atol=1e-9)
    products = np.einsum("aij,bjk->abik", group, group).reshape(-1, 9)
    nearest = np.abs(products[:, None] - group.reshape(1, -1, 9)).max(axis=2)
    assert (nearest.min(axis=1) < 1e-6).all()
    assert (np.sort(nearest.reshape(len(group), len(group), -1).argmin(axis=2), axis=1) == np.arange(len(group))).all()


@pytest.mark.parametrize(
    "name",
    ["c0", "c", "d-1", "cube", "i60", "", "h3", "h0:1:2:3", "h3:0:2:3", "h3:1:x:3", "h3:1:2", "h3:1:2:3:4:5:6"]
    + ["h3:1:2:3:100", "h3:1:2:3:4:-1", "h3:1:2:tz=3:tz=4", "h3:1:2:rise=3"],
)
def test_unknown_groups(name):
    with pytest.raises(ParameterError, match="symmetry"):
        operations(name)


def test_icos2_is_icos_turned():
    """Its 2-fold axes are x, y and z."""
    group = operations("icos2")
    for axis in range(3):
        half_turn = -np.eye(3)
        half_turn[axis, axis] = 1
        assert np.abs(group - half_turn).max(axis=(1, 2)).min() < 1e-9


def test_symmetries_are_listed():
    assert "c<n>  " in SYMMETRIES.describe() and "helix" in SYMMETRIES.describe()


@pytest.mark.parametrize("name", ["c1", "c4", "d3", "tet", "oct", "icos"])
@pytest.mark.parametrize("turned", [False, True])
def test_every_view_has_a_direction_nearby(name, turned, rng):
    delta = 8.0
    grid = projection_directions(name, delta, rng if turned else None)
    views = Rotation.random(400, random_state=4).as_matrix()
    cell = nearest_cells(views, grid, name)
    assert angular_distance(views, grid[cell], name).max() < 0.85 * delta
    area = 2 * np.pi / len(operations(name)) / np.radians(delta) ** 2
    assert len(grid) < 1.2 * area + 12


def test_the_grid_is_turned_by_the_seed_alone():
    grids = [projection_directions("c1", 20, np.random.default_rng(seed)) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(grids[0], grids[1])
    assert angular_distance(grids[0], grids[2]).max() > 1


def test_distance_counts_mirrors_and_copies_as_the_same():
    view = rotation_from_eman(10, 30, 0)[None]
    assert angular_distance(view, rotation_from_eman(190, 150, 0)[None])[0] < 1e-3
    assert angular_distance(view, rotation_from_eman(100, 30, 77)[None], "c4")[0] < 1e-3
    assert angular_distance(view, rotation_from_eman(10, 42, 200)[None])[0] == pytest.approx(12, abs=1e-3)
