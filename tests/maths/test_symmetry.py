"""Point groups and directions of projection."""
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.errors import ParameterError
from mpirefine.maths.orient import angular_distance, eman_grid, nearest_cells, projection_directions
from mpirefine.maths.symmetry import operations, rotation_from_eman

ORDER = {"c1": 1, "c2": 2, "c7": 7, "d1": 2, "d2": 4, "d7": 14, "tet": 12, "oct": 24, "icos": 60}


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


@pytest.mark.parametrize("name", ["c0", "c", "d-1", "cube", "i60", "", "h3"])
def test_unknown_groups(name):
    with pytest.raises(ParameterError, match="symmetry"):
        operations(name)


def test_groups_are_those_of_eman2(oracle):
    seen = set()
    for case in json.loads((oracle / "symmetry_ops.json").read_text())["cases"]:
        try:
            group = operations(case["sym"])
        except ParameterError:
            continue
        theirs = np.array(case["matrices"])
        distance = np.abs(group[:, None] - theirs[None]).max(axis=(2, 3))
        assert distance.min(axis=1).max() < 1e-5 and distance.min(axis=0).max() < 1e-5, case["sym"]
        seen.add(case["sym"])
    assert {"c1", "d2", "tet", "oct", "icos"} <= seen


def test_directions_are_those_of_eman2(oracle):
    compared = 0
    for case in json.loads((oracle / "orientations.json").read_text())["cases"]:
        params = case["params"]
        if case["generator"] != "eman" or {**params, "delta": 0} != {"delta": 0, "inc_mirror": 0, "perturb": 0}:
            continue
        ours = eman_grid(case["sym"], params["delta"])
        assert len(ours) == case["count"], (case["sym"], params)
        if "az_alt_phi" not in case:
            continue
        theirs = np.array(case["az_alt_phi"])
        difference = rotation_from_eman(*ours.T)[:, 2] - rotation_from_eman(*theirs.T)[:, 2]
        assert np.abs(difference).max() < 2e-5, (case["sym"], params)
        compared += 1
    assert compared >= 6


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
