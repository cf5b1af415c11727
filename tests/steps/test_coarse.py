"""Coarse matching of seeds made from one map: when it ends, and what a merge and split does."""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.maths.fourier.filters import apply_radial
from mpirefine.steps.shared.split_merge import TRIAL, Exchange, Phase, decide, exchange, settled
from tests.steps.small import context, simulate


def history(*moves, **last):
    return (
        [{}]
        + [{"moved": moved, "likelihood": 10.0, "coarse": True} for moved in moves[:-1]]
        + [{"moved": moves[-1], "likelihood": 10.0, **last}]
    )


def test_particles_have_settled_when_few_move():
    assert not settled(history(0.4, 0.3, 0.2)) and not settled([{}])
    assert settled(history(0.4, 0.3, 0.02))  # few move
    assert settled(history(0.4, 0.2, 0.19, 0.2, 0.19)) and not settled(
        history(0.4, 0.2, 0.19, 0.2, 0.15)
    )  # no gain in three


def test_coarse_matching_goes_on_while_particles_are_hot_or_move():
    quiet, moving = history(0.4, 0.2, 0.01), history(0.4, 0.3, 0.2)
    assert decide(quiet, 4, 2.0, 30) == dict(coarse=True) == decide(moving, 4, 1.0, 30)
    assert decide(quiet, 4, 1.0, 30) == dict(coarse=True, trial=True)
    assert decide(quiet, 2, 1.0, 30) == dict(coarse=False, trial=False)  # two maps: nothing to merge
    assert decide(quiet, 4, 1.0, 10) == dict(coarse=False, trial=False)  # no time for a trial
    assert decide(quiet, 4, 3.0, 5) == dict(coarse=False)  # the end of the run is left for finer rings


@pytest.mark.parametrize("likelihood, kept", [(11.0, True), (9.0, False)])
def test_a_trial_is_judged_by_the_likelihood(likelihood, kept):
    before = history(0.4, 0.2, 0.01, coarse=True, trial=True)
    assert Phase.of(before).open == 4
    after = [{"moved": 0.3, "likelihood": likelihood, "coarse": True} for _ in range(TRIAL)]
    assert decide(before + after[:-1], 4, 1.0, 40) == dict(coarse=True)
    assert decide(before + after, 4, 1.0, 40) == dict(coarse=kept, kept=kept, back=4)
    judged = before + after[:-1] + [dict(after[-1], kept=True)]
    assert Phase.of(judged) == Phase([], None, 1)  # particles settle again before the next trial
    assert decide(judged + history(0.4, 0.01)[1:], 4, 1.0, 40)["trial"]
    assert not decide(judged + history(0.4, 0.01)[1:], 4, 1.0, 20)["trial"]


@pytest.mark.ranks(1, 2)
def test_the_maps_most_alike_become_one_and_the_largest_becomes_two(team):
    truth, made = simulate(maps=3)
    ctx, state = context(team, [truth[0], truth[0], truth[1], truth[2]], made)
    ctx.first_rings = 5
    state = replace(
        state,
        summary=dict(soft=[0.1, 0.2, 0.3, 0.4]),
        curves={"half_fsc": np.full((4, 17), 0.9)} if team.is_root else {},
    )
    found = team.from_root(exchange, state, range(4), 5)
    assert found == (0, 3)
    if team.is_root:  # what lies beyond the rings in use says nothing of them
        fine = np.random.default_rng(1).standard_normal(state.volumes[1].shape)
        fine = apply_radial(fine, lambda r: 40.0 * (r > 7))
        other = replace(state, volumes=np.stack([state.volumes[0], state.volumes[1] + fine, *state.volumes[2:]]))
        assert exchange(other, range(4), 5) == (0, 3)
    trial = replace(state, history=(dict(coarse=True, trial=True, exchange=found),))
    volumes = Exchange().run(trial, ctx).volumes
    if team.is_root:
        np.testing.assert_array_equal(volumes[1:3], state.volumes[1:3])
        np.testing.assert_allclose((volumes[0] + volumes[3]) / 2, state.volumes[3] * ctx.mask_of(0), atol=1e-5)
        assert np.abs(volumes[0] - volumes[3]).std() > 0.1 * state.volumes[3].std()
    ctx.run = Earlier()
    undone = Exchange().run(replace(state, history=(dict(coarse=False, kept=False, back=7),)), ctx).volumes
    assert undone == (7, "volumes/map") if team.is_root else undone is None
    assert Exchange().run(replace(state, history=(dict(coarse=True),)), ctx).volumes is state.volumes


class Earlier:
    def read_array(self, iteration, name):
        return iteration, name
