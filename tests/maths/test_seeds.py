"""Starting maps: the map plus noise that is inside the particle, below the resolution, and cancels over the maps."""

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.maths.image.initial_maps import fragment_seeds, noise_seeds
from mpirefine.maths.image.masks import soft_sphere

GRID = Grid(36, 3.0)


@pytest.fixture
def source():
    return soft_sphere(36, 6, 4, 3)


def noise(source, n, seed=1, resolution=15.0, strength=0.5):
    return (
        np.array(
            noise_seeds(source, GRID, n, rng=np.random.default_rng(seed), resolution=resolution, strength=strength)
        )
        - source
    )


@pytest.mark.parametrize("n", [2, 5])
def test_noise_of_the_maps_cancels(source, n):
    found = noise(source, n)
    assert found.shape == (n, 36, 36, 36)
    np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-5)
    between = np.corrcoef(found.reshape(n, -1))[~np.eye(n, dtype=bool)]
    np.testing.assert_allclose(between, -1 / (n - 1), atol=0.25)


def test_one_seed_is_the_map(source):
    np.testing.assert_allclose(noise(source, 1), 0, atol=1e-6)


def test_strength_scales_the_noise(source):
    weak, strong = noise(source, 3, strength=0.2), noise(source, 3, strength=0.8)
    assert weak.std() > 0.01
    np.testing.assert_allclose(strong, 4 * weak, atol=1e-5)
    np.testing.assert_allclose(noise(source, 3, strength=0.0), 0, atol=1e-7)


def test_noise_follows_the_scale_of_the_map(source):
    np.testing.assert_allclose(noise(100 * source, 2), 100 * noise(source, 2), rtol=1e-3, atol=1e-3)


def test_outside_the_particle_is_untouched(source):
    z, y, x = np.mgrid[:36, :36, :36] - 18
    assert not noise(source, 3)[:, x**2 + y**2 + z**2 > 17.5**2].any()


@pytest.mark.parametrize("resolution", [12.0, 24.0])
def test_noise_has_no_detail_beyond_the_resolution(source, resolution):
    """The cut's edge is three shells wide, the mask spreads it by one or two more."""
    power = np.abs(np.fft.rfftn(noise(source, 2, resolution=resolution)[0])) ** 2
    shells = GRID.shells(3)
    cut = GRID.length / resolution
    assert power[shells > cut + 5].sum() < 0.01 * power.sum()
    assert power[(shells > cut - 2) & (shells <= cut)].sum() > 0.05 * power.sum()


def test_seeds_are_the_generators(source):
    np.testing.assert_array_equal(noise(source, 2, seed=4), noise(source, 2, seed=4))
    assert np.abs(noise(source, 2, seed=4) - noise(source, 2, seed=5)).max() > 0.05


def test_seeds_keep_the_type(source):
    seeds = noise_seeds(source.astype(np.float64), GRID, 2, rng=np.random.default_rng(0), resolution=15.0, strength=0.5)
    assert {seed.dtype for seed in seeds} == {np.dtype(np.float32)}


def test_fragments_lack_one_part_after_another(rng):
    """Four blobs far apart: with two seeds there are four parts, and the second seed lacks just one of them."""
    places = [(8, 8, 8), (8, 24, 24), (24, 8, 24), (24, 24, 8)]
    volume = np.zeros((32, 32, 32), np.float32)
    for z, y, x in places:
        volume[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] = 1 + 0.1 * (z == 24)
    first, second = fragment_seeds(volume, 2, threshold=0.5, rng=rng)
    np.testing.assert_array_equal(first, volume)
    gone = [second[place] == 0 for place in places]
    assert sum(gone) == 1 and second.sum() == pytest.approx(volume.sum() - 125 * volume[places[gone.index(True)]])
