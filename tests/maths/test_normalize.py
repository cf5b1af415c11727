"""Maps scaled by mass: what lies at or above 1 weighs what was asked for."""

import json

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.maths.image.grey_scale import by_mass
from tests.arrays import load_npz

KILODALTONS_PER_CUBIC_ANGSTROM = 0.81e-3


def blob(nx, width=4.0):
    z, y, x = np.mgrid[:nx, :nx, :nx] - nx // 2 + 0.3
    return np.exp(-(x**2 + 1.1 * y**2 + 1.3 * z**2) / (2 * width**2)).astype(np.float32)


def enclosed(volume, apix):
    return float((volume >= 1).sum() * apix**3 * KILODALTONS_PER_CUBIC_ANGSTROM)


@pytest.mark.parametrize("apix, mass", [(1.0, 0.5), (2.0, 5.0), (4.0, 5.0), (4.0, 150.0), (3.3, 40.0)])
def test_the_mass_asked_for_is_enclosed(apix, mass):
    """To one voxel, and its neighbours of nearly the same height."""
    volume = by_mass(3 * blob(24), Grid(24, apix), mass)
    voxel = apix**3 * KILODALTONS_PER_CUBIC_ANGSTROM
    assert enclosed(volume, apix) == pytest.approx(mass, abs=3 * voxel)
    assert volume.dtype == np.float32


def test_surface_of_a_gaussian_is_at_the_radius_of_the_mass():
    """A ball of the mass has a known radius; the map is 1 there."""
    z, y, x = np.mgrid[:32, :32, :32] - 16
    r, mass, apix = np.sqrt(x**2 + y**2 + z**2), 60.0, 3.0
    radius = (3 * mass / (4 * np.pi * KILODALTONS_PER_CUBIC_ANGSTROM)) ** (1 / 3) / apix
    volume = by_mass(np.exp(-(r**2) / 50), Grid(32, apix), mass)
    assert volume[16, 16, 16] == pytest.approx(np.exp(radius**2 / 50), rel=0.03)


@pytest.mark.parametrize("factor", [1e-4, 0.5, 1e5])
def test_grey_scale_before_does_not_matter(factor):
    grid = Grid(20, 2.0)
    np.testing.assert_allclose(by_mass(factor * blob(20), grid, 8.0), by_mass(blob(20), grid, 8.0), rtol=1e-5)


def test_more_mass_brightens():
    grid = Grid(20, 2.0)
    peaks = [by_mass(blob(20), grid, mass).max() for mass in (1.0, 4.0, 16.0)]
    assert peaks[0] < peaks[1] < peaks[2]


def test_masses_beyond_the_box_take_all_of_it():
    """And less than a voxel takes the highest one."""
    grid, volume = Grid(16, 2.0), blob(16)
    assert by_mass(volume, grid, 1e6).min() == 1
    assert by_mass(volume, grid, 1e-6).max() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("volume", [np.zeros((8,) * 3, np.float32), np.full((8,) * 3, -2, np.float32)])
def test_without_density_nothing_is_done(volume):
    np.testing.assert_array_equal(by_mass(volume, Grid(8, 2.0), 1.0), volume)


def test_scale_is_that_of_eman2(oracle):
    """And encloses the mass to one voxel."""
    arrays, compared = load_npz(oracle / "processors.npz"), 0
    for case in json.loads((oracle / "processors.json").read_text())["cases"]:
        if case["processor"] == "normalize.bymass":
            apix, mass, theirs = case["params"]["apix"], case["params"]["mass"], arrays[case["id"]]
            ours = by_mass(arrays["in_" + case["input"]], Grid(len(theirs), apix), mass)
            np.testing.assert_allclose(ours, theirs, atol=1e-5 * theirs.std())
            assert 0 <= enclosed(ours, apix) - mass <= apix**3 * KILODALTONS_PER_CUBIC_ANGSTROM
            compared += 1
    assert compared == 2
