"""EMAN2's orientation generators: lists of views over a group's asymmetric unit, in EMAN2's order.

A generator is f(symmetry, *, parameters) -> views (n, 3): az, alt, phi in degrees. Trait: `copies`, it can give the
symmetry copies of views too (parameter `breaksym`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mpirefine.data.rotations import eman_from_rotation, rotation_from_eman
from mpirefine.errors import ParameterError
from mpirefine.maths.geometry.asymmetric_unit import (
    EDGE,
    FIRST_AZIMUTH,
    in_asym_unit,
    reduce,
    unit_angles,
    unit_limits,
)
from mpirefine.maths.geometry.even_views import altitude_rings, altitudes, lowest_altitude, on_map, views_on_ring
from mpirefine.maths.geometry.symmetry import HELICAL, ICOSAHEDRAL, ICOSAHEDRAL_222, PLATONIC, elements, parse
from mpirefine.registry import Registry, explain

ORIENTGENS = Registry("orientation generator")
PERTURBATION = 0.125  # standard deviation of the noise of perturb, in steps
SAFF_DENSITY = 3.6
PUSHES, PUSH = 100, 0.01  # of opt: how often the closest two views are pushed apart, by which share of their distance
STEP = (
    "`delta`: angle between views (degrees), or `n`: about how many views are wanted; one of the two. `inc_mirror`: "
    "also the opposite views."
)
TURNS = (
    "`phitoo`: also turn each view in the plane in steps of this many degrees. `random_phi`: start from a random "
    "in-plane angle. `seed`: of the random numbers."
)


@ORIENTGENS.register("eman", copies=True)
@explain(STEP, TURNS)
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
    """Rings of altitude `delta` apart; on each ring views delta / sin(alt) apart in azimuth. EMAN2's eman.

    `perturb`: move each view (not the one at alt 0) by normal noise: delta / 8 in alt, an eighth of its ring's step in
    az. `alt_min`, `alt_max`: limits of the altitudes (degrees). `breaksym`: the views of the unit with mirrors, then
    all their symmetry copies, without those from below (alt > 90) unless inc_mirror; `breaksym_real`: all symmetry
    copies of the views without mirrors.
    """
    rng, copied = np.random.default_rng(seed), breaksym or breaksym_real

    def count(step: float) -> int:
        views = sum(len(az) for _, _, az in altitude_rings(symmetry, step, inc_mirror, alt_min, alt_max))
        return views * len(elements(symmetry)[0]) if copied else views

    found = [np.empty((0, 2))]
    step, unit_mirror = _step(delta, n, count), (inc_mirror or breaksym) and not breaksym_real
    for alt, azimuth_step, az in altitude_rings(symmetry, step, unit_mirror, alt_min, alt_max):
        views = np.stack([az, np.full(len(az), alt)], axis=1)
        if perturb and alt > EDGE:
            views += rng.normal(size=views.shape) * [PERTURBATION * azimuth_step, PERTURBATION * step]
        found.append(views)
    turned = _turned(on_map(symmetry, np.concatenate(found)), phitoo, random_phi, rng)
    return _copies(symmetry, turned, inc_mirror or breaksym_real) if copied else turned


def _copies(symmetry: str, views: np.ndarray, below: bool) -> np.ndarray:
    """All symmetry copies (m, 3) of views (n, 3); those from below the equator only with `below`."""
    copies = (rotation_from_eman(*views.T)[None] @ elements(symmetry)[0][:, None]).reshape(-1, 3, 3)
    return np.stack(eman_from_rotation(copies if below else copies[copies[:, 2, 2] >= 0]), axis=1)


@ORIENTGENS.register("even")
@explain(STEP, TURNS)
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
    """Rings of altitude as eman's, each from azimuth 0 to below the end of the unit. EMAN2's even."""

    def views(step: float) -> np.ndarray:
        _, widest = unit_limits(symmetry, inc_mirror)
        found = []
        for alt in altitudes(symmetry, step, inc_mirror):
            sine = np.sin(np.radians(alt))
            az = np.arange(0, widest - EDGE, step / sine) if sine > EDGE else np.zeros(1)
            found.append(views_on_ring(symmetry, alt, az, inc_mirror))
        return np.concatenate(found)

    step = _step(delta, n, lambda trial: len(views(trial)))
    return _turned(on_map(symmetry, views(step)), phitoo, random_phi, np.random.default_rng(seed))


@ORIENTGENS.register("saff")
@explain(STEP, TURNS)
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
    """Saff's spiral, from the pole to the lowest view of the unit. EMAN2's saff.

    m = floor((3.6 / delta)^2 az_max (1 - cos alt_max) / 720) views, cos(alt) linear in their index, az in steps of
    delta / sin(alt) modulo az_max; for the icosahedron each view in the unit is followed by a jump of 234 degrees, as
    in EMAN2.
    """
    first = np.zeros((0 if parse(symmetry)[0] == HELICAL else 1, 3))
    step = _step(delta, n, lambda trial: len(first) + len(_spiral(symmetry, trial, inc_mirror, 0)))
    views = _spiral(
        symmetry, step, inc_mirror, FIRST_AZIMUTH if parse(symmetry)[0] in (ICOSAHEDRAL, ICOSAHEDRAL_222) else 0
    )
    return _turned(np.concatenate([first, on_map(symmetry, views)]), phitoo, random_phi, np.random.default_rng(seed))


@ORIENTGENS.register("rand")
def rand(symmetry: str, *, n: int, inc_mirror: bool = False, phitoo: bool = False, seed: int = 0) -> np.ndarray:
    """n random views, uniform on the sphere, then brought into the asymmetric unit. EMAN2's rand.

    `n`: how many; ParameterError unless positive. `inc_mirror`: has no effect, as in EMAN2: the unit is the one with
    mirrors, the whole sphere for c1. `phitoo`: random in-plane angles too. `seed`: of the random numbers.
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
@explain(STEP, TURNS)
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
    """Another generator's views over the whole sphere, the closest ones pushed apart, those in the unit kept. EMAN2's
    opt.

    100 times the closest two views are moved apart, each by 1 % of their distance. `use`: the other generator: saff,
    even, eman, or rand (with n, which is then the count on the whole sphere); ParameterError for any other.
    """
    if use == "rand":
        start = rand("c1", n=n, seed=seed)
    elif use in ("saff", "even", "eman"):
        generate = ORIENTGENS.function(use)
        step = _step(delta, n, lambda trial: len(generate(symmetry, delta=trial, inc_mirror=inc_mirror)))
        start = generate("c1", delta=step, inc_mirror=True)
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

    `az`, `alt`, `phi`: its angles (degrees).
    """
    return np.array([[az, alt, phi]])


def _step(delta: float, n: int, count: Callable[[float], int]) -> float:
    """The angle between views in degrees: `delta`, or the one for which `count` gives n, or nearly, by bisection.

    Raises ParameterError unless exactly one of the two is positive.
    """
    if (delta > 0) == (n > 0):
        raise ParameterError(
            f"an orientation generator needs delta (degrees) or n, one of them and positive: delta={delta:g}, n={n}"
        )
    if delta > 0:
        return delta
    low, high, trial = 0.0, 180.0, 180.0
    while high - low >= 1e-4:
        found = count(trial)
        if found == n:
            return trial
        if found < n:
            high = trial
        else:
            low = trial
        trial = (low + high) / 2
    return trial


def _spiral(symmetry: str, delta: float, mirror: bool, jump: float) -> np.ndarray:
    """Views (k, 2), az and alt in degrees, of `saff` after the first; az jumps by `jump` degrees after each view that
    lies in the unit.
    """
    highest, widest = unit_limits(symmetry, mirror)
    platonic = parse(symmetry)[0] in PLATONIC
    start, end = np.cos(np.radians([lowest_altitude(symmetry), highest]))
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


def _turned(views: np.ndarray, phitoo: float, random_phi: bool, rng: np.random.Generator) -> np.ndarray:
    """Each view followed by its turns in the plane by phitoo, 2 phitoo ... below 360 degrees. Raises ParameterError for
    a negative phitoo.
    """
    if phitoo < 0:
        raise ParameterError(f"phitoo={phitoo:g}: must be positive")
    turns = np.arange(0, max(360.0 - phitoo, 0.0) + EDGE, phitoo) if phitoo else np.zeros(1)
    first = rng.uniform(0, 360, (len(views), 1)) if random_phi else views[:, 2:]
    out = np.repeat(views[:, None], len(turns), axis=1)
    out[:, :, 2] = (first + turns) % 360
    return out.reshape(-1, 3)


def _pushed_apart(points: np.ndarray) -> np.ndarray:
    """Directions (n, 3) after PUSHES rounds, in each of which the closest two move apart."""
    from scipy.spatial import cKDTree

    points = points.copy()
    for _ in range(PUSHES if len(points) > 1 else 0):
        distance, neighbour = cKDTree(points).query(points, k=2)
        closest = distance[:, 1].argmin()
        both = [closest, neighbour[closest, 1]]
        apart = PUSH * (points[both[1]] - points[both[0]])
        points[both] += [-apart, apart]
        points[both] /= np.linalg.norm(points[both], axis=1, keepdims=True)
    return points
