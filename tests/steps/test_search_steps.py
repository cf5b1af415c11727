"""Project, simmx and classify: against brute force, the truth, and any number of ranks."""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.distribution import reduce
from mpirefine.maths.image.ctf import contrast_transfer
from mpirefine.maths.likelihood.central_slices import in_plane, slices
from mpirefine.maths.likelihood.posterior import log_sum_exp
from mpirefine.steps.likelihood.classify import Classify
from mpirefine.steps.likelihood.estimates.noise import estimate_first_noise, pool_small_groups
from mpirefine.steps.likelihood.noise import Reestimate
from mpirefine.steps.likelihood.pilot import pilot
from mpirefine.steps.likelihood.project import Project
from mpirefine.steps.likelihood.search.candidates import match_views
from mpirefine.steps.likelihood.search.everywhere import select_survivors
from mpirefine.steps.likelihood.search.local import LocalMatcher
from mpirefine.steps.likelihood.simmx import Simmx
from mpirefine.steps.shared.assignments import hard_poses
from mpirefine.steps.shared.particles import MemoryStack, OwnParticles
from mpirefine.steps.shared.samples import sampled_rows
from mpirefine.steps.workspace import Workspace
from tests.steps.small import GRID, context, simulate
from tests.tools import angular_distance, load_tool


def searched(team, **options):
    truth, made = simulate()
    ctx, state = context(team, truth, made, **options)
    with Workspace() as work:
        state = Simmx().run(Project(work).run(state, ctx), ctx)
        state = Classify().run(state, ctx)
        poses = hard_poses(state)
    return truth, made, ctx, state, poses


def test_finds_map_view_and_shift(team):
    _, made, ctx, state, poses = searched(team)
    mine = ctx.block.as_slice
    right = np.array([(poses.model == made["label"][mine]).sum(), len(poses.model)])
    view = angular_distance(poses.rotation, made["rotation"][mine])
    off = np.abs(poses.shift - made["shift"][mine]).max(axis=1)
    near = np.array([(view < 15).sum(), (off < 1.0).sum()])
    reduce.sum_in_place(team, right)
    reduce.sum_in_place(team, near)
    assert right[1] == 60 and right[0] >= 54
    assert near[0] >= 0.9 * right[1] and near[1] >= 0.9 * right[1]
    # the whole rotation, in-plane angle and mirror included, is that of the simulation
    trace = np.einsum("pij,pij->p", poses.rotation, made["rotation"][mine])
    ok = np.array([(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))) < 20).sum()])
    reduce.sum_in_place(team, ok)
    assert ok[0] >= 0.9 * right[1]


def test_same_candidates_for_any_number_of_ranks(team, one_rank):
    def rows(team):
        _, _, ctx, state, _ = searched(team)
        return {
            name: reduce.gather_rows(team, np.ascontiguousarray(getattr(state.candidates, name)), ctx.partition)
            for name in ("reference", "score", "angle", "shift", "mirror", "model_evidence")
        }

    found = rows(team)
    if team.is_root:
        for name, wanted in one_rank("candidates", rows).items():
            np.testing.assert_array_equal(found[name], wanted)


@pytest.mark.ranks(1)
def test_score_is_the_likelihood_by_direct_sum(team):
    truth, made, ctx, state, poses = searched(team)
    fy, fx = GRID.frequencies()
    points = np.stack(np.broadcast_arrays(fx * GRID.length, fy * GRID.length), -1)
    radius = np.hypot(*np.broadcast_arrays(fx * GRID.length, fy * GRID.length))
    both = np.full(GRID.half_shape, 2.0)
    both[:, [0, -1]] = 1
    weight = both * (radius > 0.5) * (radius <= 9.5) / (2 * GRID.nx**2)
    found = state.candidates
    ratio = []
    for p in range(0, 60, 7):
        r, c = found.reference[p, 0], int(made["label"][p])
        turned = in_plane(state.orientations.rotation[r][None], found.angle[p, :1], found.mirror[p, :1])
        model = slices(state.volumes[state.orientations.model[r]], turned, points)[0] * state.noise.scale[0]
        model = model * contrast_transfer(made["ctf"].take(slice(p, p + 1)), fx, fy)[0]
        place = found.shift[p, 0] + GRID.nx // 2
        data = np.fft.rfft2(made["images"][p]) * np.exp(
            2j * np.pi / GRID.nx * (points[..., 0] * place[0] + points[..., 1] * place[1])
        )
        direct = (weight * (np.abs(data) ** 2 - np.abs(data - model) ** 2)).sum()
        ratio.append(-found.score[p, 0] / direct)
        assert c in (0, 1)
    # grid scores against a continuous sum over pixels: shift and angle are refined between grid points, rings are a
    # quadrature
    assert 0.9 < np.median(ratio) < 1.1


@pytest.mark.ranks(1)
@pytest.mark.parametrize("snr", [0.5, 0.1])
def test_pruned_search_finds_what_an_exhaustive_one_finds(team, snr):
    truth, made = simulate(snr=snr)
    ctx, state = context(team, truth, made)
    rows = np.arange(60)
    with Workspace() as work:
        state = Project(work).run(state, ctx)
        pruned, whole = (
            match_views(state, ctx, rows, ctx.particles.images),
            match_views(state, ctx, rows, ctx.particles.images, kind=load_tool("compare_search").Exhaustive),
        )
    model, view = state.orientations.model, state.orientations.rotation
    best, truth = pruned.reference[:, 0], whole.reference[:, 0]
    assert (model[best] == model[truth]).sum() >= 59
    assert (angular_distance(view[best], view[truth]) <= state.sampling.fine_delta * 1.001).sum() >= 58
    lost = log_sum_exp(whole.model_evidence, 1) - log_sum_exp(pruned.model_evidence, 1)
    assert (np.abs(lost) < 0.5).sum() >= 55  # either way: which projections are refined may differ


@pytest.mark.ranks(1)
@pytest.mark.parametrize("symmetries", [("c1", "c1"), ("c2", "d2")])
def test_local_search_looks_near_the_last_view_only(team, symmetries):
    _, _, ctx, state, poses = searched(team, local=20.0)
    ctx = replace(ctx, symmetries=symmetries)
    state = replace(state, iteration=4, last=poses)
    with Workspace() as work:
        state = Project(work).run(state, ctx)
        near, everywhere = Simmx().run(state, ctx), match_views(state, ctx, np.arange(60), ctx.particles.images)
        matcher = LocalMatcher(state, ctx)
        seen = [matcher.views_near(view) for view in poses.rotation[:, 2]]
    model, view = state.orientations.model, state.orientations.rotation
    for p, rows in enumerate(seen):
        assert set(model[rows]) == {0, 1}
        for m, name in enumerate(symmetries):
            mine = np.flatnonzero(model == m)
            apart = angular_distance(np.repeat(poses.rotation[p][None], len(mine), 0), view[mine], name)
            np.testing.assert_array_equal(rows[model[rows] == m], mine[apart <= max(20.0, apart.min() + 1e-9)])
    best, found = near.candidates.reference[:, 0], everywhere.reference[:, 0]
    if symmetries == ("c1", "c1"):  # the same maps: what is best everywhere lies near the last view
        assert (best == found).mean() > 0.8


def test_survivors_keep_what_may_still_win():
    value = np.array([10.0, 100, 81, 79, 64, 40, 100], np.float32)
    # where the lead over the median is small: within 20 of the best
    np.testing.assert_array_equal(select_survivors(value, 90.0, 0), [1, 6, 2])
    np.testing.assert_array_equal(select_survivors(value, 0.0, 0), [1, 6, 2, 3, 4, 5])
    np.testing.assert_array_equal(select_survivors(value, 50.0, 1), [1, 6])


@pytest.mark.ranks(1)
def test_keep_simmx_keeps_every_coarse_score(team):
    *_, ctx, state, _ = searched(team, keep_simmx=True)
    assert state.simmx.shape == (60, len(state.projected.coarse.orientations)) and np.isfinite(state.simmx).all()
    _, _, plain, again, _ = searched(team)
    assert again.simmx is None
    np.testing.assert_array_equal(again.candidates.reference, state.candidates.reference)


@pytest.mark.ranks(1, 3)
def test_projections_are_in_one_list_with_cells_of_their_own_map(team):
    *_, ctx, state, _ = searched(team)
    model = state.orientations.model
    assert (np.diff(model) >= 0).all() and set(model.tolist()) == {0, 1}
    children, coarse = state.projected.children, state.projected.coarse.orientations
    assert sorted(np.concatenate(children).tolist()) == list(range(len(model)))
    for r, rows in enumerate(children):
        assert (model[rows] == coarse.model[r]).all()
        if len(rows):
            near = angular_distance(
                state.orientations.rotation[rows], np.repeat(coarse.rotation[r][None], len(rows), 0)
            )
            assert near.max() < state.sampling.coarse_delta


def test_noise_and_scale_are_recovered(team):
    truth, made = simulate(n=240, snr=0.1)
    ctx, state = context(team, truth, made)
    planted = state.noise
    first = estimate_first_noise(ctx, state.volumes, state.trust)
    piloted = pilot(state, ctx)
    np.testing.assert_allclose(first.sigma2[0, 4:], GRID.nx**2, rtol=0.2)
    np.testing.assert_allclose(piloted.noise.sigma2[0, 3:], GRID.nx**2, rtol=0.15)
    # the references are blurred, so that their scale is larger than that of the true maps
    assert 0.8 < piloted.noise.scale[0] / planted.scale[0] < 1.8


@pytest.mark.ranks(1, 2)
def test_small_groups_share_the_estimate_of_all(team):
    truth, made = simulate(n=120, snr=0.3)
    ctx, state = context(team, truth, made)
    table = ctx.particles.table
    ctx.particles.table = replace(table, group=(table.row < 4).astype(np.int32), group_names=("many", "few"))
    state = replace(
        state, noise=replace(state.noise, sigma2=state.noise.sigma2.repeat(2, 0), scale=state.noise.scale.repeat(2))
    )
    assert len(sampled_rows(ctx, 10, 10, ctx.particles.table.optics_of_group, state.trust)) <= len(table)
    with Workspace() as work:
        state = Classify().run(Simmx().run(Project(work).run(state, ctx), ctx), ctx)
        noise = Reestimate().run(state, ctx).noise
    assert noise.sigma2.shape == (2, GRID.nx // 2 + 1) and (noise.sigma2 > 0).all()
    np.testing.assert_allclose(noise.sigma2[1], noise.sigma2[0], rtol=0.1)


def test_groups_are_pooled_with_their_optics_group_first():
    sums = np.zeros((4, 2, 3))
    sums[:, 0], sums[:, -1] = np.array([1, 2, 4, 8])[:, None], np.array([10, 100, 20, 3])[:, None]
    found = pool_small_groups(sums, np.array([0, 0, 0, 1]))
    np.testing.assert_array_equal(found[:, :, 0], [[7, 130], [2, 100], [7, 130], [15, 133]])


def test_shares_sum_over_ranks(team):
    _, made, ctx, state, poses = searched(team)
    counts = np.bincount(poses.model, minlength=2).astype(float)
    reduce.sum_in_place(team, counts)
    np.testing.assert_allclose(state.summary.hard, counts / 60)
    np.testing.assert_allclose(sum(state.summary.soft), 1, rtol=1e-5)
    assert state.summary.particles == 60 and 1 <= state.summary.maps_per_particle <= 2


@pytest.mark.ranks(2, 4)
def test_images_with_nan_are_set_aside(team):
    truth, made = simulate()
    ctx, state = context(team, truth, made)
    made["images"][[5, 17], 3, 3] = np.nan
    ctx = replace(
        ctx,
        particles=OwnParticles(ctx.particles.table, MemoryStack(made["images"][ctx.block.as_slice]), GRID, pixels=None),
    )
    with Workspace() as work:
        state = Classify().run(Simmx().run(Project(work).run(state, ctx), ctx), ctx)
    model = reduce.gather_rows(team, state.assignments.model, ctx.partition)
    if team.is_root:
        assert np.flatnonzero(model < 0).tolist() == [5, 17]
    assert state.summary.particles == 58
