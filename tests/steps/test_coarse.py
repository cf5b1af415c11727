"""Coarse matching of seeds made from one map: when it ends, and what a merge and split does."""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.maths.fourier.filters import apply_radial
from mpirefine.maths.fourier.map_spectrum import fsc_matrix
from mpirefine.steps.shared.exchange import Exchange
from mpirefine.steps.shared.split_merge import TRIAL, Phase, choose_maps, decide_next_phase, is_settled
from mpirefine.steps.summary import Coarse, Motion, Summary
from tests.steps.small import context, simulate

FINE = Coarse()


def moved(share, likelihood=10.0, coarse=FINE):
    """An iteration after which that share of the particles had changed map."""
    return Summary(motion=Motion(share, 0.0, 0.0), likelihood=likelihood, coarse=coarse)


def history(*moves, coarse=FINE):
    goes_on = Coarse("coarse")
    return [Summary(), *(moved(share, coarse=goes_on) for share in moves[:-1]), moved(moves[-1], coarse=coarse)]


def test_particles_have_settled_when_few_move():
    assert not is_settled(history(0.4, 0.3, 0.2)) and not is_settled([Summary()])
    assert is_settled(history(0.4, 0.3, 0.02))  # few move
    assert is_settled(history(0.4, 0.2, 0.19, 0.2, 0.19)) and not is_settled(
        history(0.4, 0.2, 0.19, 0.2, 0.15)
    )  # no gain in three


def test_coarse_matching_goes_on_while_particles_are_hot_or_move():
    quiet, moving = history(0.4, 0.2, 0.01), history(0.4, 0.3, 0.2)
    assert decide_next_phase(quiet, 4, 2.0, 30) == Coarse("coarse") == decide_next_phase(moving, 4, 1.0, 30)
    assert decide_next_phase(quiet, 4, 1.0, 30) == Coarse("coarse", trial="begins")
    assert decide_next_phase(quiet, 2, 1.0, 30) == Coarse("last")  # two maps: nothing to merge
    assert decide_next_phase(quiet, 4, 1.0, 10) == Coarse("last")  # no time for a trial
    assert decide_next_phase(quiet, 4, 3.0, 5) == Coarse("last")  # the end of the run is left for finer rings


@pytest.mark.parametrize("likelihood, judgement", [(11.0, "kept"), (9.0, "undone")])
def test_a_trial_is_judged_by_the_likelihood(likelihood, judgement):
    goes_on = Coarse("coarse")
    before = history(0.4, 0.2, 0.01, coarse=Coarse("coarse", trial="begins"))
    assert Phase.of(before).begun == Phase.of(before).restorable == 4
    after = [moved(0.3, likelihood, goes_on) for _ in range(TRIAL)]
    assert decide_next_phase(before + after[:-1], 4, 1.0, 40) == goes_on
    assert decide_next_phase(before + after, 4, 1.0, 40) == Coarse(
        "coarse" if judgement == "kept" else "last", trial=judgement
    )
    undone = [*before, *after[:-1], replace(after[-1], coarse=Coarse("last", trial="undone"))]
    assert (Phase.of(undone).begun, Phase.of(undone).restorable) == (None, 4)
    judged = before + after[:-1] + [replace(after[-1], coarse=Coarse("coarse", trial="kept"))]
    assert Phase.of(judged) == Phase((), None, 1, None)  # particles settle again before the next trial
    assert decide_next_phase(judged + history(0.4, 0.01)[1:], 4, 1.0, 40).trial == "begins"
    assert decide_next_phase(judged + history(0.4, 0.01)[1:], 4, 1.0, 20).trial == "none"


@pytest.mark.ranks(1, 2)
def test_the_maps_most_alike_become_one_and_the_largest_becomes_two(team):
    truth, made = simulate(maps=3)
    ctx, state = context(team, [truth[0], truth[0], truth[1], truth[2]], made)
    ctx = replace(ctx, limits=replace(ctx.limits, first=5))
    state = compared(replace(state, summary=Summary(soft=(0.1, 0.2, 0.3, 0.4))))
    freed, split = team.from_root(choose_maps, state, range(4), 5)
    assert (freed, split) == (0, 3)
    if team.is_root:  # what lies beyond the rings in use says nothing of them
        fine = np.random.default_rng(1).standard_normal(state.volumes[1].shape)
        fine = apply_radial(fine, lambda r: 40.0 * (r > 7))
        other = replace(state, volumes=np.stack([state.volumes[0], state.volumes[1] + fine, *state.volumes[2:]]))
        assert choose_maps(compared(other), range(4), 5) == (0, 3)
    trial = replace(state, history=(Summary(coarse=Coarse("coarse", "begins", freed, split)),))
    exchanged = Exchange().run(trial, ctx)
    if team.is_root:
        volumes = exchanged.volumes
        np.testing.assert_array_equal(volumes[1:3], state.volumes[1:3])
        np.testing.assert_allclose((volumes[0] + volumes[3]) / 2, state.volumes[3] * ctx.mask_of(0), atol=1e-5)
        assert np.abs(volumes[0] - volumes[3]).std() > 0.1 * state.volumes[3].std()
        np.testing.assert_array_equal(exchanged.before_trial, state.volumes)
    undone = Exchange().run(replace(exchanged, history=(Summary(coarse=Coarse("last", "undone")),)), ctx)
    kept = Exchange().run(replace(exchanged, history=(Summary(coarse=Coarse("coarse", "kept")),)), ctx)
    assert undone.before_trial is None and kept.before_trial is None
    if team.is_root:
        np.testing.assert_array_equal(undone.volumes, state.volumes)
        np.testing.assert_array_equal(kept.volumes, exchanged.volumes)
    assert Exchange().run(replace(state, history=(Summary(coarse=Coarse("coarse")),)), ctx).volumes is state.volumes


def compared(state):
    """With the curves by which maps are compared, on rank 0."""
    if state.volumes is None:
        return state
    return replace(state, curves={"half_fsc": np.full((4, 17), 0.9), "between_fsc": fsc_matrix(state.volumes)})
