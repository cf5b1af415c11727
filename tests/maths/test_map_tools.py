"""Low-pass filters against EMAN2, the radius of a ball, the strength of seeds."""

import json

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.maths.fourier.filters import lowpass_gauss
from mpirefine.maths.image.initial_maps import noise_seeds
from mpirefine.maths.image.masks import estimate_radius, soft_sphere
from tests.arrays import load_npz


def gaussian(nx, width, centre=(0.0, 0.0, 0.0)):
    z, y, x = np.meshgrid(*[np.arange(nx) - nx // 2] * 3, indexing="ij")
    return np.exp(-((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) / (2 * width**2)).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def processors(oracle):
    """EMAN2's answer to each (processor, parameters) on an input."""
    cases = json.loads((oracle / "processors.json").read_text())["cases"]
    arrays = load_npz(oracle / "processors.npz")
    return lambda name: [
        (c["params"], arrays["in_" + c["input"]], arrays[c["id"]])
        for c in cases
        if c["processor"] == name and c["id"] in arrays
    ]


def test_low_pass_is_that_of_eman2(processors):
    compared = 0
    for params, source, answer in processors("filter.lowpass.gauss"):
        if source.ndim == 3 and set(params) <= {"cutoff_abs", "cutoff_freq"}:
            grid = Grid(len(source), 3.0)
            cutoff = params.get("cutoff_freq", params.get("cutoff_abs", 0) / 3.0)
            np.testing.assert_allclose(lowpass_gauss(source, grid, cutoff), answer, atol=2e-4 * answer.std())
            compared += 1
    assert compared == 2


@pytest.mark.parametrize("radius", [6, 10])
def test_radius_of_a_ball(radius, rng):
    grid = Grid(48, 2.0)
    ball = soft_sphere(48, radius, 1, 3) + 0.02 * rng.standard_normal((48,) * 3).astype(np.float32)
    assert estimate_radius(ball, grid) == pytest.approx(2.0 * radius, abs=2.0 * 4)
    assert estimate_radius(ball + 50, grid) == estimate_radius(ball, grid)
    assert estimate_radius(np.zeros((48,) * 3, np.float32), grid) == pytest.approx(0.47 * 96)


def test_seeds_differ_by_noise_and_their_mean_is_the_map(rng):
    grid = Grid(32, 4.0)
    source = gaussian(32, 5)
    seeds = noise_seeds(source, grid, 4, rng=rng, resolution=20.0, strength=0.5)
    np.testing.assert_allclose(np.mean(seeds, axis=0), source, atol=1e-5)
    noise = np.array(seeds) - source
    inside = soft_sphere(32, estimate_radius(source, grid) / 4.0, 4, 3) > 0.5
    assert noise[:, inside].std() == pytest.approx(0.5 * source[inside].std(), rel=1e-3)
    assert not noise[:, 0, 0, 0].any()
    again = noise_seeds(source, grid, 4, rng=np.random.default_rng(1), resolution=20.0, strength=0.5)
    assert np.abs(again[0] - seeds[0]).max() > 0.01
