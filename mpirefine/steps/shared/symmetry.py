"""Before the first iteration: whether starting maps have the symmetry they should have, about the right axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.rotations import eman_from_rotation
from mpirefine.maths.fourier.filters import lowpass_cosine
from mpirefine.maths.geometry.align_maps import Move
from mpirefine.maths.geometry.helical_map import agreement_with_copies
from mpirefine.maths.geometry.helix import Helix, parse_helix
from mpirefine.maths.geometry.symmetrise import Turn, best_turn, copies_agree
from mpirefine.maths.geometry.symmetry import operations

SYMMETRIC = 0.97  # correlation with its symmetrised copy from which a map is symmetric
FORMED = 0.95  # correlation that a turn must reach to be reported: no asymmetric particle does about any axis
UNLIKE = 0.85  # correlation below which a map that no turn helps is reported as asymmetric; noisy maps lie above
GAIN = 0.5  # a turn must at least halve what the correlation lacks to 1
UNLIKE_COPIES = 0.3  # correlation with copies along the helix below which a map is reported
ABOUT_Z = 0.05  # degrees of EMAN2's alt below which a turn is reported as one about z


@dataclass(frozen=True)
class SymmetryCheck:
    """How the symmetry of starting maps is checked; `radius` and `resolution` in Å.

    With `turn` maps are turned into place; else it is only said, by `note`, that this would help.
    """

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
    """On rank 0. The maps (z, y, x), with `check.turn` turned so that their axes are those of their symmetry.

    Each map is judged by itself, but a turn that helps one map is tried first on the others of its symmetry, so that
    maps in one frame stay in one frame.
    """
    turns: dict[str, list[Move]] = {}
    out = list(maps)
    for m, (volume, name, symmetry) in enumerate(zip(maps, names, symmetries)):
        coil = parse_helix(symmetry)
        if coil is not None:
            note_helix(volume, coil, name, check)
            continue
        turn = find_turn(volume, symmetry, check, turns.setdefault(symmetry, []))
        if turn is None:
            continue
        if check.turn and makes_symmetric(turn):
            out[m] = turn.move(volume, order=3)
        note_symmetry(turn, name, symmetry, check)
    return out


def note_helix(volume: np.ndarray, coil: Helix, name: str, check: SymmetryCheck) -> None:
    """Say by `check.note` how well a map agrees with its copies along the helix; a map that does not may still get
    there, or the twist and rise are wrong.
    """
    radius = min(check.radius / check.grid.apix, check.grid.nx // 2 - 1)
    low = lowpass_cosine(volume, check.grid, check.resolution)
    agreement = agreement_with_copies(low, coil.daz, coil.rise(check.grid.apix), radius)
    text = f"{name} agrees with its copies along the helix by {agreement:.2f} (what is the same all round it left out)"
    if agreement < UNLIKE_COPIES:
        text = f"warning: {text}: twist and rise may be wrong, or the map shows no units yet; see --helical-search"
    check.note(text)


def find_turn(volume: np.ndarray, symmetry: str, check: SymmetryCheck, known: list[Move]) -> Turn | None:
    """The best turn for a map (z, y, x), one of `known` or a new one; None where the map is symmetric as it is.

    A new turn that makes the map symmetric is added to `known`, in place.
    """
    if len(operations(symmetry)) == 1 or not volume.any():
        return None
    before = check.agreement(volume, symmetry)
    if before >= SYMMETRIC:
        return None
    for move in known:
        turn = Turn(before, check.agreement(move(volume, order=3), symmetry), move)
        if turn.after >= SYMMETRIC:
            return turn
    turn = best_turn(volume, check.grid, symmetry, check.radius, check.resolution)
    known += [turn.move] if makes_symmetric(turn) else []
    return turn


def makes_symmetric(turn: Turn) -> bool:
    """Whether a turn makes its map symmetric."""
    return turn.after >= FORMED and 1 - turn.after <= GAIN * (1 - turn.before)


def note_symmetry(turn: Turn, name: str, symmetry: str, check: SymmetryCheck) -> None:
    """Say by `check.note` what is wrong with a map that disagrees with its symmetrised copy."""
    if makes_symmetric(turn) and check.turn:
        check.note(
            f"{name}: turned by {describe_move(turn.move, check.grid)}: it agrees with its own {symmetry} copy by "
            f"{turn.after:.2f} now, before by {turn.before:.2f}"
        )
    elif makes_symmetric(turn):
        check.note(
            f"warning: {name} agrees with its own {symmetry} copy by only {turn.before:.2f}: a turn of "
            f"{describe_move(turn.move, check.grid)} brings it to {turn.after:.2f}: --align-sym turns it"
        )
    elif turn.before < UNLIKE:
        check.note(
            f"warning: {name} has no clear {symmetry} symmetry (agreement with its own copy {turn.before:.2f}, "
            f"{turn.after:.2f} at best): its symmetric average will be refined; --sym c1 lets it be what it is"
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
