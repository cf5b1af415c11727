"""Euler angles, asymmetric units and grids of views: what the symmetry demands."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.orientgens import eman
from mpirefine.maths.geometry.asymmetric_unit import in_asym_unit, unit_limits
from mpirefine.maths.geometry.directions import domain_centre, nearest_cells, projection_directions
from mpirefine.maths.geometry.symmetry import operations, parse
from tests.tools import angular_distance

GROUPS = ["c1", "c3", "c4", "d2", "d5", "tet", "oct", "icos"]


def random_views(n, seed=7):
    return Rotation.random(n, random_state=seed).as_matrix()


@pytest.mark.parametrize(
    "angles, axis, becomes",
    [
        ((90, 0, 0), [1, 0, 0], [0, -1, 0]),
        ((0, 90, 0), [0, 1, 0], [0, 0, -1]),
        ((0, 0, 90), [0, 1, 0], [1, 0, 0]),
        ((90, 90, 0), [1, 0, 0], [0, 0, 1]),
    ],
)
def test_angles_turn_the_axes(angles, axis, becomes):
    np.testing.assert_allclose(rotation_from_eman(*angles) @ axis, becomes, atol=1e-12)


def test_angles_broadcast():
    grid = rotation_from_eman(np.array([[10.0], [20.0]]), 30.0, np.array([1.0, 2.0, 3.0]))
    assert grid.shape == (2, 3, 3, 3)
    np.testing.assert_array_equal(grid[1, 2], rotation_from_eman(20, 30, 3))


@pytest.mark.parametrize(
    "name, expected", [(" C4 ", ("c", 4)), ("d12", ("d", 12)), ("TET", ("tet", 1)), ("icos", ("icos", 1))]
)
def test_names_are_read(name, expected):
    assert parse(name) == expected


def test_an_unknown_name_gets_a_hint():
    with pytest.raises(ParameterError, match="did you mean icos"):
        parse("icosa")


@pytest.mark.parametrize(
    "call",
    [unit_limits, domain_centre, lambda name: eman(name, delta=10), lambda name: projection_directions(name, 10)],
)
def test_unknown_groups_have_no_directions(call):
    with pytest.raises(ParameterError, match="symmetry"):
        call("c0")


@pytest.mark.parametrize("name", ["c1", "c3", "d4"])
def test_straight_units_hold_their_share_of_the_half_sphere(name):
    altitude, azimuth = unit_limits(name)
    area = np.radians(azimuth) * (1 - np.cos(np.radians(altitude)))
    assert area == pytest.approx(2 * np.pi / len(operations(name)))


@pytest.mark.parametrize("name", ["tet", "oct", "icos"])
def test_curved_units_hold_their_share_of_the_half_sphere(name):
    """Area by counting: the unit of a group with mirror planes is half of the unit without mirror views."""
    altitude, azimuth = unit_limits(name)
    az, alt = (np.arange(400) + 0.5) / 400 * azimuth, (np.arange(400) + 0.5) / 400 * altitude
    area = (
        sum(in_asym_unit(name, a, az, False).sum() * np.sin(np.radians(a)) for a in alt)
        * np.radians(azimuth / 400)
        * np.radians(altitude / 400)
    )
    assert area == pytest.approx(2 * np.pi / len(operations(name)), rel=5e-3)


@pytest.mark.parametrize("name", GROUPS)
def test_views_of_the_unit_are_all_different(name):
    views = rotation_from_eman(*eman(name, delta=9.0).T)[:, 2]
    copies = np.einsum("gxy,my->gmx", operations(name), views)
    closeness = np.einsum("nx,gmx->nmg", views, copies).max(axis=2) - 2 * np.eye(len(views))
    assert np.degrees(np.arccos(np.clip(closeness.max(), -1, 1))) > 1.5


@pytest.mark.parametrize("name, mirrored", [(n, False) for n in GROUPS] + [("d2", True), ("oct", True)])
def test_distance_does_not_see_copies_or_turns_in_the_plane(name, mirrored, rng):
    a, b = random_views(40), random_views(40, 8)
    group = operations(name)
    copies = b @ group[rng.integers(len(group), size=40)] * (np.array([1, -1, -1])[:, None] if mirrored else 1)
    turned = rotation_from_eman(0, 0, rng.uniform(0, 360, 40)) @ copies
    np.testing.assert_allclose(angular_distance(a, turned, name), angular_distance(a, b, name), atol=1e-4)
    np.testing.assert_allclose(angular_distance(b, a, name), angular_distance(a, b, name), atol=1e-4)
    assert angular_distance(b, turned, name).max() < 1e-4
    assert (angular_distance(a, b, name) <= angular_distance(a, b) + 1e-6).all()


@pytest.mark.parametrize("name", GROUPS)
def test_nearest_cell_is_the_one_of_least_distance(name):
    fine, coarse = random_views(60), projection_directions(name, 14.0, np.random.default_rng(3))
    cells = nearest_cells(fine, coarse, name)
    table = np.stack([angular_distance(fine, np.broadcast_to(one, fine.shape), name) for one in coarse], axis=1)
    np.testing.assert_allclose(table[np.arange(60), cells], table.min(axis=1), atol=1e-4)


@pytest.mark.parametrize("name", ["c5", "d3", "tet", "oct", "icos"])
def test_the_domain_is_centred_away_from_the_axes(name):
    """A centre on or near an axis or mirror would have copies close by: the domain round it would not be compact."""
    centre, group = domain_centre(name), operations(name)[1:]
    assert np.linalg.norm(centre) == pytest.approx(1)
    apart = np.degrees(np.arccos(np.abs(group @ centre @ centre).max()))
    assert apart > 0.75 * np.degrees(np.sqrt(2 * np.pi / (len(group) + 1)))


@pytest.mark.parametrize("name", ["c1", "d3", "icos"])
def test_directions_are_rotations(name, rng):
    views = projection_directions(name, 20.0, rng)
    np.testing.assert_allclose(views @ views.transpose(0, 2, 1), np.broadcast_to(np.eye(3), views.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(views), 1)
