"""Average, reconstruct, postprocess and converge: maps from planted poses, slabs against numpy, and when to stop."""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.data.partition import Partition
from mpirefine.data.poses import Assignments, Candidates, HardPoses, Orientations
from mpirefine.maths.fourier.fsc import fsc
from mpirefine.steps.likelihood.average import Average
from mpirefine.steps.likelihood.postprocess import Postprocess
from mpirefine.steps.likelihood.reconstruct import Reconstruct
from mpirefine.steps.likelihood.volumes.slabs import inverse_transform
from mpirefine.steps.shared.converge import Converge, measure_motion, median_of_bins, why_to_stop
from mpirefine.steps.shared.empty_classes import EmptyClasses
from mpirefine.steps.summary import Motion, Summary
from tests.steps.small import GRID, context, simulate


def planted(team, n=120, snr=5.0, **options):
    """State after classify, with the true pose of every particle as a class of its own."""
    truth, made = simulate(n=n, snr=snr)
    ctx, state = context(team, truth, made, **options)
    order = np.argsort(made["label"], kind="stable")
    place = np.argsort(order)[ctx.block.as_slice]
    own = len(ctx.particles)
    orientations = Orientations(made["rotation"][order], made["label"][order].astype(np.int32))
    one = np.ones((own, 1))
    candidates = Candidates(
        place[:, None].astype(np.int32),
        -one.astype(np.float32),
        0 * one,
        0 * one.astype(np.float32),
        made["shift"][ctx.block.as_slice][:, None].astype(np.float32),
        np.zeros((own, 1), bool),
        np.zeros((own, 2)),
        np.ones((own, 2)),
    )
    label = made["label"][ctx.block.as_slice].astype(np.int32)
    assignments = Assignments(
        one.astype(np.float32), np.eye(2, dtype=np.float32)[label], label, np.zeros(own, np.int32)
    )
    return truth, ctx, replace(state, orientations=orientations, candidates=candidates, assignments=assignments)


def reconstructed(team):
    truth, ctx, state = planted(team)
    return truth, ctx, Reconstruct().run(Average(None).run(state, ctx), ctx)


def test_true_poses_give_the_true_maps(team, one_rank):
    truth, ctx, state = reconstructed(team)
    if team.is_root:
        for m in (0, 1):
            curve = fsc(state.volumes[m] * ctx.masks[0], truth[m] * ctx.masks[0])
            assert curve[1:8].min() > 0.9
            other = fsc(state.volumes[m] * ctx.masks[0], truth[1 - m] * ctx.masks[0])
            assert curve[1:8].mean() > other[1:8].mean() + 0.02
            assert state.curves["half_fsc"][m, 1:6].min() > 0.8
        # absolute grey scale: the map is the one that was projected
        np.testing.assert_allclose((state.volumes[0] * truth[0]).sum() / (truth[0] ** 2).sum(), 1, atol=0.25)
        wanted = one_rank("maps of true poses", lambda alone: reconstructed(alone)[2].volumes)
        np.testing.assert_allclose(state.volumes, wanted, atol=1e-5 * np.abs(wanted).max())
    else:
        assert state.volumes is None


@pytest.mark.ranks(1, 3)
def test_block_size_does_not_matter(team):
    _, ctx, state = planted(team, block_mb=1)
    _, large, again = planted(team, block_mb=500)
    small = Average(None).run(state, ctx).slab.sums
    np.testing.assert_allclose(
        Average(None).run(again, large).slab.sums, small, atol=1e-5 * np.abs(small).max(initial=1e-30)
    )


@pytest.mark.ranks(1)
def test_halves_never_mix(team):
    _, ctx, state = planted(team)
    half = state.half
    weight = np.where(half[:, None] == 0, state.assignments.weight, 0)
    slab = Average(None).run(replace(state, assignments=replace(state.assignments, weight=weight)), ctx).slab
    assert slab.weight(0, 0).any() and not slab.weight(0, 1).any() and not slab.weight(1, 1).any()


def test_distributed_transform_is_numpys(team):
    _, ctx, _ = planted(team, n=8)
    box = 2 * GRID.nx
    rng = np.random.default_rng(1)
    volume = np.zeros((box,) * 3, np.float32)
    centre = slice(box // 2 - GRID.nx // 2, box // 2 + GRID.nx // 2)
    volume[centre, centre, centre] = rng.standard_normal((GRID.nx,) * 3)
    spectrum = np.fft.rfftn(np.fft.ifftshift(volume)).astype(np.complex64)
    mine = Partition.even(box, team.size)[team.rank]
    found = inverse_transform(ctx, spectrum[mine.as_slice], box)
    if team.is_root:
        line = np.sinc((np.arange(GRID.nx) - GRID.nx // 2) / box) ** 2
        expected = volume[centre, centre, centre] / (line[:, None, None] * line[:, None] * line)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.ranks(1)
def test_symmetry_is_imposed(team):
    _, ctx, state = planted(team)
    ctx = replace(ctx, symmetries=("c2", "d2"))
    state = Reconstruct().run(Average(None).run(state, ctx), ctx)
    for m, axes in ((0, [(1, 2)]), (1, [(1, 2), (0, 1), (0, 2)])):
        inner = state.volumes[m][1:, 1:, 1:]
        for pair in axes:
            np.testing.assert_allclose(np.rot90(inner, 2, pair), inner, atol=0.03 * np.abs(inner).max())


def test_postprocess_masks_and_chooses_rings(team):
    _, ctx, state = planted(team)
    state = Postprocess().run(Reconstruct().run(Average(None).run(state, ctx), ctx), ctx)
    assert (
        all(ctx.limits.least <= r <= ctx.limits.target for r in state.last_rings) and len(state.summary.resolution) == 2
    )
    if team.is_root:
        assert not state.volumes[:, 0].any() and state.volumes.any()


def test_changes_are_counted_over_ranks(team):
    _, ctx, _ = planted(team, n=40)
    own = len(ctx.particles)
    first = ctx.block.start
    before = HardPoses(np.zeros(own, int), np.eye(3)[None].repeat(own, 0), np.zeros((own, 2)))
    model = (np.arange(first, first + own) < 10).astype(int)
    tilt = np.radians(10)
    turned = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    now = HardPoses(model, turned[None].repeat(own, 0), np.tile([[1.0, 0.0]], (own, 1)))
    found = measure_motion(ctx, now, before)
    assert (
        found.moved == 0.25
        and found.view_change == pytest.approx(10, abs=0.3)
        and found.shift_change == pytest.approx(6, abs=0.1)
    )
    nobody = measure_motion(ctx, replace(now, model=np.full(own, -1)), before)
    assert nobody == Motion(moved=0.0, view_change=0.0, shift_change=0.0)


def test_converge_writes_curves_on_root(team):
    _, ctx, state = planted(team)
    state = Postprocess().run(Reconstruct().run(Average(None).run(state, ctx), ctx), ctx)
    state = Converge().run(EmptyClasses().run(with_shares(state), ctx), ctx)
    assert not state.converged and len(state.history) == 1
    if team.is_root:
        assert state.curves["between_fsc"].shape == (2, 2, GRID.nx // 2 + 1)
        np.testing.assert_allclose(state.curves["between_fsc"][0, 0, 1:8], 1, rtol=1e-4)
        assert state.curves["previous_fsc"].shape == (2, GRID.nx // 2 + 1)


def with_shares(state):
    return replace(state, summary=replace(state.summary, soft=(0.5, 0.5)))


def history(resolutions, moves):
    changes = [None if m is None else Motion(m, 0.0, 0.0) for m in moves]
    return [Summary(resolution=(r,), motion=change) for r, change in zip(resolutions, changes)]


def test_why_to_stop():
    still = history([20, 18, 18, 18, 18], [None, 0.1, 0.01, 0.01, 0.0095])
    assert "no gain in 3 iterations" not in why_to_stop(still, 3)  # moves still fell
    assert why_to_stop(history([20, 18, 18, 18, 18], [None, 0.01, 0.01, 0.01, 0.0095]), 3).startswith(
        "no gain in 3 iterations"
    )
    assert why_to_stop(history([20, 18, 17, 16], [None, 0.1, 0.1, 0.1]), 2) == ""
    assert why_to_stop(still, 0) == "" and why_to_stop(still[:2], 3) == ""


def test_median_of_bins():
    assert median_of_bins(np.array([0, 3, 1]), np.array([0.0, 1, 2, 3])) == 1.5
    assert median_of_bins(np.zeros(3), np.arange(4)) == 0
