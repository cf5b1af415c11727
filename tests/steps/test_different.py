"""The p-value of a pair of maps: small for two states, not for one, whatever the maps were made from."""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.maths.fourier.filters import lowpass_gauss
from mpirefine.maths.image.background import backgrounds, outside_circle
from mpirefine.maths.image.phantom import simulate_particles, states
from mpirefine.maths.likelihood.held_out_test import (
    EVIDENCE_FLOOR,
    SIGNIFICANT,
    bins,
    floored,
    pair_p_value,
    power_of_test,
    ring_sets,
    strata,
    supported,
)
from mpirefine.program.reports.terminal import decide_difference, difference_table
from mpirefine.steps.likelihood.average import Average
from mpirefine.steps.likelihood.classify import Classify
from mpirefine.steps.likelihood.held_out_test import compare_maps
from mpirefine.steps.likelihood.postprocess import Postprocess
from mpirefine.steps.likelihood.project import Project
from mpirefine.steps.likelihood.reconstruct import Reconstruct
from mpirefine.steps.likelihood.simmx import Simmx
from mpirefine.steps.state import Difference
from mpirefine.steps.workspace import Workspace
from tests.steps.small import GRID, RADIUS, context, simulate


def iterate(ctx, state, times):
    """Some iterations from the given maps."""
    for number in range(1, times + 1):
        state = replace(state, iteration=number)
        with Workspace() as work:
            for step in (Project(work), Simmx(), Classify(), Average(None), Reconstruct(), Postprocess()):
                state = step.run(state, ctx)
    return state


@pytest.mark.slow
@pytest.mark.ranks(1, 3)
def test_two_states_differ(team):
    truth, made = simulate(n=360, snr=1.0)
    ctx, state = context(team, truth, made, held_out=0.2)
    (found,) = compare_maps(iterate(ctx, state, 1), ctx)
    assert (found.a, found.b, found.particles) == (0, 1, ctx.partition.n // 5 + 1) and found.p < 0.01


@pytest.mark.slow
@pytest.mark.ranks(1)
def test_one_state_does_not(team):
    """Maps that were driven apart by the noise of their own particles: particles that were not used know nothing of
    it.
    """
    found = []
    for seed in range(3):
        truth, made = simulate(n=160, snr=0.2, seed=seed, maps=1)
        rng = np.random.default_rng(seed)
        seeds = [
            truth[0] + 0.2 * lowpass_gauss(rng.standard_normal(truth[0].shape).astype(np.float32), GRID, 1 / 25)
            for _ in range(2)
        ]
        ctx, state = context(team, np.stack(seeds), dict(made, label=0 * made["label"]), held_out=0.2)
        state = iterate(ctx, state, 2)
        assert np.abs(state.volumes[0] - state.volumes[1]).std() > 0.1 * state.volumes[0].std()  # the maps do differ
        found.append(compare_maps(state, ctx)[0].p)
    assert min(found) > 0.02 and np.mean(found) > 0.25, found


@pytest.mark.slow
@pytest.mark.ranks(1, 2)
def test_two_states_that_few_particles_cannot_tell(team):
    """True states, much noise and few particles held out: the test is silent, and says that it would have been for
    states as different.
    """
    truth, made = simulate(n=450, snr=0.02, seed=1)
    ctx, state = context(team, truth, made, held_out=0.25)
    (found,) = compare_maps(iterate(ctx, state, 1), ctx)
    assert found.p > 0.05 and found.power < 0.8 and found.fewer >= 30
    assert decide_difference(found, 1).startswith(f"cannot tell from {found.particles} held-out particles (power ")


@pytest.mark.slow
@pytest.mark.ranks(1)
@pytest.mark.parametrize("kind", ["background", "gain", "defocus"])
def test_what_sets_random_halves_of_one_structure_apart_is_no_second_state(team, kind):
    """The maps are made of those halves, so that they differ by what was planted."""
    made, odd, truth = planted(kind, 400 if kind == "defocus" else 240)
    ctx, state = context(team, np.concatenate([truth, truth]), dict(made, label=0 * made["label"]), held_out=0.25)
    (found,) = compare_maps(of_halves(ctx, state, odd), ctx)
    assert found.p > SIGNIFICANT and decide_difference(found, 1) != "different states", found


def planted(kind, n):
    """Particles of one structure, normalised, of which a random half differs in the background, gain or defocus."""
    rng = np.random.default_rng(6)
    truth, odd = states(GRID.nx, 1, rng), rng.random(n) < 0.5
    made = simulate_particles(truth, GRID, n, rng=rng, snr=0.5, maxshift=2.0, bfactor=0.0)
    y, x = np.mgrid[: GRID.nx, : GRID.nx] / GRID.nx
    if kind == "background":
        made["images"][odd] += (3 + 2 * x + y).astype(np.float32)
    elif kind == "gain":
        made["images"][odd] *= 1.5
    else:
        other = simulate_particles(
            truth, GRID, n, rng=rng, snr=0.5, maxshift=2.0, bfactor=0.0, defocus=(30000.0, 45000.0)
        )
        for name in ("images", "rotation", "shift"):
            made[name][odd] = other[name][odd]
        columns = {
            name: np.where(odd, getattr(other["ctf"], name), values) for name, values in made["ctf"].columns().items()
        }
        made["ctf"] = replace(made["ctf"], **columns)
    images = made["images"]
    return dict(made, images=backgrounds(images, outside_circle(GRID.nx, RADIUS + 2)).removed(images)), odd, truth


def of_halves(ctx, state, odd):
    """Maps that are made of the particles that are odd, and of the others."""
    with Workspace() as work:
        state = Classify().run(Simmx().run(Project(work).run(state, ctx), ctx), ctx)
        own = state.orientations.model[np.maximum(state.candidates.reference, 0)] == odd[ctx.particles.table.row, None]
        weight = state.assignments.weight * own
        state = replace(
            state,
            assignments=replace(state.assignments, weight=weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-3)),
        )
        for step in (Average(None), Reconstruct(), Postprocess()):
            state = step.run(state, ctx)
    return state


@pytest.mark.slow
@pytest.mark.ranks(1, 2)
def test_held_out_particles_are_in_no_map(team):
    truth, made = simulate(n=189)
    ctx, state = context(team, truth, made, held_out=0.1)
    with Workspace() as work:
        state = Classify().run(Simmx().run(Project(work).run(state, ctx), ctx), ctx)
    held = np.concatenate(team.allgather(ctx.particles.table.row[ctx.held_out]))
    assert 8 <= len(held) <= 32 and len(set(np.diff(held))) > 3  # no pattern of rows
    copies = np.repeat(np.arange(63, dtype=np.uint64), 3)
    together, _ = context(team, truth, made, held_out=0.1)
    together.particles.table = replace(together.particles.table, own_key=copies[together.block.as_slice])
    of_three = np.concatenate(team.allgather(together.held_out)).reshape(-1, 3)
    assert of_three.any() and (of_three == of_three[:, :1]).all()
    assert (state.assignments.weight[ctx.held_out] == 0).all() and (
        state.assignments.weight[~ctx.held_out].max(axis=1, initial=0) > 0
    ).all()
    assert (state.assignments.model >= 0).all()
    none, state = context(team, truth, made, held_out=0.0)
    assert not none.held_out.any() and compare_maps(state, none) == ()
    one, _ = context(team, truth[:1], dict(made, label=0 * made["label"]), held_out=0.1)
    few, state = context(team, truth, made, held_out=0.05)
    assert not one.held_out.any() and not few.held_out.any() and compare_maps(state, few) == ()  # no test could follow


def evidence(rng, apart, state):
    """(2, p, 2): what two sets of rings say of particles of two states `apart`, in units of the noise of either set,
    seen by maps that are.
    """
    place = state[:, None] * apart / 2 + rng.standard_normal((len(state), 2))
    odds = np.cumsum(apart * place, axis=1)
    return np.stack([np.stack([one / 2, -one / 2], -1) for one in odds.T])


def test_p_value_of_particles_of_one_structure_is_uniform(rng):
    """Whatever the maps' difference."""
    for apart in (0.05, 1.0, 4.0):
        one = np.zeros(60)
        p = np.array(
            [pair_p_value(evidence(rng, apart, one), evidence(rng, apart, one), np.arange(60) % 5) for _ in range(200)]
        )
        assert all(
            abs((p <= x).mean() - x) <= 3 * np.sqrt(x * (1 - x) / len(p)) + 0.02 for x in (0.05, 0.1, 0.3, 0.5, 0.8)
        ), apart


def test_a_view_that_one_map_shows_better_is_no_second_state(rng):
    """Both sets of rings prefer one map in some views: told apart by view, the p-value is uniform; else it would be
    small.
    """
    view, found, careless = np.repeat([-1.0, 1.0], 60), [], []
    for _ in range(60):
        real, null = evidence(rng, 1.5, view * 0.7), evidence(rng, 1.5, 0 * view)
        found.append(pair_p_value(real, null, (view > 0).astype(int)))
        careless.append(pair_p_value(real, null, np.zeros(120, int)))
    assert np.mean(careless) < 0.2 and 0.35 < np.mean(found) < 0.65


def test_two_states_have_a_small_p_value(rng):
    state = np.where(np.arange(60) < 20, 1.0, -1.0)
    assert pair_p_value(evidence(rng, 3.0, state), evidence(rng, 3.0, 0 * state), np.arange(60) % 4) < 0.01
    assert np.isnan(pair_p_value(evidence(rng, 3.0, state[:3]), evidence(rng, 3.0, state[:3]), np.zeros(3, int)))
    assert pair_p_value(np.zeros((2, 20, 2)), np.zeros((2, 20, 2)), np.zeros(20, int)) == 1


def test_maps_without_a_surviving_projection_have_little_evidence():
    found = floored(np.array([[-np.inf, 3.0, -np.inf], [1.0, -50.0, 0.0]]))
    np.testing.assert_array_equal(found, [[3 - EVIDENCE_FLOOR, 3, 3 - EVIDENCE_FLOOR], [1, 1 - EVIDENCE_FLOOR, 0]])


def test_similar_views_are_together():
    views = np.array([[0, 0, 1.0], [0, 0.1, 0.995], [0, -0.1, -0.995], [1, 0, 0], [0.995, 0.1, 0]] * 6)
    found = strata(views)
    assert found[0] == found[1] == found[2] != found[3] == found[4]
    assert (strata(views[:5]) == 0).all()


def test_ring_sets_are_no_neighbours():
    first, second = ring_sets(np.arange(30))
    assert not first[0] and not second[0] and first[1] and second[5] and not (first & second).any()
    assert not (first[1:] & second[:-1]).any() and not (second[1:] & first[:-1]).any()


def test_power_is_how_often_two_states_are_found(rng):
    """Of particles with much evidence, with little, with none."""
    state, found = np.where(np.arange(80) < 30, 1.0, -1.0), []
    for apart in (3.0, 1.2, 0.0):
        drawn = [evidence(rng, apart, one) for one in (state, 0 * state) * 150]
        kind = np.arange(80) % 6
        passed = np.mean([pair_p_value(two, one, kind) < 0.05 for two, one in zip(drawn[::2], drawn[1::2])])
        told = np.mean([power_of_test(two, one, kind, 0.05, rng) for two, one in zip(drawn[:40:2], drawn[1:40:2])])
        assert told == pytest.approx(passed, abs=0.15)
        found.append(told)
    assert found[0] > 0.95 and found[2] < 0.2


def test_what_half_maps_do_not_bear_out_is_no_difference(rng):
    """Two noisy measures of a blob: it stays, the noise goes; nothing stays of noise alone."""
    blob = states(GRID.nx, 1, rng)[0]
    noise = rng.standard_normal((2, *blob.shape)).astype(np.float32) * blob.std()
    halves = blob + noise[0], blob + noise[1]
    found = supported(sum(halves) / 2, halves)
    assert (
        np.corrcoef(found.ravel(), blob.ravel())[0, 1]
        > 0.9
        > 0.85
        > np.corrcoef(sum(halves).ravel(), blob.ravel())[0, 1]
    )
    assert supported(noise.mean(axis=0), (noise[0], noise[1])).std() < 0.25 * noise.mean(axis=0).std()


def test_particles_of_similar_defocus_are_together(rng):
    defocus = rng.permutation(np.arange(100.0))
    found = bins(defocus)
    assert len(set(found)) == 12 and all(np.ptp(defocus[found == number]) <= 8 for number in range(12))
    assert (bins(np.zeros(10)) == 0).all() and len(bins(np.zeros(0))) == 0


def test_effects_of_two_kinds_of_strata_add_up(rng):
    """A preference that goes with view and defocus is seen by both sets of rings: told of both, the test sees
    nothing.
    """
    view, defocus, found, careless = np.repeat([-1.0, 1.0], 60), np.tile([-1.0, 1.0], 60), [], []
    for _ in range(60):
        real, null = evidence(rng, 1.5, (view + defocus) * 0.6), evidence(rng, 1.5, 0 * view)
        found.append(pair_p_value(real, null, np.stack([view > 0, defocus > 0]).astype(int)))
        careless.append(pair_p_value(real, null, (view > 0).astype(int)))
    assert np.mean(careless) < 0.2 and 0.35 < np.mean(found) < 0.65


def test_verdicts_in_words():
    found = [
        Difference(0, 1, 0.0005, None, 90, 5),
        Difference(0, 2, 0.4, 0.93, 80, 30),
        Difference(1, 2, 0.11, 0.6, 60, 28),
        Difference(0, 3, 0.03, 0.95, 70, 20),
        Difference(1, 3, None, None, 9, 2),
    ]
    lines = difference_table(found).splitlines()[2:]
    assert "different states" in lines[0] and "< 0.001" in lines[0]
    assert "no sign of two states: take the maps as one" in lines[1] and "93 %" in lines[1]
    assert "cannot tell from 60 held-out particles (power 60 %): raise --held-out or add particles" in lines[2]
    assert "cannot tell" in lines[3] and "too few held-out particles" in lines[4]  # 0.03: neither proven, nor nothing


def test_particles_of_one_defocus_are_one_group_in_any_order(rng):
    assert (bins(np.zeros(60)) == 0).all()
    values = np.repeat(rng.permutation(12), 10).astype(float)
    order = rng.permutation(120)
    np.testing.assert_array_equal(bins(values[order]), bins(values)[order])
    assert len(set(bins(values).tolist())) > 1
