"""Empty maps and duplicates: what becomes of them, on any number of ranks."""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.program.reports.terminal import iteration_table
from mpirefine.steps.likelihood.project import Project
from mpirefine.steps.likelihood.search.candidates import match_views
from mpirefine.steps.likelihood.search.references import grid_of_directions
from mpirefine.steps.shared.empty_classes import SAME_MARGIN, EmptyClasses
from mpirefine.steps.shared.likeness import fsc_excess
from mpirefine.steps.shared.random_subsets import with_drawn_maps
from mpirefine.steps.summary import Summary
from mpirefine.steps.workspace import Workspace
from tests.steps.small import GRID, context, simulate


def guarded(team, soft=(0.98, 0.02), iteration=2, **options):
    truth, made = simulate()
    ctx, state = context(team, truth, made, **options)
    shells = GRID.nx // 2 + 1
    curves = {"half_fsc": np.full((2, shells), 0.9)} if team.is_root else {}
    before = state.volumes * 0.5 if team.is_root else None
    state = replace(state, iteration=iteration, previous=before, curves=curves, summary=Summary(soft=tuple(soft)))
    return ctx, state, EmptyClasses().run(state, ctx)


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("action", ["reseed", "freeze", "drop"])
def test_an_empty_map_is_dealt_with(team, action):
    _, state, after = guarded(team, on_empty=action)
    again = guarded(team, on_empty=action)[2]
    assert after.summary.empty == ((1, action),)
    assert after.summary.dropped == ((1,) if action == "drop" else ())
    if team.is_root:
        np.testing.assert_array_equal(after.volumes[0], state.volumes[0])
        if action == "reseed":
            inside = state.volumes[0] != 0
            likeness = np.corrcoef(after.volumes[1][inside], state.volumes[0][inside])[0, 1]
            assert 0.7 < likeness < 0.99
            np.testing.assert_array_equal(again.volumes[1], after.volumes[1])  # seeded
        else:
            np.testing.assert_array_equal(after.volumes[1], state.previous[1])


@pytest.mark.ranks(1, 2)
def test_with_hard_scores_the_largest_map_becomes_a_seed_too(team):
    """Both are as far from the map that they are made from, in opposite directions."""
    truth, made = simulate()
    ctx, state = context(team, truth, made, on_empty="reseed")
    curves = {"half_fsc": np.full((2, GRID.nx // 2 + 1), 0.9)} if team.is_root else {}
    summary = Summary(soft=(0.02, 0.98), posteriors=False)
    before = state.volumes if team.is_root else None
    state = replace(state, iteration=2, previous=before, curves=curves, summary=summary)
    after = EmptyClasses().run(state, ctx)
    assert after.summary.empty == ((0, "reseed"),)
    if team.is_root:
        inside = ctx.mask_of(1) > 0.99
        off = [after.volumes[m][inside] - state.volumes[1][inside] for m in (0, 1)]
        np.testing.assert_allclose(off[0], -off[1], atol=1e-4 * np.abs(off[0]).max())
        assert 0.7 < np.corrcoef(after.volumes[0][inside], state.volumes[1][inside])[0, 1] < 0.99


@pytest.mark.ranks(1, 2)
def test_shares_above_the_floor_are_left_alone(team):
    _, state, after = guarded(team, soft=(0.97, 0.03))
    assert after.summary.empty == ()
    if team.is_root:
        np.testing.assert_array_equal(after.volumes, state.volumes)


@pytest.mark.ranks(1, 2)
def test_one_map_is_always_left(team):
    assert guarded(team, soft=(0.4, 0.6), on_empty="drop", min_share=1.5)[2].summary.dropped == (0,)


@pytest.mark.ranks(1, 2)
def test_the_last_iteration_makes_no_seeds(team):
    assert guarded(team, iteration=8)[2].summary.empty == ((1, "freeze"),)


@pytest.mark.ranks(1, 2)
def test_a_dropped_map_is_projected_no_more(team):
    ctx, state, _ = guarded(team)
    state = replace(state, history=(Summary(dropped=(1,)),))
    with Workspace() as work:
        state = Project(work).run(state, ctx)
        assert set(state.orientations.model.tolist()) == {0}
        found = match_views(state, ctx, np.arange(len(ctx.particles)), ctx.particles.images)
    assert np.isneginf(found.model_evidence[:, 1]).all() and np.isfinite(found.model_evidence[:, 0]).all()


@pytest.mark.ranks(1)
def test_duplicates_are_named(team):
    rng, shells = np.random.default_rng(1), 17
    halves = np.full(shells, 0.8)
    expected = 2 * 0.8 / 1.8
    assert fsc_excess(np.full(shells, expected) + 0.01 * rng.standard_normal(shells), halves, halves, 12) > -SAME_MARGIN
    assert fsc_excess(np.full(shells, expected - 0.1), halves, halves, 12) == pytest.approx(-0.1)
    summary = Summary(
        soft=(0.5, 0.5),
        hard=(0.5, 0.5),
        particles=10,
        resolution=(9.0, 9.0),
        coverage=(1.0, 0.5),
        matched_to=(20.0, 20.0),
        projections_per_particle=1.0,
        same=((0, 1),),
        empty=((1, "reseed"),),
    )
    text = iteration_table(summary, 1, 8, 1.0)
    assert (
        "maps 1 and 2 are the same within noise" in text
        and "map 2 has hardly any particles" in text
        and "directions of" not in text
    )
    assert "views of map 2 leave 50 % of the directions" in iteration_table(replace(summary, particles=1000), 1, 8, 1.0)


@pytest.mark.ranks(1, 2, 4)
def test_random_subsets_hand_out_each_image_to_one_map(team):
    truth, made = simulate()
    ctx, state = context(team, [truth[0], truth[0]], made)
    with Workspace() as work:
        state = Project(work).run(state, ctx)
        state = replace(state, candidates=match_views(state, ctx, np.arange(len(ctx.particles)), ctx.particles.images))
    dealt = with_drawn_maps(state, ctx)
    used, model = dealt.reference >= 0, state.orientations.model[dealt.reference]
    drawn = model[:, 0]
    assert (model == drawn[:, None])[used].all() and 15 < sum(team.allgather(int(drawn.sum()))) < 45
    ctx.particles.table = replace(
        ctx.particles.table, own_key=np.full(len(ctx.particles), 7, np.uint64)
    )  # copies of one image
    same = state.orientations.model[with_drawn_maps(state, ctx).reference[:, 0]]
    assert len(set(np.concatenate(team.allgather(same)).tolist())) == 1
    view = state.orientations.rotation[:, 2]
    np.testing.assert_allclose(view[dealt.reference][used], view[state.candidates.reference][used])
    assert np.isneginf(dealt.model_evidence[np.arange(len(drawn)), 1 - drawn]).all()


@pytest.mark.ranks(1)
def test_all_maps_are_compared_on_the_same_views(team):
    truth, made = simulate()
    ctx, _ = context(team, truth, made)
    grid = grid_of_directions(ctx, 15.0, 3)
    np.testing.assert_array_equal(grid.rotation[grid.of_model(0)], grid.rotation[grid.of_model(1)])
    assert np.abs(grid.rotation - grid_of_directions(ctx, 15.0, 4).rotation).max() > 0.01
