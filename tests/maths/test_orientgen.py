"""What EMAN2's numbers do not tell of the orientation generators: coverage, seeds, errors, helices, icos2."""

import inspect

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.orientgens import ORIENTGENS, eman, even, opt, rand, saff, single
from mpirefine.maths.geometry.asymmetric_unit import in_asym_unit, unit_angles
from mpirefine.maths.geometry.directions import nearest_cells
from mpirefine.maths.geometry.symmetry import operations
from tests.tools import angular_distance

DELTA = 8.0


def inside(symmetry, angles, mirror):
    return in_asym_unit(symmetry, *unit_angles(symmetry, rotation_from_eman(*angles.T)), mirror)


@pytest.mark.parametrize("generator", [eman, even, saff, opt])
@pytest.mark.parametrize("symmetry", ["c1", "c3", "d2", "tet", "oct", "icos", "icos2"])
def test_every_view_has_one_of_the_list_nearby(generator, symmetry):
    angles = generator(symmetry, delta=DELTA)
    views = Rotation.random(300, random_state=4).as_matrix()
    grid = rotation_from_eman(*angles.T)
    loose = generator is saff and symmetry[:4] == "icos"  # whose spiral EMAN2 breaks
    assert (
        angular_distance(views, grid[nearest_cells(views, grid, symmetry)], symmetry).max()
        < (2 if loose else 1.6) * DELTA
    )
    assert inside(symmetry, angles[angles[:, 1] > 0], False).all()


@pytest.mark.parametrize("generator", [eman, even, saff, opt])
def test_delta_or_n(generator):
    assert len(generator("c4", n=100)) == pytest.approx(100, abs=10)
    for wrong in ({}, {"delta": 5.0, "n": 10}, {"delta": -1.0}):
        with pytest.raises(ParameterError, match="delta"):
            generator("c1", **wrong)


def test_the_equator_is_not_lost_to_rounding():
    """EMAN2's sums of single precision go beyond 90 after 13 steps of 90 / 13."""
    assert eman("c1", delta=90 / 13)[:, 1].max() == pytest.approx(90)


def test_perturbed_views_stay_near_and_are_made_by_the_seed():
    plain, moved, again, other = (
        eman("c1", delta=DELTA, **more)
        for more in ({}, {"perturb": True}, {"perturb": True}, {"perturb": True, "seed": 1})
    )
    np.testing.assert_array_equal(moved, again)
    np.testing.assert_array_equal(moved[0], plain[0])
    assert (moved[1:, :2] != plain[1:, :2]).all() and (moved[1:, :2] != other[1:, :2]).all()
    assert (moved - plain)[1:, 1].std() == pytest.approx(DELTA / 8, rel=0.15)
    sine = np.sin(np.radians(plain[1:, 1]))
    assert ((moved - plain)[1:, 0] * sine).std() == pytest.approx(DELTA / 8, rel=0.15)


def test_turns_in_the_plane():
    plain, turned = eman("d3", delta=15), eman("d3", delta=15, phitoo=100)
    np.testing.assert_array_equal(turned[::3], plain)
    np.testing.assert_array_equal(turned[:3, 2], [0, 100, 200])
    chance = eman("d3", delta=15, random_phi=True)
    np.testing.assert_array_equal(chance[:, :2], plain[:, :2])
    assert chance[:, 2].std() > 50
    assert len(eman("d3", delta=15, phitoo=360)) == len(plain)
    with pytest.raises(ParameterError, match="phitoo"):
        eman("d3", delta=15, phitoo=-5)


def test_rings_from_and_to_an_altitude():
    kept = eman("c3", delta=10, inc_mirror=True, alt_min=40, alt_max=120)
    assert set(kept[:, 1]) == set(np.arange(40, 121, 10.0))
    assert len(eman("c1", delta=10, alt_min=91)) == 0
    whole = eman("c1", delta=15)
    np.testing.assert_array_equal(eman("c1", delta=15, alt_max=60), whole[whole[:, 1] < 65])


def test_broken_symmetry_fills_the_sphere():
    unit = eman("tet", delta=15, inc_mirror=True)
    assert len(eman("tet", delta=15, breaksym=True, inc_mirror=True)) == 12 * len(unit)
    half = eman("tet", delta=15, breaksym=True)
    assert (half[:, 1] < 90.001).all() and len(half) == pytest.approx(6 * len(unit), abs=12)
    real = rotation_from_eman(*eman("d2", delta=15, breaksym_real=True).T)
    np.testing.assert_allclose(real[: len(real) // 4] @ operations("d2")[3], real[-(len(real) // 4) :], atol=1e-9)


@pytest.mark.parametrize("symmetry", ["c1", "c4", "d7", "oct", "icos2"])
def test_random_views_are_uniform_and_made_by_the_seed(symmetry):
    angles = rand(symmetry, n=3000, phitoo=True, seed=5)
    assert inside(symmetry, angles, True).all()
    np.testing.assert_array_equal(angles, rand(symmetry, n=3000, phitoo=True, seed=5))
    spread = (rotation_from_eman(*angles.T)[:, None] @ operations(symmetry))[:, :, 2].reshape(-1, 3)
    np.testing.assert_allclose((spread[:, :, None] * spread[:, None]).mean(axis=0), np.eye(3) / 3, atol=0.02)
    with pytest.raises(ParameterError, match="positive"):
        rand(symmetry, n=0)


def test_pushing_parts_the_closest_views():
    def closest(angles):
        views = rotation_from_eman(*angles.T)[:, 2]
        return np.sort((views @ views.T - 2 * np.eye(len(views))).max(axis=1))[-1]

    assert closest(opt("c1", delta=12, inc_mirror=True)) < closest(saff("c1", delta=12, inc_mirror=True)) - 1e-4
    with pytest.raises(ParameterError, match="saff"):
        opt("c1", delta=12, use="uniform")


def test_a_helix_is_seen_from_the_side():
    symmetry = "h12:1:30:4:15"
    one, both = eman(symmetry, delta=5), eman(symmetry, delta=5, inc_mirror=True)
    assert set(one[:, 1]) == {75, 80, 85, 90} and set(both[:, 1]) == {75, 80, 85, 90, 95, 100, 105}
    assert one[:, 0].max() < 360 and inside(symmetry, both, True).all()
    assert 75 <= saff(symmetry, delta=5)[:, 1].min() < 76


def test_single():
    np.testing.assert_array_equal(single("icos", az=10, alt=20, phi=30), [[10, 20, 30]])


def test_all_explain_themselves():
    for name in ORIENTGENS:
        text = inspect.getdoc(ORIENTGENS.function(name))
        assert "EMAN2's" in text and all(f"{key}" in text for key in ORIENTGENS.parameters(name)), name
