"""Maps brought to one frame and hand: planted moves come back, views and origins go with them, what may not move
stays.
"""

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.data.rotations import rotation_from_eman
from mpirefine.maths.eman2.projectors import standard
from mpirefine.maths.geometry.align_maps import HAND, STILL, Move, freedom, onto
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.image.phantom import random_rotations, states

GRID = Grid(32, 8.0)
MOVES = [
    Move(rotation_from_eman(20.0, 30.0, 50.0), np.array([1.0, -2.0, 1.0])),
    Move(rotation_from_eman(200.0, 120.0, 10.0), np.array([2.0, 0, -1]), True),
]


@pytest.fixture(scope="module")
def maps():
    """Two states of one molecule, which has no symmetry and is no mirror image of itself."""
    return states(GRID.nx, 2, np.random.default_rng(4))


def alike(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def turned(volume, rotation):
    """The map turned as a rotation of coordinates, as EMAN2's xform does it."""
    return Move(rotation, np.zeros(3))(volume)


def symmetric(volume, name):
    """The mean over a group."""
    return np.mean([turned(volume, operation) for operation in operations(name)], axis=0)


def left_over(planted, found):
    """Degrees and voxels by which the planted move and the one found do not cancel out; 999 for the wrong hand."""
    hands = [HAND if move.flipped else np.eye(3) for move in (planted, found)]
    # density at r of the moved-back map comes from turn @ r + shift of the map at the beginning
    turn = planted.rotation.T @ hands[0] @ found.rotation.T @ hands[1]
    shift = -planted.rotation.T @ (hands[0] @ found.rotation.T @ found.shift + planted.shift)
    if np.linalg.det(turn) < 0:
        return 999, 999
    return np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))), np.linalg.norm(shift)


def test_what_a_move_does():
    """A voxel goes where it says: r = F (Q x + shift)."""
    volume = np.zeros((32,) * 3, np.float32)
    volume[16 + 2, 16 - 4, 16 + 6] = 1  # x = (6, -4, 2)
    quarter = rotation_from_eman(90.0, 0.0, 0.0)
    for flipped in (False, True):
        move = Move(quarter, np.array([1.0, 2.0, 3.0]), flipped)
        x, y, z = (HAND if flipped else np.eye(3)) @ (quarter @ [6, -4, 2] + [1, 2, 3])
        found = np.unravel_index(move(volume).argmax(), volume.shape)
        assert found == (16 + round(z), 16 + round(y), 16 + round(x)) and move(volume).max() == pytest.approx(
            1, abs=1e-5
        )
        np.testing.assert_allclose(move.origin, (HAND if flipped else np.eye(3)) @ [1, 2, 3])
    assert STILL.still and STILL(volume) is volume and not Move(quarter, np.zeros(3)).still


@pytest.mark.parametrize("move", MOVES, ids=["turned", "mirrored"])
def test_views_and_origin_go_with_the_map(maps, rng, move):
    """Projections of the moved map at the new views are those of the old one at the old views, but for the shift of the
    origin.
    """
    rotations = random_rotations(6, rng)
    shifts = rng.uniform(-1, 1, (6, 2))
    before = standard(maps[0], rotations, shifts, 8.0)
    views = move.views(rotations)
    np.testing.assert_allclose(np.linalg.det(views), 1)
    after = standard(move(maps[0]), views, shifts - np.einsum("nij,j->ni", views, move.origin)[:, :2], 8.0)
    for a, b in zip(before, after):
        assert alike(a, b) > 0.99
    wrong = standard(move(maps[0]), rotations, shifts, 8.0)
    assert max(alike(a, b) for a, b in zip(before, wrong)) < 0.97


def test_a_turned_shifted_and_mirrored_map_comes_back(maps):
    """Onto another state of the molecule, which is why not exactly."""
    (whole, part), move = maps, MOVES[1]
    found = onto(move(part), whole, GRID, "c1", "c1")
    assert found.flipped == move.flipped
    angle, shift = left_over(move, found)
    assert angle < 5 and shift < 0.4
    assert alike(found(move(part)), part) > 0.93 > alike(move(part), part)


def test_a_small_move_is_found_from_where_it_is(maps):
    """A map that is nearly in place is refined only: no mirror image, no far pose."""
    move = Move(rotation_from_eman(8.0, 5.0, 0.0), np.array([0.6, -0.5, 0.4]))
    angle, shift = left_over(move, onto(move(maps[0]), maps[0], GRID, "c1", "c1"))
    assert angle < 3 and shift < 0.3


def test_a_map_in_place_stays(maps):
    """Two states, and noise on top: nothing is gained by moving, so nothing is interpolated."""
    noisy = maps[1] + 0.05 * np.random.default_rng(0).standard_normal(maps[1].shape)
    assert onto(noisy.astype(np.float32), maps[0], GRID, "c1", "c1") is STILL
    assert onto(np.zeros_like(maps[0]), maps[0], GRID, "c1", "c1") is STILL
    assert onto(maps[0], np.zeros_like(maps[0]), GRID, "c1", "c1") is STILL


@pytest.mark.parametrize("flipped", [False, True])
def test_a_cyclic_map_stays_on_its_axis(maps, flipped):
    """It is turned about z and moved along it only, so that its symmetry is as it was."""
    cyclic = symmetric(maps[0], "c4")
    move = Move(rotation_from_eman(33.0, 0.0, 0.0), np.array([0, 0, 3.0]), flipped)
    found = onto(move(cyclic), cyclic, GRID, "c4", "c4")
    assert found.flipped == flipped and found.shift[:2].tolist() == [0, 0]
    np.testing.assert_allclose(found.rotation[2], [0, 0, 1], atol=1e-9)
    back = found(move(cyclic))
    assert alike(back, cyclic) > 0.95
    assert alike(turned(back, rotation_from_eman(90.0, 0.0, 0.0)), back) > 0.97


def test_a_map_without_symmetry_onto_a_symmetric_one(maps):
    """Turned about z and shifted anywhere, as e2refinemulti does it where symmetries differ."""
    fixed = symmetric(maps[0], "c2")
    move = Move(rotation_from_eman(140.0, 0.0, 0.0), np.array([2.0, -1.0, 1.0]))
    found = onto(move(fixed), fixed, GRID, "c1", "c2")
    np.testing.assert_allclose(found.rotation[2], [0, 0, 1], atol=1e-9)
    assert alike(found(move(fixed)), fixed) > 0.95


@pytest.mark.parametrize(
    "symmetry, other", [("d2", "d2"), ("d2", "c1"), ("d3", "d2"), ("oct", "oct"), ("tet", "c1"), ("icos", "d2")]
)
def test_maps_with_axes_across_stay(maps, symmetry, other):
    """Any move would take them off their axes, and the next reconstruction would average over the wrong ones."""
    assert freedom(symmetry, other) == "none"
    assert onto(turned(maps[0], rotation_from_eman(40.0, 0.0, 0.0)), maps[0], GRID, symmetry, other) is STILL


@pytest.mark.parametrize(
    "symmetry, other, kind",
    [("c1", "c1", "all"), ("c1", "c4", "z"), ("c1", "d2", "z"), ("c4", "c4", "z"), ("c4", "oct", "z")],
)
def test_what_may_move(symmetry, other, kind):
    assert freedom(symmetry, other) == kind
