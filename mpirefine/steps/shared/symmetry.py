"""Before the first iteration: whether starting maps have their symmetry, about the axes that the group has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.rotations import eman_from_rotation
from mpirefine.maths.geometry.align_maps import Move
from mpirefine.maths.geometry.symmetrise import Turn, best_turn, copies_agree
from mpirefine.maths.geometry.symmetry import operations

SYMMETRIC = 0.97  # correlation with its symmetrised copy from which a map is symmetric
FORMED = 0.95  # correlation after a turn from which it is reported: no asymmetric particle reaches it about any axis
UNLIKE = 0.85  # correlation below which a map that no turn helps is reported as asymmetric; noisy maps are between
GAIN = 0.5  # share of what is missing to 1 that a turn may leave
ABOUT_Z = 0.05  # degrees of alt below which a turn is reported as one about z


@dataclass(frozen=True)
class SymmetryCheck:
    """How starting maps are looked at: lengths in Å; `turn`: maps are turned, else it is only noted, by `note`."""

    grid: Grid
    radius: float
    resolution: float
    turn: bool
    note: Callable[[str], None]

    def agreement(self, volume: np.ndarray, symmetry: str) -> float:
        """Correlation of a map (z, y, x) with its symmetrised copy."""
        return copies_agree(volume, self.grid, symmetry, self.radius, self.resolution)


def align_to_symmetry(
    maps: list[np.ndarray], names: Sequence[str], symmetries: Sequence[str], check: SymmetryCheck
) -> list[np.ndarray]:
    """On rank 0. The maps (z, y, x), turned where that brings their axes to those of their symmetry and `check`
    says so.

    Each map is judged by itself, but a turn that helps one is tried first for others of its symmetry: maps of one frame
    stay in one.
    """
    turns: dict[str, list[Move]] = {}
    out = list(maps)
    for m, (volume, name, symmetry) in enumerate(zip(maps, names, symmetries)):
        found = find_turn(volume, symmetry, check, turns.setdefault(symmetry, []))
        if found is None:
            continue
        if check.turn and makes_symmetric(found):
            out[m] = found.move(volume, order=3)
        note_symmetry(found, name, symmetry, check)
    return out


def find_turn(volume: np.ndarray, symmetry: str, check: SymmetryCheck, known: list[Move]) -> Turn | None:
    """The turn for a map that does not agree with its symmetrised copy, one of `known` or a new one; None where it
    does.

    A new turn that helps is added to `known`.
    """
    if len(operations(symmetry)) == 1 or not volume.any():
        return None
    before = check.agreement(volume, symmetry)
    if before >= SYMMETRIC:
        return None
    for move in known:
        found = Turn(before, check.agreement(move(volume, order=3), symmetry), move)
        if found.after >= SYMMETRIC:
            return found
    found = best_turn(volume, check.grid, symmetry, check.radius, check.resolution)
    known += [found.move] if makes_symmetric(found) else []
    return found


def makes_symmetric(found: Turn) -> bool:
    """Whether a turn makes a map symmetric."""
    return found.after >= FORMED and 1 - found.after <= GAIN * (1 - found.before)


def note_symmetry(found: Turn, name: str, symmetry: str, check: SymmetryCheck) -> None:
    """Say what was found of a map that disagrees with its symmetrised copy."""
    if makes_symmetric(found) and check.turn:
        check.note(
            f"{name}: turned by {describe_move(found.move, check.grid)}: it agrees with its own {symmetry} copy by "
            f"{found.after:.2f} now, before by {found.before:.2f}"
        )
    elif makes_symmetric(found):
        check.note(
            f"warning: {name} agrees with its own {symmetry} copy by only {found.before:.2f}: a turn of "
            f"{describe_move(found.move, check.grid)} brings it to {found.after:.2f}: --align-sym turns it"
        )
    elif found.before < UNLIKE:
        check.note(
            f"warning: {name} has no clear {symmetry} symmetry (agreement with its own copy {found.before:.2f}, "
            f"{found.after:.2f} at best): its symmetric average will be refined; --sym c1 lets it be what it is"
        )


def describe_move(move: Move, grid: Grid) -> str:
    """A move as EMAN2's angles, and its shift if there is one."""
    az, alt, phi = (float(angle) for angle in eman_from_rotation(move.rotation))
    if alt < ABOUT_Z:
        az, alt, phi = (az + phi + 180) % 360 - 180, 0, 0
    angles, shift = (
        ", ".join(f"{round(float(value), 1) + 0:g}" for value in values)
        for values in ((az, alt, phi), move.shift * grid.apix)
    )
    return f"EMAN az, alt, phi = {angles} degrees" + (f" and a shift of {shift} Å" if move.shift.any() else "")
