"""Outliers and grey scales: planted ones are found, on any number of ranks, and nothing is found where nothing was
planted.
"""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.distribution import reduce
from mpirefine.steps.likelihood.classify import Classify
from mpirefine.steps.likelihood.estimates import trust
from mpirefine.steps.likelihood.estimates.noise import estimate_first_noise
from mpirefine.steps.likelihood.estimates.trust import group_centres, trust_weight, weights_by_power
from mpirefine.steps.likelihood.noise import Reestimate
from mpirefine.steps.likelihood.pilot import pilot
from mpirefine.steps.likelihood.project import Project
from mpirefine.steps.likelihood.simmx import Simmx
from mpirefine.steps.likelihood.trust import Trust
from mpirefine.steps.shared.particles import MemoryStack, OwnParticles
from mpirefine.steps.workspace import Workspace
from tests.steps.small import GRID, context, simulate


def searched(team, made, truth, **options):
    ctx, state = context(team, truth, made, **options)
    with Workspace() as work:
        state = Trust().run(Simmx().run(Project(work).run(state, ctx), ctx), ctx)
        state = Reestimate().run(Classify().run(state, ctx), ctx)
    return ctx, state


def gathered(team, ctx, values):
    return team.bcast(reduce.gather_rows(team, np.ascontiguousarray(values), ctx.partition))


@pytest.mark.ranks(1, 2, 4)
def test_hot_pixels_count_for_nothing(team):
    truth, made = simulate(n=120)
    made["images"] = made["images"].copy()
    made["images"][[7, 50], 4, 9] = 80.0
    ctx, state = searched(team, made, truth)
    trust = gathered(team, ctx, state.trust)
    assert np.flatnonzero(trust == 0).tolist() == [7, 50] and (np.delete(trust, [7, 50]) > 0.9).all()
    assert state.summary.outliers == 2 and state.summary.doubtful == 0
    weight = gathered(team, ctx, state.assignments.weight)
    assert (weight[[7, 50]] == 0).all() and np.allclose(np.delete(weight, [7, 50], 0).sum(axis=1), 1, atol=0.1)


@pytest.mark.ranks(1, 2)
def test_at_given_poses_every_particle_is_judged_by_its_own_map(team):
    truth, made = simulate(n=120, snr=4.0)
    ctx, state = context(team, truth, made, fixed_poses=True)
    mine = ctx.block.as_slice
    ctx.particles.table = replace(ctx.particles.table, rotation=made["rotation"][mine], shift=made["shift"][mine])
    with Workspace() as work:
        state = Trust().run(Simmx().run(Project(work).run(state, ctx), ctx), ctx)
    assert (gathered(team, ctx, state.trust) == 1).all()


@pytest.mark.ranks(1, 2)
def test_a_pixel_too_large_to_square_is_set_aside(team):
    truth, made = simulate(n=60)
    ctx, state = context(team, truth, made)
    made["images"][5, 3, 3] = 1e25
    ctx = replace(
        ctx,
        particles=OwnParticles(ctx.particles.table, MemoryStack(made["images"][ctx.block.as_slice]), GRID, pixels=None),
    )
    state = pilot(state, ctx)
    with Workspace() as work:
        state = Reestimate().run(
            Classify().run(Trust().run(Simmx().run(Project(work).run(state, ctx), ctx), ctx), ctx), ctx
        )
    assert np.flatnonzero(gathered(team, ctx, ctx.particles.reason)).tolist() == [5]
    assert (np.delete(gathered(team, ctx, state.trust), 5) == 1).all() and np.isfinite(state.noise.sigma2).all()


@pytest.mark.ranks(1, 3)
def test_noise_is_not_learned_from_outliers(team):
    truth, made = simulate(n=120)
    clean, state = context(team, truth, made)
    expected = estimate_first_noise(clean, state.volumes, state.trust).sigma2
    made["images"] = made["images"].copy()
    made["images"][::12] *= 30
    ctx = context(team, truth, made)[0]
    trust = weights_by_power(ctx)
    assert np.flatnonzero(gathered(team, ctx, trust) == 0).tolist() == list(range(0, 120, 12))
    np.testing.assert_allclose(estimate_first_noise(ctx, state.volumes, trust).sigma2, expected, rtol=0.25)
    assert estimate_first_noise(ctx, state.volumes, state.trust).sigma2.mean() > 10 * expected.mean()


def test_weight_falls_with_the_deviation():
    np.testing.assert_allclose(trust_weight(np.array([9.0, 0.0, -4.0, -6.0, -8.0, -1e9])), [1, 1, 1, 0.5, 0, 0])


def test_small_groups_are_compared_with_all():
    rng = np.random.default_rng(1)
    group = np.repeat([0, 1, 2], [400, 300, 5])
    likelihood = rng.normal(np.array([0.0, 100.0, 50.0])[group], 10)
    median, spread = group_centres(likelihood, group, np.ones(705, bool), 4, 3.0)
    np.testing.assert_allclose(median[:2], [0, 100], atol=2)
    np.testing.assert_allclose(spread[:2], 10, rtol=0.15)
    assert median[2] == median[3] == np.median(likelihood)
    assert (group_centres(likelihood, group, np.zeros(705, bool), 3, 3.0) == [[0] * 3, [3] * 3]).all()  # nobody known
    np.testing.assert_allclose(
        group_centres(likelihood, group, group < 2, 2, 30.0)[1], 30
    )  # never below what noise alone makes


@pytest.mark.ranks(1, 2)
def test_planted_grey_scales_are_recovered(team):
    truth, made = simulate(n=240, snr=1.0)
    clean = simulate(n=240, snr=4.0)[1]["images"] - made["images"]  # the same noise, twice the signal
    made["images"] = made["images"] + np.where(np.arange(240) % 2, 0.3, -0.3)[:, None, None].astype(np.float32) * clean
    ctx, state = searched(team, made, truth)
    grey = gathered(team, ctx, state.grey)
    assert 1.3 < grey[1::2].mean() / grey[::2].mean() < 2.0
    assert state.summary.grey_spread > 0.1 and grey.min() >= 0.5 and grey.max() <= 2.0


@pytest.mark.ranks(1, 2)
def test_grey_scales_of_equal_particles_stay_alike(team):
    truth, made = simulate(n=240, snr=0.5)
    ctx, state = searched(team, made, truth)
    assert state.summary.grey_spread < 0.1  # defocus and blurred maps leave some


@pytest.mark.ranks(1)
def test_a_particle_s_own_scale_enters_its_score(team):
    """Twice the image, twice the grey scale and four times the noise: the same likelihood."""
    truth, made = simulate(n=16)
    ctx, state = context(team, truth, made)
    made = dict(made, images=made["images"] * 2)
    twice, other = context(team, truth, made)
    other = replace(other, noise=replace(state.noise, sigma2=4 * state.noise.sigma2), grey=np.full(16, 2.0))
    with Workspace() as work:
        found = Simmx().run(Project(work).run(state, ctx), ctx).candidates
        again = Simmx().run(Project(work).run(other, twice), twice).candidates
    np.testing.assert_allclose(again.score, found.score, rtol=1e-4)
    np.testing.assert_allclose(again.match, found.match, rtol=1e-3)


@pytest.mark.ranks(1)
def test_power_of_images_is_known_by_ring(team):
    images = np.random.default_rng(0).standard_normal((3, GRID.nx, GRID.nx)).astype(np.float32)
    images[1] *= 2
    truth, made = simulate(n=3)
    ctx, _ = context(team, truth, made)
    own = OwnParticles(ctx.particles.table, MemoryStack(images), GRID, pixels=None, chunk=2)
    np.testing.assert_allclose(own.power[1, 5:].mean() / own.power[[0, 2], 5:].mean(), 4, rtol=0.2)
    direct = np.abs(np.fft.fft2(images[0])) ** 2
    assert own.power[0, 0] == pytest.approx(direct[0, 0], rel=1e-3)
    ky, kx = np.meshgrid(np.fft.fftfreq(GRID.nx) * GRID.nx, np.fft.fftfreq(GRID.nx) * GRID.nx)
    ring = np.rint(np.hypot(kx, ky)) == 6
    assert own.power[0, 6] == pytest.approx(direct[ring].mean(), rel=1e-3)


@pytest.mark.ranks(1, 2, 4)
def test_the_median_power_of_many_particles_is_that_of_a_sample(team, monkeypatch):
    """A sample drawn by the images' names: rank 0 never holds the power of all particles."""
    truth, made = simulate(n=240)
    made["images"] = made["images"].copy()
    made["images"][::12] *= 30
    ctx, _ = context(team, truth, made)
    monkeypatch.setattr(trust, "MEDIAN_SAMPLE", 80)
    rows = []
    gather = reduce.gather_rows
    monkeypatch.setattr(
        reduce, "gather_rows", lambda team, values, part: rows.append(part.n) or gather(team, values, part)
    )
    weights = gathered(team, ctx, weights_by_power(ctx))
    assert np.flatnonzero(weights == 0).tolist() == list(range(0, 240, 12))
    assert 40 < rows[0] < 120
