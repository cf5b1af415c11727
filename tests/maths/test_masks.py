"""Soft spheres by distance, radii of balls, floods that can be counted by hand, and EMAN2's masks."""

import json

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.maths.image.masks import auto3d, estimate_radius, soft_sphere
from tests.arrays import load_npz


def distance(nx, ndim=3):
    axes = np.meshgrid(*[np.arange(nx) - nx // 2] * ndim, indexing="ij")
    return np.sqrt(sum(a**2 for a in axes))


def flood(volume, threshold=0.5, radius=1, nshells=0, nshellsgauss=0, nmaxseed=0):
    return auto3d(volume, threshold, radius, nshells, nshellsgauss, nmaxseed)


@pytest.mark.parametrize("nx", [24, 25])
@pytest.mark.parametrize("ndim", [2, 3])
def test_sphere_is_one_inside_and_zero_outside(nx, ndim):
    mask, r = soft_sphere(nx, 7.0, 3.0, ndim), distance(nx, ndim)
    assert mask.dtype == np.float32 and mask.shape == (nx,) * ndim
    assert (mask[r <= 7] == 1).all() and not mask[r >= 10].any()
    edge = (r > 7) & (r < 10)
    assert ((mask[edge] > 0) & (mask[edge] < 1)).all()
    assert (np.diff(mask[edge][np.argsort(r[edge])]) <= 1e-6).all()


def test_edge_is_half_way_in_its_middle():
    line = soft_sphere(41, 6.0, 8.0, 1)[20:]
    np.testing.assert_allclose(line[[8, 10, 12]], [0.5 + np.sqrt(0.125), 0.5, 0.5 - np.sqrt(0.125)], atol=1e-6)
    np.testing.assert_allclose(line[6:15] + line[14:5:-1], 1, atol=1e-6)


@pytest.mark.parametrize("apix", [1.0, 3.5])
@pytest.mark.parametrize("radius", [7, 12, 16])
def test_radius_encloses_a_ball(radius, apix):
    """Not less than the ball; its blurred rim adds up to four voxels."""
    found = estimate_radius(soft_sphere(48, radius, 1, 3), Grid(48, apix)) / apix
    assert radius <= found <= radius + 4


def test_radius_does_not_see_the_scale(rng):
    ball, grid = soft_sphere(40, 9, 2, 3), Grid(40, 2.0)
    noise = 0.03 * rng.standard_normal(ball.shape)
    expected = estimate_radius(ball + noise, grid)
    assert estimate_radius(8 * (ball + noise), grid) == expected
    assert expected / 2 == pytest.approx(11, abs=4)


def test_radius_is_measured_from_the_centre_of_the_box():
    ball = (distance(48) <= 5).astype(np.float32)
    apart = np.roll(ball, 9, axis=2)
    assert estimate_radius(apart, Grid(48, 1.0)) == pytest.approx(14, abs=3)


def test_radius_has_a_floor_and_a_cap():
    dot = np.zeros((48,) * 3, np.float32)
    dot[24, 24, 24] = 1
    assert estimate_radius(dot, Grid(48, 2.0)) == pytest.approx(10, abs=6)
    full = soft_sphere(48, 23.9, 0.1, 3)
    assert estimate_radius(full, Grid(48, 2.0)) == pytest.approx(0.47 * 96)


@pytest.mark.parametrize("nshells", [0, 1, 2, 4])
def test_a_voxel_grows_by_shells_of_six_neighbours(nshells):
    dot = np.zeros((13,) * 3, np.float32)
    dot[6, 6, 6] = 1
    steps = np.abs(np.mgrid[:13, :13, :13] - 6).sum(axis=0)
    np.testing.assert_array_equal(flood(dot, nshells=nshells), steps <= nshells)


def test_growth_stops_at_the_rim():
    mask = flood(np.ones((8,) * 3, np.float32), nshells=3)
    assert mask[1:-1, 1:-1, 1:-1].all() and mask.sum() == 6**3


@pytest.mark.parametrize("step, joined", [((0, 0, 1), True), ((0, 1, 1), False), ((1, 1, 1), False)])
def test_flood_goes_over_faces(step, joined):
    volume = np.zeros((9,) * 3, np.float32)
    volume[4, 4, 4] = volume[4 + step[0], 4 + step[1], 4 + step[2]] = 1
    assert flood(volume, radius=0, nmaxseed=1).sum() == (2 if joined else 1)


def test_seeds_are_near_the_centre_or_highest():
    volume = np.zeros((15,) * 3, np.float32)
    volume[7, 7, 7:9], volume[7, 7, 12:14], volume[2, 2, 2] = 1, 2, 3
    kept = lambda **options: [bool(flood(volume, **options)[place]) for place in ((7, 7, 8), (7, 7, 12), (2, 2, 2))]
    assert kept(radius=2) == [True, False, False]
    assert kept(radius=5) == [True, True, False]
    assert kept(radius=0, nmaxseed=1) == [False, False, True]
    assert kept(radius=1, nmaxseed=3) == [True, True, True]
    assert kept(radius=0) == [False, False, False]
    assert kept(threshold=2.5, radius=5) == [False, False, False]


def test_no_seed_no_mask():
    volume = np.full((10,) * 3, 0.4, np.float32)
    assert not flood(volume, radius=4, nshells=2, nshellsgauss=2).any()


def test_highest_voxels_are_inside_whatever_the_threshold():
    """As in EMAN2: and nothing is connected with them below it."""
    volume = np.full((9,) * 3, 0.4, np.float32)
    volume[4, 4, 3:6] = 0.45, 0.49, 0.45
    mask = flood(volume, radius=0, nmaxseed=1)
    assert mask[4, 4, 4] == 1 and mask.sum() == 1


def test_flood_enters_what_is_above_the_threshold_only():
    """Seeds may be at the threshold itself; the outermost voxels are not entered."""
    ball = distance(6) <= 1
    np.testing.assert_array_equal(flood(np.full((6,) * 3, 0.5, np.float32)), ball)
    mask = flood(np.full((6,) * 3, 0.6, np.float32))
    assert mask[1:-1, 1:-1, 1:-1].all() and mask.sum() == 4**3


@pytest.mark.parametrize("nshellsgauss", [3, 6])
def test_soft_edge_grows_first(nshellsgauss):
    """Half of the shells of the edge are added before it is softened, so the flooded voxels stay well inside."""
    ball = (distance(40) <= 8).astype(np.float32)
    mask = flood(ball, nshellsgauss=nshellsgauss)
    line = mask[20, 20, 20:]
    assert line[0] == pytest.approx(1, abs=0.02) and line[8] > 0.4
    assert (np.diff(line) <= 5e-3).all() and line[-1] == 0
    assert mask.min() == 0 and mask[mask > 0].min() >= 0.002
    assert ((line > 0.05) & (line < 0.95)).sum() >= nshellsgauss // 2 + 1


def test_masked_maps_are_those_of_eman2(oracle):
    arrays, compared = load_npz(oracle / "processors.npz"), 0
    for case in json.loads((oracle / "processors.json").read_text())["cases"]:
        p = case["params"]
        if case["processor"] != "mask.auto3d" or "threshold" not in p:
            continue
        source = arrays["in_" + case["input"]]
        mask = auto3d(source, p["threshold"], p.get("radius", 0), p["nshells"], p["nshellsgauss"], p.get("nmaxseed", 0))
        expected = mask if p["return_mask"] else mask * source
        np.testing.assert_allclose(expected, arrays[case["id"]], atol=2e-3 * np.abs(source).max(), err_msg=str(p))
        compared += not p["return_mask"]
    assert compared == 2
