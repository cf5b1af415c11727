import numpy as np
import pytest

from mpirefine.maths.image.phantom import states
from mpirefine.maths.likelihood.contrast import own_sign, relative_scales, signs


def said(rng, scale, factors, n=400, noise=1.0):
    """Particles of two maps, each a direction of 40 numbers, and what they say of maps times `factors` (log-likelihood
    at the only pose there is).
    """
    maps = rng.standard_normal((2, 40)) + 0.7
    label = rng.integers(0, 2, n)
    data = scale * maps[label] + noise * rng.standard_normal((n, 40))
    maps = maps * np.array(factors)[:, None]
    cross, power = data @ maps.T, np.broadcast_to((maps**2).sum(axis=1), (n, 2))
    return cross - power / 2, cross, power


@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.3, 1.0), (1.0, 2.0), (5.0, 0.2)])
def test_scales_of_maps_are_found_whatever_they_came_with(rng, factors):
    found = relative_scales(*said(rng, 0.8, factors))
    np.testing.assert_allclose(found * factors, 0.8, rtol=0.05)


def test_a_map_that_no_particle_shows_stays_weak_and_nothing_is_one(rng):
    evidence, cross, power = said(rng, 0.8, (1.0, 1.0))
    cross, evidence = cross.copy(), evidence.copy()
    cross[:, 1] = rng.standard_normal(len(cross))
    evidence[:, 1] = cross[:, 1] - power[:, 1] / 2
    found = relative_scales(evidence, cross, power)
    assert 0 < found[1] < 0.2 and np.isfinite(found).all()
    np.testing.assert_array_equal(relative_scales(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3))), np.ones(3))


def gains(rng, group, sign_g, sign_m, n=30):
    particles = np.repeat(np.arange(group), n)
    return 20.0 * np.array(sign_g)[particles][:, None] * np.array(sign_m) + 15 * rng.standard_normal(
        (len(particles), len(sign_m))
    ), particles


@pytest.mark.parametrize(
    "group, maps",
    [((1, 1), (1, 1)), ((-1, -1), (1, 1)), ((1, -1), (1, 1)), ((1, 1), (1, -1, 1)), ((1, -1), (1, 1, -1))],
)
def test_what_is_turned_is_found(rng, group, maps):
    gain, particles = gains(rng, 2, group, maps)
    found = signs(gain, particles, 2, np.array(maps))
    assert found.group.tolist() == list(group) and found.map.tolist() == list(maps)
    assert found.agree == (set(group) | set(maps) == {1})


def test_the_maps_own_look_decides_when_all_disagree(rng):
    gain, particles = gains(rng, 1, (1,), (-1, -1))
    assert signs(gain, particles, 1, np.array([1, 1])).group.tolist() == [-1]
    assert signs(gain, particles, 1, np.array([-1, -1])).map.tolist() == [-1, -1]
    assert signs(gain, particles, 1, np.array([0, 0])).group.tolist() == [1] or signs(
        gain, particles, 1, np.array([0, 0])
    ).group.tolist() == [-1]


def test_nothing_is_said_of_what_is_not_clear(rng):
    for gain in (rng.standard_normal((60, 2)), -0.1 + rng.standard_normal((60, 2)), np.full((4, 2), -50.0)):
        assert signs(gain, np.zeros(len(gain), int), 1, np.array([1, 1])).agree


def test_the_look_of_a_map(rng):
    volume = states(32, 1, rng)[0]
    assert own_sign(volume) == 1 and own_sign(7 - volume) == -1
    assert own_sign(rng.standard_normal((32, 32, 32))) == 0
