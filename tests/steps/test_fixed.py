"""Class only, at the poses of the particle file."""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.distribution import reduce
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.likelihood.central_slices import in_plane
from mpirefine.steps.likelihood.classify import Classify
from mpirefine.steps.likelihood.project import Project
from mpirefine.steps.likelihood.search.candidates import match_views
from mpirefine.steps.likelihood.search.fixed_poses import nearest_projections
from mpirefine.steps.likelihood.search.spectra import pixels_of_rings
from mpirefine.steps.likelihood.simmx import Simmx
from mpirefine.steps.shared.assignments import hard_poses
from mpirefine.steps.workspace import Workspace
from tests.steps.small import GRID, context, simulate
from tests.tools import angular_distance


def given(team, **options):
    truth, made = simulate(snr=0.2)
    ctx, state = context(team, truth, made, fixed_poses=True, **options)
    mine = ctx.block.as_slice
    ctx.particles.table = replace(ctx.particles.table, rotation=made["rotation"][mine], shift=made["shift"][mine])
    return made, mine, ctx, state


def classified(team):
    made, mine, ctx, state = given(team)
    with Workspace() as work:
        return made, mine, ctx, Classify().run(Simmx().run(Project(work).run(state, ctx), ctx), ctx)


@pytest.mark.ranks(1, 3)
def test_known_poses_leave_the_map_to_choose(team, one_rank):
    made, mine, ctx, state = classified(team)
    poses = hard_poses(state)
    right = np.array([(poses.model == made["label"][mine]).sum()])
    reduce.sum_in_place(team, right)
    assert right[0] >= 58
    assert angular_distance(poses.rotation, made["rotation"][mine]).max(initial=0) < state.sampling.fine_delta
    trace = np.einsum("pij,pij->p", poses.rotation, made["rotation"][mine])
    assert np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))).max(initial=0) < 1.5 * state.sampling.fine_delta
    np.testing.assert_allclose(poses.shift, made["shift"][mine], atol=1e-5)
    values = reduce.gather_rows(team, state.candidates.model_evidence, ctx.partition)
    if team.is_root:
        wanted = one_rank("evidence at known poses", lambda alone: classified(alone)[-1].candidates.model_evidence)
        np.testing.assert_allclose(values, wanted, rtol=1e-9)


@pytest.mark.ranks(1)
def test_the_score_at_a_pose_is_that_of_the_search(team):
    made, _, ctx, state = given(team)
    with Workspace() as work:
        state = Project(work).run(state, ctx)
        fixed, searched = (
            Simmx().run(state, ctx).candidates,
            match_views(state, ctx, np.arange(60), ctx.particles.images),
        )
    own = fixed.score[np.arange(60), made["label"]]
    best = searched.score[:, 0]
    # the search sees a mask and grids, and takes the best of all poses: a little better than the truth, never by much
    assert np.corrcoef(own, best)[0, 1] > 0.95 and np.abs(own - best).mean() < 0.15 * np.abs(best).mean()


@pytest.mark.ranks(1)
def test_rings_hold_every_coefficient_once(team):
    *_, ctx, _ = given(team)
    rings = pixels_of_rings(ctx, 9)
    y, x = np.mgrid[-GRID.nx // 2 : GRID.nx // 2, -GRID.nx // 2 : GRID.nx // 2]
    radius = np.rint(np.hypot(x, y)).astype(int)
    np.testing.assert_array_equal(rings[1:10], np.bincount(radius.ravel())[1:10])
    assert rings[0] == 0 and not rings[10:].any()


@pytest.mark.ranks(1)
@pytest.mark.parametrize("symmetry", ["c1", "d3"])
def test_nearest_projection_and_the_turn_to_it(team, symmetry):
    *_, ctx, state = given(team)
    ctx = replace(ctx, symmetries=(symmetry, "c1"))
    with Workspace() as work:
        state = Project(work).run(state, ctx)
    rng = np.random.default_rng(5)
    q, _ = np.linalg.qr(rng.standard_normal((40, 3, 3)))
    q *= np.linalg.det(q)[:, None, None]
    row, angle, mirror = nearest_projections(state, 0, symmetry, q)
    placed = in_plane(state.orientations.rotation[row], angle, mirror)
    trace = np.einsum("nij,gnij->gn", placed, np.stack([q @ copy for copy in operations(symmetry)])).max(axis=0)
    assert np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))).max() < 1.5 * state.sampling.fine_delta
    assert mirror.any() and not mirror.all()
