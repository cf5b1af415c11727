"""A map's agreement with its own symmetrised copy, and planted turns that come back."""

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.data.rotations import rotation_from_eman, spin_from_rotation
from mpirefine.maths.geometry.align_maps import Move
from mpirefine.maths.geometry.symmetrise import best_turn, copies_agree
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.image.phantom import states
from mpirefine.steps.shared.symmetry import SymmetryCheck, align_to_symmetry

GRID = Grid(32, 8.0)
RADIUS, RESOLUTION = 110.0, 32.0


@pytest.fixture(scope="module")
def piece():
    """A molecule without symmetry, beside the box centre."""
    return Move(np.eye(3), np.array([4.0, 2.5, 2.0]))(states(GRID.nx, 1, np.random.default_rng(2))[0], order=3)


def symmetric(volume, name):
    """The mean over a group."""
    return np.mean([Move(operation, np.zeros(3))(volume, order=3) for operation in operations(name)], axis=0)


def axes_off(rotation, name):
    """Degrees by which a group's operations, turned by a rotation, miss those of the group, at most."""
    group = operations(name)
    turned = rotation @ group @ rotation.T
    cosine = (np.einsum("aij,bij->ab", turned, group) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine.max(axis=1), -1, 1))).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, planted, shift",
    [
        ("c2", (20.0, 35.0, 60.0), (0, 0, 0)),
        ("c4", (100.0, 80.0, 10.0), (1.5, -2.0, 1.0)),
        ("d3", (90.0, 0.0, 0.0), (0, 0, 0)),
        ("d2", (10.0, 50.0, 70.0), (0, 0, 0)),
        ("oct", (45.0, 0.0, 0.0), (0, 0, 0)),
        ("icos", (30.0, 20.0, 0.0), (0.0, 1.0, 1.5)),
    ],
)
def test_planted_turns_come_back(piece, name, planted, shift):
    planted = Move(rotation_from_eman(*planted), np.array(shift, float))
    volume = planted(symmetric(piece, name), order=3)
    found = best_turn(volume, GRID, name, RADIUS, RESOLUTION)
    assert found.before < 0.97 and found.after > 0.98
    assert axes_off(found.move.rotation @ planted.rotation, name) < 2
    moved = found.move(volume, order=3)
    assert copies_agree(moved, GRID, name, RADIUS, RESOLUTION) > 0.98
    assert bool(found.move.shift.any()) == any(shift)


def test_a_group_in_another_convention(piece):
    """An icosahedron with 2-fold axes on x, y and z, told to be one with a 5-fold axis on z, and the other way."""
    volume = symmetric(piece, "icos2")
    assert copies_agree(volume, GRID, "icos2", RADIUS, RESOLUTION) > 0.98
    found = best_turn(volume, GRID, "icos", RADIUS, RESOLUTION)
    turned = found.move.rotation @ operations("icos2") @ found.move.rotation.T
    assert np.einsum("aij,bij->ab", turned, operations("icos")).max(axis=1).min() > 1 + 2 * np.cos(np.radians(2)) - 1e-6


def test_the_least_turn_is_told(piece):
    """A 2-fold axis on y is a sixth of a turn's half away from the next one."""
    volume = Move(rotation_from_eman(90.0, 0.0, 0.0), np.zeros(3))(symmetric(piece, "d3"), order=3)
    found = best_turn(volume, GRID, "d3", RADIUS, RESOLUTION)
    assert spin_from_rotation(found.move.rotation)[0] == pytest.approx(30, abs=1.5)


def notes_of(maps, symmetries, turn=False):
    notes = []
    check = SymmetryCheck(GRID, RADIUS, RESOLUTION, turn, notes.append)
    out = align_to_symmetry(maps, ["a.mrc", "b.mrc"], symmetries, check)
    return notes, out


def test_symmetric_maps_and_c1_say_nothing(piece):
    noisy = symmetric(piece, "d3") + 0.02 * piece.max() * np.random.default_rng(1).standard_normal(piece.shape)
    notes, out = notes_of([noisy.astype(np.float32), piece], ("d3", "c1"))
    assert notes == [] and out[1] is piece


def test_a_map_without_symmetry_is_told(piece):
    notes, (out,) = notes_of([np.roll(piece, 5, axis=1)], ("d3",), turn=True)
    assert (
        len(notes) == 1
        and notes[0].startswith("warning: a.mrc has no clear d3 symmetry")
        and "--sym c1" in notes[0]
        and out.shape == piece.shape
    )


def test_maps_of_one_frame_are_turned_alike(piece):
    """Told without --align-sym, done with it; the second map takes the first one's turn."""
    quarter = Move(rotation_from_eman(90.0, 0.0, 0.0), np.zeros(3))
    maps = [quarter(symmetric(one, "d3"), order=3) for one in (piece, np.roll(piece, (1, -1), (0, 1)))]
    notes, out = notes_of(maps, ("d3", "d3"))
    assert (
        all(note.startswith("warning:") and "--align-sym" in note and "30, 0, 0" in note for note in notes)
        and len(notes) == 2
    )
    assert out[0] is maps[0] and out[1] is maps[1]
    notes, out = notes_of(maps, ("d3", "d3"), turn=True)
    assert not any(note.startswith("warning") for note in notes)
    assert len({note.split("EMAN")[1].split(":")[0] for note in notes}) == 1
    assert all(copies_agree(volume, GRID, "d3", RADIUS, RESOLUTION) > 0.98 for volume in out)
