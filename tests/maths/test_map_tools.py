"""FSC, filters, masks, masses, seeds: analytic truths and EMAN2's numbers."""
import json

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.maths.filters import lowpass_cosine, lowpass_gauss, resample
from mpirefine.maths.fsc import fsc, resolution_at
from mpirefine.maths.masks import auto3d, estimate_radius, soft_sphere
from mpirefine.maths.normalize import by_mass
from mpirefine.maths.phantom import simulate_particles, states
from mpirefine.maths.seeds import noise_seeds


def gaussian(nx, width, centre=(0.0, 0.0, 0.0)):
    z, y, x = np.meshgrid(*[np.arange(nx) - nx // 2] * 3, indexing="ij")
    return np.exp(-((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) / (2 * width ** 2)).astype(np.float32)


@pytest.fixture(scope="module")
def processors(oracle):
    """EMAN2's answer to each (processor, parameters) on an input."""
    cases = json.loads((oracle / "processors.json").read_text())["cases"]
    arrays = np.load(oracle / "processors.npz")
    return lambda name: [(c["params"], arrays["in_" + c["input"]], arrays[c["id"]]) for c in cases if c["processor"] == name and c["id"] in arrays]


@pytest.mark.parametrize("nx", [15, 16])
def test_fsc_of_a_map_with_itself_and_with_its_negative(nx, rng):
    volume = rng.standard_normal((nx,) * 3)
    np.testing.assert_allclose(fsc(volume, 3 * volume), 1, atol=1e-12)
    np.testing.assert_allclose(fsc(volume, -volume), -1, atol=1e-12)
    assert len(fsc(volume, volume)) == nx // 2 + 1
    assert not fsc(volume, np.zeros_like(volume)).any()


def test_fsc_of_a_planted_correlation(rng):
    common, a, b = (rng.standard_normal((48,) * 3) for _ in range(3))
    curve = fsc(np.sqrt(3) * common + a, np.sqrt(3) * common + b)
    np.testing.assert_allclose(curve[6:], 0.75, atol=0.05)


def test_fsc_is_that_of_eman2(oracle):
    arrays = np.load(oracle / "comparators.npz")
    for case in json.loads((oracle / "comparators.json").read_text())["volume_fsc"]:
        volumes = [arrays[name] for name in case["vols"] if name in arrays]
        if len(volumes) == 2:
            np.testing.assert_allclose(fsc(*volumes)[:-1], case["fsc"][:-1], atol=1e-4)        # the last ring has a weight of its own there


@pytest.mark.parametrize("curve, expected", [
    ([1, 1, 1, 0.5, 0, 0, 0, 0, 0], 16 / 3),
    ([1, 1, 0.7, 0.3, 0, 0, 0, 0, 0], 16 / 2.5),
    ([1, 1, 0.4, 0.9, 0, 0, 0, 0, 0], 16 / (1 + 0.5 / 0.6)),
    ([1] * 9, 2.0),
    ([1, 0.2, 0, 0, 0, 0, 0, 0, 0], 16.0),
])
def test_resolution_of_a_planted_curve(curve, expected):
    assert resolution_at(np.array(curve, float), 0.5, Grid(16, 1.0)) == pytest.approx(expected)


def test_low_pass_filters_have_their_curve(rng):
    grid = Grid(24, 2.0)
    volume = rng.standard_normal((24,) * 3).astype(np.float32)
    ratio = np.abs(np.fft.rfftn(lowpass_gauss(volume, grid, 0.1))) / np.abs(np.fft.rfftn(volume))
    frequency = np.arange(13) / 48
    np.testing.assert_allclose(ratio[0, 0], np.exp(-(frequency / 0.1) ** 2), atol=1e-4)
    cut = np.abs(np.fft.rfftn(lowpass_cosine(volume, grid, 8.0)))[0, 0] / np.abs(np.fft.rfftn(volume))[0, 0]
    np.testing.assert_allclose(cut[:7], 1, atol=1e-4)
    np.testing.assert_allclose(cut[[7, 8]], [0.75, 0.25], atol=1e-4)
    np.testing.assert_allclose(cut[9:], 0, atol=1e-4)


def test_low_pass_is_that_of_eman2(processors):
    compared = 0
    for params, source, answer in processors("filter.lowpass.gauss"):
        if source.ndim == 3 and set(params) <= {"cutoff_abs", "cutoff_freq"}:
            grid = Grid(len(source), 3.0)
            cutoff = params.get("cutoff_freq", params.get("cutoff_abs", 0) / 3.0)
            np.testing.assert_allclose(lowpass_gauss(source, grid, cutoff), answer, atol=2e-4 * answer.std())
            compared += 1
    assert compared == 2


@pytest.mark.parametrize("wanted", [Grid(32, 3.0), Grid(24, 4.0), Grid(40, 2.0), Grid(25, 3.1)])
def test_resampled_density_stays_in_place(wanted):
    """A Gaussian is itself on any grid: same height, same width in Å, same place against nx // 2."""
    source = Grid(32, 3.0)
    found = resample(gaussian(32, 8 / 3.0, (2.0, -1.0, 3.0)), source, wanted)
    expected = gaussian(wanted.nx, 8 / wanted.apix, tuple(c * 3.0 / wanted.apix for c in (2.0, -1.0, 3.0)))
    edge = slice(3, -3)
    np.testing.assert_allclose(found[edge, edge, edge], expected[edge, edge, edge], atol=0.02)


def test_soft_sphere_edges():
    line = soft_sphere(32, 8, 4, 3)[16, 16]
    np.testing.assert_allclose(line[[16, 24, 25, 26, 28, 29]], [1, 1, 0.5 + 0.5 * np.cos(np.pi / 4), 0.5, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(soft_sphere(32, 8, 4, 2)[16, 8:], line[8:])


@pytest.mark.parametrize("radius", [6, 10])
def test_radius_of_a_ball(radius, rng):
    grid = Grid(48, 2.0)
    ball = soft_sphere(48, radius, 1, 3) + 0.02 * rng.standard_normal((48,) * 3).astype(np.float32)
    assert estimate_radius(ball, grid) == pytest.approx(2.0 * radius, abs=2.0 * 4)
    assert estimate_radius(np.zeros((48,) * 3, np.float32), grid) == pytest.approx(0.47 * 96)


def test_automask_is_that_of_eman2(processors):
    compared = 0
    for params, source, answer in processors("mask.auto3d"):
        if "threshold" in params and params.get("return_mask"):
            mask = auto3d(source, params["threshold"], params.get("radius", 0), params["nshells"], params["nshellsgauss"], params.get("nmaxseed", 0))
            np.testing.assert_allclose(mask, answer, atol=2e-3, err_msg=str(params))
            compared += 1
    assert compared >= 4


def test_automask_takes_only_what_hangs_together():
    volume = gaussian(32, 3) + gaussian(32, 2, (0, 0, 11))
    mask = auto3d(volume, 0.5, 3, 0, 0, 0)
    assert mask[16, 16, 16] == 1 and mask[16, 16, 27] == 0
    assert auto3d(volume, 0.5, 3, 2, 0, 0).sum() > 2 * mask.sum()


def test_mass_is_enclosed(processors):
    grid = Grid(32, 4.0)
    volume = by_mass(7 * gaussian(32, 5), grid, 120)
    assert (volume >= 1).sum() * 4.0 ** 3 * 0.81 / 1000 == pytest.approx(120, rel=0.01)
    assert np.array_equal(by_mass(-volume, grid, 1000), -volume)
    for params, source, answer in processors("normalize.bymass"):
        ours = by_mass(source, Grid(len(source), params["apix"]), params["mass"])
        assert (ours >= 1).sum() == pytest.approx((answer >= 1).sum(), rel=0.03)
        np.testing.assert_allclose(ours / answer, np.full_like(ours, float(np.median(ours / answer))), rtol=1e-3)


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


def test_simulated_particles_have_what_was_asked_for():
    grid = Grid(24, 5.0)
    truth = states(24, 3, np.random.default_rng(1))
    assert truth[1].sum() < 0.9 * truth[0].sum() and truth[2].sum() < 0.9 * truth[0].sum()
    many = [simulate_particles(truth, grid, 300, rng=np.random.default_rng(2), snr=snr, fractions=np.array([2, 1, 1])) for snr in (1.0, 1e-9)]
    assert many[0]["images"].var() == pytest.approx(2.0, rel=0.1) and many[1]["images"].var() == pytest.approx(1.0, rel=0.02)
    assert np.bincount(many[0]["label"]) == pytest.approx([150, 75, 75], abs=25)
    mean = many[0]["rotation"].mean(axis=0)
    assert np.abs(mean).max() < 0.15
