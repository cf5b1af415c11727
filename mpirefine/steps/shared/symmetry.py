"""Step before the first: whether starting maps have the symmetry that was asked for, about the axes that the group
has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.rotations import eman_from_rotation
from mpirefine.maths.geometry.align_maps import Move
from mpirefine.maths.geometry.symmetrise import Turn, best_turn, copies_agree
from mpirefine.maths.geometry.symmetry import operations

SYMMETRIC = 0.97  # agreement with its symmetrised copy from which a map is not looked at further
FORMED = 0.95  # ... from which a turn is told: a particle without symmetry hardly reaches it about any axis
UNLIKE = 0.85  # ... below which a map that no turn helps is told; maps with much noise are between
GAIN = 0.5  # of what is missing that a turn may leave
ABOUT_Z = 0.05  # degrees of alt below which a turn is told as one about z


def aligned(
    maps: list[np.ndarray],
    names: Sequence[str],
    symmetries: Sequence[str],
    grid: Grid,
    radius: float,
    resolution: float,
    note: Callable[[str], None],
    turn: bool,
) -> list[np.ndarray]:
    """On rank 0. The maps; with `turn` those whose axes lie elsewhere are turned, else this is told. Radius and
    resolution in Å.

    Each map is looked at by itself, but a turn that does for one is taken for others of its symmetry too: maps of one
    frame stay in one.
    """
    turns: dict[str, list[Move]] = {}
    out = []
    for volume, name, symmetry in zip(maps, names, symmetries):
        found = needed(volume, symmetry, grid, radius, resolution, turns.setdefault(symmetry, []))
        out.append(found.move(volume, order=3) if turn and found is not None and helps(found) else volume)
        if found is not None:
            told(found, name, symmetry, grid, note, turn)
    return out


def needed(
    volume: np.ndarray, symmetry: str, grid: Grid, radius: float, resolution: float, known: list[Move]
) -> Turn | None:
    """The turn of a map that does not agree with its symmetrised copy; of those that are known, to which it is added,
    or searched.
    """
    if len(operations(symmetry)) == 1 or not volume.any():
        return None
    before = copies_agree(volume, grid, symmetry, radius, resolution)
    if before >= SYMMETRIC:
        return None
    for move in known:
        found = Turn(before, copies_agree(move(volume, order=3), grid, symmetry, radius, resolution), move)
        if found.after >= SYMMETRIC:
            return found
    found = best_turn(volume, grid, symmetry, radius, resolution)
    known += [found.move] if helps(found) else []
    return found


def helps(found: Turn) -> bool:
    """Whether a turn makes a map symmetric."""
    return found.after >= FORMED and 1 - found.after <= GAIN * (1 - found.before)


def told(found: Turn, name: str, symmetry: str, grid: Grid, note: Callable[[str], None], turn: bool) -> None:
    """What the user gets to know of a map that disagrees with its symmetrised copy."""
    if helps(found) and turn:
        note(
            f"{name}: turned by {words(found.move, grid)}: it agrees with its own {symmetry} copy by "
            f"{found.after:.2f} now, before by "
            f"{found.before:.2f}"
        )
    elif helps(found):
        note(
            f"warning: {name} agrees with its own {symmetry} copy by only {found.before:.2f}: a turn of "
            f"{words(found.move, grid)} brings it to "
            f"{found.after:.2f}: --align-sym turns it"
        )
    elif found.before < UNLIKE:
        note(
            f"warning: {name} has no clear {symmetry} symmetry (agreement with its own copy {found.before:.2f}, "
            f"{found.after:.2f} at best): "
            "its symmetric average will be refined; --sym c1 lets it be what it is"
        )


def words(move: Move, grid: Grid) -> str:
    """A move as EMAN2's angles, and its shift if there is one."""
    az, alt, phi = (float(angle) for angle in eman_from_rotation(move.rotation))
    if alt < ABOUT_Z:
        az, alt, phi = (az + phi + 180) % 360 - 180, 0, 0
    angles, shift = (
        ", ".join(f"{round(float(value), 1) + 0:g}" for value in values)
        for values in ((az, alt, phi), move.shift * grid.apix)
    )
    return f"EMAN az, alt, phi = {angles} degrees" + (f" and a shift of {shift} Å" if move.shift.any() else "")
