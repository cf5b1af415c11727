"""Lists of views over a group's asymmetric unit by EMAN2's orientation generators: az, alt, phi in degrees, in EMAN2's
order.

Limits are met within 1e-4 degrees. EMAN2 sums its steps in single precision and so misses the equator for some delta
that divide 90 (90 / 13).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mpirefine.data.rotations import eman_from_rotation, rotation_from_eman
from mpirefine.errors import ParameterError
from mpirefine.maths.geometry.asymmetric_unit import (
    EDGE,
    FIRST_AZIMUTH,
    in_asym_unit,
    reduce,
    to_unit,
    unit_angles,
    unit_limits,
)
from mpirefine.maths.geometry.symmetry import (
    HELICAL,
    ICOSAHEDRAL,
    ICOSAHEDRAL_222,
    PLATONIC,
    TETRAHEDRAL,
    elements,
    helix,
    parse,
)
from mpirefine.registry import Registry

ORIENTGENS = Registry("orientation generator")
PERTURBATION = 0.125  # standard deviation of perturb, in steps
FEWEST = 2.8  # steps of azimuth in a ring; with fewer there are SPREAD
SPREAD = 2.1
SAFF_DENSITY = 3.6
PUSHES, PUSH = 100, 0.01  # of opt: how often the closest pair of views is parted, and by what share of its distance


@ORIENTGENS.register("eman")
def eman(
    symmetry: str,
    *,
    delta: float = 0.0,
    n: int = 0,
    inc_mirror: bool = False,
    perturb: bool = False,
    alt_min: float = 0.0,
    alt_max: float = 180.0,
    breaksym: bool = False,
    breaksym_real: bool = False,
    phitoo: float = 0.0,
    random_phi: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Rings of altitude delta apart, on each views delta / sin(alt) apart in azimuth. EMAN2's eman.

    delta: angle between views (degrees), or n: about how many views are wanted; one of the two. inc_mirror: also the
    opposite views.
    perturb: move each view (not the one at alt 0) by normal noise of delta / 8 in alt, an eighth of its ring's step in
    az.
    alt_min, alt_max: keep rings from and to these altitudes (degrees). breaksym: the views of the unit with mirrors,
    then all their symmetry copies,
    without those from below (alt > 90) unless inc_mirror; breaksym_real: all copies of the views without mirrors.
    phitoo: also turn each view in the plane in steps of this many degrees. random_phi: start from a random in-plane
    angle. seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    unit_mirror = (inc_mirror or breaksym) and not breaksym_real

    def tally(step: float) -> int:
        count = sum(len(az) for _, _, az in _rings(symmetry, step, inc_mirror, alt_min, alt_max))
        return count * len(elements(symmetry)[0]) if breaksym or breaksym_real else count

    found = []
    step = _delta(delta, n, tally)
    for alt, h, az in _rings(symmetry, step, unit_mirror, alt_min, alt_max):
        views = np.stack([az, np.full(len(az), alt)], axis=1)
        if perturb and alt > EDGE:
            views += rng.normal(size=views.shape) * [PERTURBATION * h, PERTURBATION * step]
        found.append(views)
    views = _turned(_on_map(symmetry, np.concatenate(found or [np.empty((0, 2))])), phitoo, random_phi, rng)
    if not (breaksym or breaksym_real):
        return views
    copies = (rotation_from_eman(*views.T)[None] @ elements(symmetry)[0][:, None]).reshape(-1, 3, 3)
    kept = copies if inc_mirror or breaksym_real else copies[copies[:, 2, 2] >= 0]
    return np.stack(eman_from_rotation(kept), axis=1)


@ORIENTGENS.register("even")
def even(
    symmetry: str,
    *,
    delta: float = 0.0,
    n: int = 0,
    inc_mirror: bool = False,
    phitoo: float = 0.0,
    random_phi: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Rings of altitude delta apart, on each views delta / sin(alt) apart in azimuth, from 0 to below the unit's end.
    EMAN2's even.

    delta: angle between views (degrees), or n: about how many views are wanted; one of the two. inc_mirror: also the
    opposite views.
    phitoo: also turn each view in the plane in steps of this many degrees. random_phi: start from a random in-plane
    angle. seed: of random_phi.
    """

    def views(step: float) -> np.ndarray:
        _, widest = unit_limits(symmetry, inc_mirror)
        found = []
        for alt in _altitudes(symmetry, step, inc_mirror):
            sine = np.sin(np.radians(alt))
            az = np.arange(0, widest - EDGE, step / sine) if sine > EDGE else np.zeros(1)
            found.append(_on_ring(symmetry, alt, az, inc_mirror))
        return np.concatenate(found)

    step = _delta(delta, n, lambda trial: len(views(trial)))
    return _turned(_on_map(symmetry, views(step)), phitoo, random_phi, np.random.default_rng(seed))


@ORIENTGENS.register("saff")
def saff(
    symmetry: str,
    *,
    delta: float = 0.0,
    n: int = 0,
    inc_mirror: bool = False,
    phitoo: float = 0.0,
    random_phi: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Saff's spiral, from the pole to the unit's lowest view. EMAN2's saff.

    m = floor((3.6 / delta)^2 az_max (1 - cos alt_max) / 720) views, cos(alt) linear in their index, az in steps of
    delta / sin(alt) modulo az_max;
    for the icosahedron each view in the unit is followed by a jump of 234 degrees, as in EMAN2.
    delta: angle between views (degrees), or n: about how many views are wanted; one of the two. inc_mirror: also the
    opposite views.
    phitoo: also turn each view in the plane in steps of this many degrees. random_phi: start from a random in-plane
    angle. seed: of random_phi.
    """
    first = np.zeros((0 if parse(symmetry)[0] == HELICAL else 1, 3))
    step = _delta(delta, n, lambda trial: len(first) + len(_spiral(symmetry, trial, inc_mirror, 0)))
    views = _spiral(
        symmetry, step, inc_mirror, FIRST_AZIMUTH if parse(symmetry)[0] in (ICOSAHEDRAL, ICOSAHEDRAL_222) else 0
    )
    return _turned(np.concatenate([first, _on_map(symmetry, views)]), phitoo, random_phi, np.random.default_rng(seed))


@ORIENTGENS.register("rand")
def rand(symmetry: str, *, n: int, inc_mirror: bool = False, phitoo: bool = False, seed: int = 0) -> np.ndarray:
    """n random views, uniform on the sphere, then brought into the asymmetric unit. EMAN2's rand.

    n: how many. inc_mirror: has no effect, as in EMAN2: the unit is the one with mirrors, the whole sphere for c1.
    phitoo: random in-plane angles too. seed: of the random numbers.
    """
    if n <= 0:
        raise ParameterError(f"rand:n={n}: must be positive")
    rng = np.random.default_rng(seed)
    alt, az = np.degrees(np.arccos(rng.uniform(-1, 1, n))), rng.uniform(0, 360, n)
    views = np.stack([az, alt, rng.uniform(0, 360, n) if phitoo else np.zeros(n)], axis=1)
    if parse(symmetry) == ("c", 1):
        return views
    return np.stack(eman_from_rotation(reduce(symmetry, rotation_from_eman(*views.T))), axis=1)


@ORIENTGENS.register("opt")
def opt(
    symmetry: str,
    *,
    delta: float = 0.0,
    n: int = 0,
    inc_mirror: bool = False,
    use: str = "saff",
    phitoo: float = 0.0,
    random_phi: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Another generator's views over the whole sphere, the closest pairs pushed apart, those in the asymmetric unit
    kept. EMAN2's opt.

    100 times the closest two views are parted by 1 % of their distance each way.
    delta: angle between views (degrees), or n: about how many views are wanted; one of the two. inc_mirror: also the
    opposite views.
    use: the other generator: saff, even, eman, or rand (with n, which is then the count on the whole sphere).
    phitoo: also turn each view in the plane in steps of this many degrees. random_phi: start from a random in-plane
    angle. seed: of random numbers.
    """
    if use == "rand":
        start = rand("c1", n=n, seed=seed)
    elif use in ("saff", "even", "eman"):
        step = _delta(
            delta, n, lambda trial: len(ORIENTGENS.function(use)(symmetry, delta=trial, inc_mirror=inc_mirror))
        )
        start = ORIENTGENS.function(use)("c1", delta=step, inc_mirror=True)
    else:
        raise ParameterError(f"opt:use={use}: it is saff, even, eman or rand")
    points = _pushed_apart(rotation_from_eman(*start.T)[:, 2])
    az, alt = np.degrees(np.arctan2(points[:, 0], -points[:, 1])), np.degrees(np.arccos(np.clip(points[:, 2], -1, 1)))
    inside = in_asym_unit(symmetry, *unit_angles(symmetry, rotation_from_eman(az, alt, 0)), inc_mirror)
    kept = np.stack([az, alt, np.zeros(len(az))], axis=1)[inside]
    return _turned(kept, phitoo, random_phi, np.random.default_rng(seed))


@ORIENTGENS.register("single")
def single(symmetry: str, *, az: float = 0.0, alt: float = 0.0, phi: float = 0.0) -> np.ndarray:
    """The one view given. EMAN2's single.

    az, alt, phi: its angles (degrees).
    """
    return np.array([[az, alt, phi]])


def _delta(delta: float, n: int, tally: Callable[[float], int]) -> float:
    """The angle between views: as given, or by bisection from 180 degrees the one for which `tally` counts n, or
    nearly.
    """
    if (delta > 0) == (n > 0):
        raise ParameterError(
            f"an orientation generator needs delta (degrees) or n, one of them and positive: delta={delta:g}, n={n}"
        )
    if delta > 0:
        return delta
    low, high, trial = 0.0, 180.0, 180.0
    while high - low >= 1e-4:
        count = tally(trial)
        if count == n:
            return trial
        if count < n:
            high = trial
        else:
            low = trial
        trial = (low + high) / 2
    return trial


def _lowest(symmetry: str) -> float:
    """Altitude (degrees) at which the unit begins."""
    return 90.0 - helix(symmetry).maxtilt if parse(symmetry)[0] == HELICAL else 0.0


def _altitudes(symmetry: str, delta: float, mirror: bool, alt_max: float = 180.0) -> np.ndarray:
    """Altitudes of the rings; those of a helix start at its largest tilt, and with mirrors lie on both sides of the
    equator.
    """
    helical = parse(symmetry)[0] == HELICAL
    found = np.arange(_lowest(symmetry), min(unit_limits(symmetry, mirror and not helical)[0], alt_max) + EDGE, delta)
    below = found[::-1][found[::-1] < 90.0 - EDGE]
    return np.concatenate([found, 180.0 - below]) if helical and mirror else found


def _rings(
    symmetry: str, delta: float, mirror: bool, alt_min: float, alt_max: float
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Altitude, step of azimuth and azimuths of each ring of `eman`."""
    _, widest = unit_limits(symmetry, mirror)
    for alt in _altitudes(symmetry, delta, mirror, alt_max):
        if alt < alt_min - EDGE:
            continue
        if alt < EDGE:
            yield float(alt), widest, np.zeros(1)
            continue
        h = delta / max(np.sin(np.radians(alt)), EDGE)
        h = widest / SPREAD if widest / h < FEWEST else h
        az = _azimuths(symmetry, h, widest, mirror, abs(alt - 90) < EDGE)
        yield float(alt), h, _on_ring(symmetry, alt, az, mirror)[:, 0]


def _azimuths(symmetry: str, h: float, widest: float, mirror: bool, equator: bool) -> np.ndarray:
    """Azimuths of a ring of `eman`: where the unit's end is a copy of its start it is left out, and so is what the
    equator has twice.
    """
    family, n = parse(symmetry)
    if equator and family == "d" and n % 2 and mirror:
        first = np.arange(0, widest / 4 + EDGE, h)
        return np.concatenate([first, np.arange(first[-1] + h + widest / 2, widest + EDGE, h)])
    if equator and (family == "d" and (n % 2 or mirror) or family == "c" and n % 2 and not mirror):
        return np.arange(0, widest / 2 + EDGE, h)
    closed = family in ("c", TETRAHEDRAL, HELICAL) or mirror
    return np.arange(0, (widest - h / 4 if closed else widest) + EDGE, h)


def _on_ring(symmetry: str, alt: float, az: np.ndarray, mirror: bool) -> np.ndarray:
    """Those of a ring's views that lie in the unit, (k, 2) az, alt."""
    views = np.stack([az, np.full(len(az), alt)], axis=1)
    return views[in_asym_unit(symmetry, alt, az, mirror)] if parse(symmetry)[0] in PLATONIC else views


def _spiral(symmetry: str, delta: float, mirror: bool, jump: float) -> np.ndarray:
    """(k, 2) az, alt of `saff` after the first; az jumps after each view that lies in the unit."""
    highest, widest = unit_limits(symmetry, mirror)
    platonic = parse(symmetry)[0] in PLATONIC
    start, end = np.cos(np.radians([_lowest(symmetry), highest]))
    count = int((SAFF_DENSITY / np.radians(delta)) ** 2 * (start - end) * widest / 720)
    z = start + (end - start) * np.arange(1, count) / max(count - 1, 1)
    steps, alts = delta / np.sqrt(np.maximum(1 - z * z, EDGE**2)), np.degrees(np.arccos(z))
    if not jump:
        views = np.stack([np.cumsum(steps) % widest, alts], axis=1)
        return views[in_asym_unit(symmetry, alts, views[:, 0], mirror)] if platonic else views
    found, az = [], 0.0
    for step, alt in zip(steps, alts):
        az = (az + step) % widest
        if in_asym_unit(symmetry, alt, az, mirror):
            found.append((az, alt))
            az += jump
    return np.array(found).reshape(-1, 2)


def _on_map(symmetry: str, views: np.ndarray) -> np.ndarray:
    """Views (k, 2) of the unit as az, alt, phi (k, 3) of the map."""
    full = np.concatenate([views, np.zeros((len(views), 1))], axis=1)
    if parse(symmetry)[0] == ICOSAHEDRAL_222:
        return np.stack(eman_from_rotation(rotation_from_eman(*full.T) @ to_unit(symmetry)), axis=1)
    return full + [FIRST_AZIMUTH if parse(symmetry)[0] == ICOSAHEDRAL else 0.0, 0.0, 0.0]


def _turned(views: np.ndarray, phitoo: float, random_phi: bool, rng: np.random.Generator) -> np.ndarray:
    """Each view followed by its turns in the plane by phitoo, 2 phitoo ... below 360 degrees."""
    if phitoo < 0:
        raise ParameterError(f"phitoo={phitoo:g}: must be positive")
    turns = np.arange(0, max(360.0 - phitoo, 0.0) + EDGE, phitoo) if phitoo else np.zeros(1)
    first = rng.uniform(0, 360, (len(views), 1)) if random_phi else views[:, 2:]
    out = np.repeat(views[:, None], len(turns), axis=1)
    out[:, :, 2] = (first + turns) % 360
    return out.reshape(-1, 3)


def _pushed_apart(points: np.ndarray) -> np.ndarray:
    """Directions (n, 3) after PUSHES rounds in which the closest pair moves apart."""
    from scipy.spatial import cKDTree

    points = points.copy()
    for _ in range(PUSHES if len(points) > 1 else 0):
        distance, neighbour = cKDTree(points).query(points, k=2)
        closest = distance[:, 1].argmin()
        pair = [closest, neighbour[closest, 1]]
        apart = PUSH * (points[pair[1]] - points[pair[0]])
        points[pair] += [-apart, apart]
        points[pair] /= np.linalg.norm(points[pair], axis=1, keepdims=True)
    return points
