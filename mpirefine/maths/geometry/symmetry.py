"""Point groups with EMAN2's axes, and EMAN2's helices."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from mpirefine.data.rotations import about, rotation_from_eman
from mpirefine.errors import ParameterError
from mpirefine.maths.geometry.helix import Helix, held_shares, parse_helix
from mpirefine.registry import Registry, nearest

TETRAHEDRAL, OCTAHEDRAL, ICOSAHEDRAL, ICOSAHEDRAL_222, HELICAL = "tet", "oct", "icos", "icos2", "h"
PLATONIC = (TETRAHEDRAL, OCTAHEDRAL, ICOSAHEDRAL, ICOSAHEDRAL_222)
ICOS_RINGS = float(np.degrees(np.arctan2(2, 1)))
SYMMETRIES = Registry("symmetry")


@SYMMETRIES.register("c<n>")
def cyclic(n: int) -> np.ndarray:
    """An n-fold axis along z: turns by az = 360 k / n. EMAN2's c."""
    return rotation_from_eman(np.arange(n) * 360.0 / n, 0, 0)


@SYMMETRIES.register("d<n>")
def dihedral(n: int) -> np.ndarray:
    """An n-fold axis along z and n 2-fold axes across it, the first along x. EMAN2's d."""
    return rotation_from_eman(np.tile(np.arange(n) * 360.0 / n, 2), np.repeat([0.0, 180.0], n), 0)


@SYMMETRIES.register(TETRAHEDRAL)
def tetrahedral() -> np.ndarray:
    """The 12 turns of a tetrahedron with a 3-fold axis along z. EMAN2's tet."""
    alt = np.degrees(np.arccos(-1 / 3))
    return _of_angles(
        [(0, 0, phi) for phi in (0, 120, 240)] + [(az, alt, phi) for az in (0, 120, 240) for phi in (60, 180, 300)]
    )


@SYMMETRIES.register(OCTAHEDRAL)
def octahedral() -> np.ndarray:
    """The 24 turns of a cube with 4-fold axes along x, y and z. EMAN2's oct."""
    quarters = (0, 90, 180, 270)
    return _of_angles(
        [(az, alt, phi) for alt, azs in ((0, (0,)), (90, quarters), (180, (0,))) for az in azs for phi in quarters]
    )


@SYMMETRIES.register(ICOSAHEDRAL, "icos5")
def icosahedral() -> np.ndarray:
    """The 60 turns of an icosahedron with a 5-fold axis along z and a 2-fold axis along y. EMAN2's icos."""
    fifths = np.arange(5) * 72.0
    rings: list[tuple] = [
        (0.0, (0.0,), 0),
        (ICOS_RINGS, fifths, 36),
        (180 - ICOS_RINGS, fifths + 36, 0),
        (180.0, (0.0,), 0),
    ]
    return _of_angles([(az + 90, alt, start - phi - 90) for alt, azs, start in rings for az in azs for phi in fifths])


@SYMMETRIES.register(ICOSAHEDRAL_222)
def icosahedral_222() -> np.ndarray:
    """The 60 turns of an icosahedron with 2-fold axes along x, y and z, a 5-fold one in the plane of y and z. EMAN2's
    icos2.
    """
    turn = icos2_to_icos()
    return turn.T @ icosahedral() @ turn


@SYMMETRIES.register("h<nsym>:<nstart>:<daz>:<tz>:<maxtilt>:<apix>")
def helical(nsym: int, nstart: int, daz: float) -> np.ndarray:
    """A helix along z: nsym copies, nstart of them around the axis, the next nstart turned by daz degrees and shifted
    by tz pixels, or by tz Å when apix (Å per pixel) is given. EMAN2's h.

    Copies lie in both directions: az = daz s + 360 (k mod nstart) / nstart, z = tz s, s = 0, 1, -1, 2, -2, ... for
    floor(k / nstart) = 0, 1, 2, ...; views reach maxtilt degrees from the equator.
    """
    return Helix(nsym, nstart, daz, 0.0).turns()


def parse(name: str) -> tuple[str, int]:
    """Family ("c", "d", "tet", "oct", "icos", "icos2", "h") of a symmetry, and its order (copies of a helix, 1 for
    platonic groups).

    Raises ParameterError for anything else.
    """
    text = _clean(name)
    cyclic_name = re.fullmatch(r"([cd])(\d+)", text)
    if cyclic_name and int(cyclic_name[2]) > 0:
        return cyclic_name[1], int(cyclic_name[2])
    if text in PLATONIC:
        return text, 1
    coil = parse_helix(text)
    if coil is not None:
        return HELICAL, coil.nsym
    hint = nearest(text, [*PLATONIC, "c1", "d1"])
    raise ParameterError(
        f"unknown symmetry '{name}': it is c<n>, d<n>, tet, oct, icos, icos2 or h<nsym>:<nstart>:<daz>:<tz>, like "
        "c1, d7" + (f"; {hint}" if hint.startswith("did") else "")
    )


def helix(name: str) -> Helix:
    """The numbers of a helix; ParameterError where it is none."""
    coil = parse_helix(name)
    if coil is None:
        raise ParameterError(f"symmetry '{name}' is no helix")
    return coil


def operations(name: str) -> np.ndarray:
    """All operations (n, 3, 3) float64 that keep the origin, in EMAN2's order, identity first (highest axis on z; icos
    with a 5-fold on z). Of a helix these are the turns between its starts; `elements` has all its copies.

    Raises ParameterError for an unknown symmetry.
    """
    family, n = parse(name)
    if family == HELICAL:
        return cyclic(helix(name).nstart)
    return SYMMETRIES.function(family)() if family in PLATONIC else SYMMETRIES.function(f"{family}<n>")(n)


def elements(name: str, apix: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All operations (n, 3, 3) float64, and their shifts along z (n,): 0 but for a helix, see `Helix.rise`.

    Raises ParameterError for an unknown symmetry.
    """
    if parse(name)[0] == HELICAL:
        coil = helix(name)
        return coil.turns(), coil.shifts(apix)
    group = operations(name)
    return group, np.zeros(len(group))


class Copies(NamedTuple):
    """Symmetry copies of a map along one axis, as they are inserted into its transform."""

    turns: np.ndarray  # (n, 3, 3)
    shifts: np.ndarray  # (n,) along z
    shares: np.ndarray  # (n,) of each that the box holds


def copies_in_box(name: str, box: float, apix: float | None = None) -> Copies:
    """The operations of a symmetry whose copies a box holds at least in part: all but for a helix. `box` and shifts are
    in pixels of `apix` Å, or of those that the helix counts in.
    """
    turns, shifts = elements(name, apix)
    shares = held_shares(shifts, box)
    held = shares > 0
    return Copies(turns[held], shifts[held], shares[held])


def icos2_to_icos() -> np.ndarray:
    """Rotation (3, 3) from the icosahedron with 2-folds on all axes to the one with a 5-fold on z."""
    return about(2, 90.0) @ about(0, ICOS_RINGS / 2)


def _clean(name: str) -> str:
    text = str(name).strip().lower()
    return ICOSAHEDRAL if text == "icos5" else text


def _of_angles(angles: list[tuple]) -> np.ndarray:
    return rotation_from_eman(*np.array(angles, float).T)
