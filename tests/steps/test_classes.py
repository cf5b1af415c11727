"""The steps by comparators and class averages: views, scores, averages and maps, the same on any number of ranks and
near the planted truth.
"""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.partition import Partition
from mpirefine.data.poses import Assignments, Candidates, Orientations
from mpirefine.data.rotations import rotation_from_eman
from mpirefine.distribution.window import Window
from mpirefine.maths.eman2.class_averaging import Rounds
from mpirefine.maths.eman2.comparators import base
from mpirefine.maths.eman2.ctf import ctf_image
from mpirefine.maths.eman2.poses import Alignment, from_eman, to_eman_columns
from mpirefine.maths.eman2.projectors import standard
from mpirefine.maths.eman2.similarity import Comparison, Search, prepare_references, shrink_about
from mpirefine.maths.geometry.align_maps import Move, onto
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.image.phantom import random_rotations, states
from mpirefine.program.catalogue import build
from mpirefine.steps.eman2 import simmx
from mpirefine.steps.eman2.choices import Choices, MapMaking, Views
from mpirefine.steps.eman2.class_averages import Membership, ParticleSet, average_classes, owners_of_classes
from mpirefine.steps.eman2.map_making import Slices, choose_kept, make_map
from mpirefine.steps.eman2.method import Eman2
from mpirefine.steps.eman2.postprocess import FinishMaps, moves_onto_first
from mpirefine.steps.eman2.scores import FlippedParticles, with_flat_snr
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.eman2.views import Projections, common_support, generate_views, prepare_map, project
from mpirefine.steps.shared.assignments import hard_poses
from mpirefine.steps.workspace import Workspace
from tests.steps.small import GRID, context, simulate

CCC, ALIGN = build("cmps", "ccc"), build("aligners", "rotate_translate_flip:maxshift=3")
MATCHING = Comparison(CCC, ALIGN, CCC, build("aligners", "refine"), CCC)
VIEWS = Views(
    build("projectors", "standard"),
    build("orientgens", "eman:delta=30:inc_mirror=0:perturb=0"),
    postprocess=(build("processors", "normalize.circlemean"),),
)
ROUNDS = Rounds(MATCHING, build("averagers", "mean"), 0, 1.0, normproc=build("processors", "normalize.edgemean"))
MAPS = MapMaking(build("reconstructors", "fourier"), passes=1, preprocess=(build("processors", "normalize.edgemean"),))
CHOICES = Choices(VIEWS, Search(MATCHING, first=2, kept=8), ROUNDS, MAPS)


def scene(team, n=20, snr=2.0, **settings):
    """Truth, context and state of iteration 1 where particles are scored by comparators."""
    truth, made = simulate(n=n, snr=snr)
    ctx, state = context(team, truth, made, kind=Eman2State, sep=1, **settings)
    return truth, made, ctx, state


def run(last, state, ctx, choices=CHOICES):
    """The state after the steps of an iteration up to the one called `last`, and the projections."""
    method = Eman2(choices, ParticleSet(FlippedParticles(ctx.particles, GRID.apix)), "particles.star", ".mrc")
    with Workspace() as work:
        for step in method.steps(work):
            state = step.run(state, ctx)
            if step.name == last:
                break
        return state, np.array(state.projections.images)


def test_all_maps_are_in_one_list():
    found = generate_views(VIEWS, ("c1", "d2", "c4"))
    counts = np.bincount(found.model)
    assert (np.diff(found.model) >= 0).all() and counts[0] > 2 * counts[1] > 0 and counts[0] > 2 * counts[2] > 0
    for m, name in enumerate(("c1", "d2", "c4")):
        own = VIEWS.orientgen(name)
        np.testing.assert_allclose(found.rotation[found.of_model(m)], rotation_from_eman(*own.T))
    fewer = generate_views(VIEWS, ("c1", "d2", "c4"), dropped=(1,))
    assert np.bincount(fewer.model).tolist() == [counts[0], 0, counts[2]]


def test_broken_symmetry_has_all_copies_of_a_view():
    """Of a symmetric map they look alike, in groups of the group's size."""
    volume = np.mean([standard_turned(states(24, 1, np.random.default_rng(3))[0], s) for s in operations("c3")], axis=0)
    unit, whole = generate_views(VIEWS, ("c3",)), generate_views(replace(VIEWS, breaksym=True), ("c3",))
    images = standard(volume, whole.rotation, None, 1.0).reshape(len(whole), -1)
    alike = np.corrcoef(images) > 0.98
    assert len(whole) > 2 * len(unit) and (alike.sum(axis=1) >= 3).mean() > 0.8
    assert len({tuple(np.round(r, 4).ravel()) for r in whole.rotation}) == len(whole)


def standard_turned(volume, rotation):
    from scipy import ndimage

    back, centre = rotation.T[::-1, ::-1], np.full(3, len(volume) // 2)
    return ndimage.affine_transform(volume, back, centre - back @ centre, order=1)


def test_the_views_are_projections_on_any_team(team):
    maps = states(24, 3, np.random.default_rng(3)) if team.is_root else None
    if team.is_root:
        maps[1] = 0  # a map that is empty has blank projections
    orientations = team.from_root(generate_views, VIEWS, ("c1", "c2", "d2"))
    with Window(team, (len(orientations), 24, 24), np.float32) as window:
        made = project(team, window, orientations, maps, VIEWS, 4.0)
        images = np.array(made.images)
        with pytest.raises(ValueError):
            made.images[0] = 0
        team.barrier()
    maps = team.bcast(maps)
    for m in range(3):
        part = orientations.of_model(m)
        plain = standard(maps[m], orientations.rotation[part], None, 4.0)
        for image, other in zip(images[part], plain):
            if m == 1:
                assert not image.any()
            else:
                assert np.corrcoef(image.ravel(), other.ravel())[0, 1] > 0.99999
                radius = np.hypot(*(np.mgrid[:24, :24] - 12))
                assert abs(image[(radius > 10.5) & (radius < 11.5)].mean()) < 0.05
                assert image.std() == pytest.approx(1, rel=0.01)


def test_what_prethreshold_leaves(rng):
    volume = np.zeros((24, 24, 24), np.float32)
    volume[8:16, 8:16, 8:16] = rng.random((8, 8, 8)) + 0.5
    volume[2:5, 2:5, 2:5] = 0.05  # weak density: below half the sigma of what is not zero
    assert prepare_map(volume, VIEWS, 4.0) is volume
    found = prepare_map(volume, replace(VIEWS, prethreshold=True), 4.0)
    assert found[3, 3, 3] < 0.01 < 0.05 and found[11, 11, 11] > 0.4
    assert found.sum() == pytest.approx(volume[8:16, 8:16, 8:16].sum(), rel=1e-4)


def test_the_support_is_one_mask_for_all():
    images = np.full((3, 8, 8), 2.0, np.float32)
    images[0, 2, 3], images[2, 5, 6] = 4, -1
    mask = common_support(images)
    assert np.argwhere(mask).tolist() == [[2, 3], [5, 6]] and mask.dtype == np.float32


def test_poses_of_candidates_and_of_eman2_are_inverse(rng):
    n = 200
    alpha, tx, ty, mirror = rng.uniform(0, 360, n), rng.uniform(-9, 9, n), rng.uniform(-9, 9, n), rng.random(n) < 0.5
    found = Candidates.empty(n, 1, 1)
    found.reference[:] = 0
    poses = from_eman(Alignment.of(alpha, tx, ty, mirror))
    found.angle[:, 0], found.shift[:, 0], found.mirror[:, 0] = poses.angle, poses.shift, poses.mirror
    back = to_eman_columns(found)
    for name, wanted in (("dx", tx), ("dy", ty), ("mirror", mirror)):
        np.testing.assert_allclose(back[f"candidates/{name}"][:, 0], wanted, atol=1e-5)
    assert np.abs((back["candidates/dalpha"][:, 0] - alpha + 180) % 360 - 180).max() < 1e-3


def scored(team):
    choices = replace(
        CHOICES, views=replace(VIEWS, orientgen=build("orientgens", "eman:delta=20:inc_mirror=0:perturb=0"))
    )
    _, made, ctx, state = scene(team, 12)
    state, images = run("classify", state, ctx, choices)
    candidates = state.candidates
    rows = team.allgather((candidates.score[:, 0], candidates.reference[:, 0]))
    score, reference = (np.concatenate(part) for part in zip(*rows))
    return made, ctx, state, {"score": score, "reference": reference, "images": images}


@pytest.mark.ranks(1, 3)
def test_scores_find_the_planted_poses_on_any_team(team, one_rank):
    """The hard pose that comes of them is that of the particle: map, direction, angle in the plane, hand and shift."""
    made, ctx, state, found = scored(team)
    poses, mine = hard_poses(state), ctx.block.as_slice
    turn = np.einsum("nij,nik->njk", poses.rotation, made["rotation"][mine])
    angle = np.degrees(np.arccos(np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    shift = np.linalg.norm(poses.shift - made["shift"][mine], axis=1)
    off = team.allgather((angle, shift, poses.model == made["label"][mine]))
    angle, shift, right = (np.concatenate(part) for part in zip(*off))
    assert np.median(angle) < 15 and (angle < 30).mean() > 0.7 and np.median(shift) < 0.8 and right.mean() > 0.8
    if team.is_root:
        for name, wanted in one_rank("scores by comparators", lambda alone: scored(alone)[-1]).items():
            np.testing.assert_allclose(found[name], wanted, atol=1e-5)


@pytest.mark.ranks(1, 3)
def test_particles_set_aside_have_no_place(team):
    _, _, ctx, state = scene(team, 9)
    ctx.particles.reason[ctx.particles.table.row == 4] = 1
    state, _ = run("average", state, ctx)
    bad = ctx.particles.table.row == 4
    assert (state.candidates.reference[bad] == -1).all() and (state.assignments.model[bad] == -1).all()
    assert (state.candidates.reference[~bad] >= 0).all()
    rows = np.concatenate(team.allgather(np.concatenate([one.rows for one in state.classes] or [np.zeros(0, int)])))
    assert sorted(rows) == [0, 1, 2, 3, 5, 6, 7, 8]


def gathered(team, classes):
    """Number, rows, image, used and poses of all classes that have an average, on every rank."""
    told = sorted((one for rank in team.allgather(classes) for one in rank), key=lambda one: one.number)
    return [one.number for one in told], [
        (one.number, one.rows, one.average) for one in told if one.average is not None
    ]


def first_views(count):
    """Of one map."""
    found = generate_views(VIEWS, ("c1",))
    return Orientations(found.rotation[:count], found.model[:count])


def averaged(team, averager):
    """Collective. Eleven particles in nine classes: one set aside, all in class 7 too, one in class 2 twice, where it
    counts once.
    """
    truth, _, ctx, _ = scene(team, 11)
    seen, rng = first_views(9), np.random.default_rng(5)
    views = Projections(seen, standard(truth[0], seen.rotation, None, GRID.apix))
    classes = np.array([[rng.integers(4), 7] for _ in range(11)])
    classes[3] = 2
    used, mine = np.arange(11) != 6, ctx.block.as_slice
    rounds = replace(ROUNDS, averager=build("averagers", averager), iterations=int(averager == "mean"), keep=0.8)
    bar = []
    found = average_classes(
        team,
        Membership.of(classes[mine], used[mine], ctx.block.start, ctx.particles.table.half),
        ParticleSet(FlippedParticles(ctx.particles, GRID.apix)),
        views,
        rounds,
        bar.append,
    )
    assert sum(bar) == 9
    return gathered(team, found)


@pytest.mark.ranks(1, 2, 4)
@pytest.mark.parametrize("averager", ["mean", "ctfw.auto"])
def test_class_averages_do_not_depend_on_the_team(team, averager, one_rank):
    """Every projection has one owner; classes are empty, particles are in several, ranks have none."""
    numbers, ours = averaged(team, averager)
    alone_numbers, theirs = one_rank(f"averages {averager}", lambda alone: averaged(alone, averager))
    assert numbers == alone_numbers == list(range(9))
    assert [one[0] for one in ours] == [one[0] for one in theirs] == [0, 1, 2, 3, 7]
    for (_, rows, average), (_, other_rows, other) in zip(ours, theirs):
        np.testing.assert_array_equal(rows, other_rows)
        np.testing.assert_array_equal(average.used, other.used)
        np.testing.assert_allclose(average.image, other.image, atol=1e-4)
        np.testing.assert_allclose(average.halves, other.halves, atol=1e-4)
        assert (average.snr_total is None) == (averager == "mean") and 6 not in rows and (np.diff(rows) > 0).all()
    rows = [list(one[1]) for one in ours]
    assert rows[-1] == [0, 1, 2, 4, 5, 7, 8, 9, 10] and 3 in rows[2]


@pytest.mark.ranks(1, 4)
def test_more_ranks_than_classes_and_no_particles(team):
    """Two projections, one particle; then none at all; a constant projection has no average."""
    _, made, ctx, _ = scene(team, 2)
    views = Projections(first_views(2), np.zeros((2, 32, 32), np.float32))
    views.images[1] = made["images"][0]
    for classes, filled in (([[1], [0]], [1]), ([[-1], [-1]], [])):
        members = Membership.of(
            np.array(classes)[ctx.block.as_slice],
            np.ones(ctx.block.size, bool),
            ctx.block.start,
            ctx.particles.table.half,
        )
        numbers, found = gathered(
            team,
            average_classes(
                team,
                members,
                ParticleSet(FlippedParticles(ctx.particles, GRID.apix)),
                views,
                ROUNDS,
                lambda count: None,
            ),
        )
        assert numbers == [0, 1] and [one[0] for one in found] == filled


def planted_slices(n=30, noise=0.3, seed=2):
    """Class averages of a map, all but three: those are of views they do not show."""
    rng = np.random.default_rng(seed)
    volume = states(24, 1, rng)[0]
    rotations = random_rotations(n, rng)
    images = standard(volume, rotations, None, 4.0)
    images += noise * images.std() * rng.standard_normal(images.shape).astype(np.float32)
    wrong = np.array([4, 11, 23])[: n // 10]
    rotations[wrong] = random_rotations(len(wrong), rng)
    return volume, wrong, Slices(images, rotations, rng.integers(3, 9, n).astype(float), np.arange(100, 100 + n))


def share(team, slices):
    block = Partition.even(len(slices.weight), team.size)[team.rank]
    return slices.take(np.arange(block.start, block.stop))


@pytest.mark.parametrize("keep, sigma, out", [(0.9, False, [104, 111, 123]), (1.5, True, None), (1.0, False, [])])
def test_class_averages_that_disagree_are_left_out(team, keep, sigma, out, one_rank):
    """By share: the int(0.9 · 30) best; by sigma those below the mean less 1.5 sigma; and the map is better for it."""
    volume, wrong, slices = planted_slices()
    how = replace(MAPS, passes=2, keep=keep, keep_sigma=sigma)
    made = make_map(team, share(team, slices), 24, "c1", 4.0, how)
    out = list(wrong + 100) if out is None else out
    assert list(made.left_out) == out and list(made.used) == [n for n in range(100, 130) if n not in out]
    assert made.weight == pytest.approx(slices.weight[~np.isin(slices.number, out)].sum())
    once = make_map(team, share(team, slices), 24, "c1", 4.0, replace(how, passes=1))
    assert len(once.left_out) == 0 and len(once.used) == 30
    if team.is_root:
        alike = [np.corrcoef(one.volume.ravel(), volume.ravel())[0, 1] for one in (made, once)]
        assert alike[0] > 0.87 and (not out or alike[0] > alike[1] + 0.02)
        wanted = one_rank(f"map {keep}", lambda alone: make_map(alone, slices, 24, "c1", 4.0, how).volume)
        np.testing.assert_allclose(made.volume, wanted, atol=1e-5 * np.abs(wanted).max())
    else:
        assert made.volume is None


@pytest.mark.parametrize("symmetry", ["c1", "c2"])
def test_back_projection_makes_one_pass_of_all(team, symmetry, one_rank):
    """It does not tell which class averages disagree: the three that do stay; the same on any number of ranks."""
    volume, _, slices = planted_slices(60, 0.05)
    how = replace(MAPS, recon=build("reconstructors", "back_projection"), passes=3, keep=0.5)
    made = make_map(team, share(team, slices), 24, symmetry, 4.0, how)
    assert len(made.used) == 60 and len(made.left_out) == 0 and made.grey == 1
    if team.is_root:
        fourier = one_rank(f"plain {symmetry}", lambda alone: make_map(alone, slices, 24, symmetry, 4.0, MAPS).volume)
        assert np.corrcoef(made.volume.ravel(), fourier.ravel())[0, 1] > 0.9
        wanted = one_rank(f"smeared {symmetry}", lambda alone: make_map(alone, slices, 24, symmetry, 4.0, how).volume)
        np.testing.assert_allclose(made.volume, wanted, atol=1e-5 * np.abs(wanted).max())


def test_the_factor_of_each_pass(team):
    """A map of two passes is as much larger as EMAN2's norms say, and one of three by both passes' factors."""
    _, _, slices = planted_slices(40, 0.05)
    one, two, three = (
        make_map(team, share(team, slices), 24, "c1", 4.0, replace(MAPS, passes=n, keep=1.0)) for n in (1, 2, 3)
    )
    assert one.grey == 1 and 1.1 < two.grey < 2 and three.grey == pytest.approx(two.grey**2, rel=0.05)
    if team.is_root:
        for made in (two, three):
            assert made.volume.std() / one.volume.std() == pytest.approx(made.grey, rel=0.03)


def test_what_is_kept_of_qualities():
    """Relative to ten neighbours in weight before and nine after: a class of few particles is not judged by those of
    many.
    """
    number, weight = np.arange(40), 3.0 ** np.arange(40)
    quality = np.linspace(0.2, 0.8, 40)
    quality[[3, 30]] *= 0.6  # 30 is still better than those of small classes
    chosen = choose_kept(weight, quality, number, replace(MAPS, keep=0.95))
    assert np.flatnonzero(~chosen).tolist() == [3, 30]
    order = np.random.default_rng(0).permutation(40)
    assert (choose_kept(weight[order], quality[order], number[order], replace(MAPS, keep=0.95)) == chosen[order]).all()
    assert choose_kept(weight, quality, number, replace(MAPS, keep=0.5)).sum() == 20
    by_sigma = choose_kept(weight, quality, number, replace(MAPS, keep=2.0, keep_sigma=True))
    assert np.flatnonzero(~by_sigma).tolist() == [3, 30]
    assert (
        choose_kept(weight[:1], quality[:1], number[:1], MAPS).tolist() == [True]
        and len(choose_kept(weight[:0], quality[:0], number[:0], MAPS)) == 0
    )


@pytest.mark.ranks(1, 4)
def test_few_and_blank_class_averages(team):
    """Two of three are blank or without weight; and a map of none is zero everywhere."""
    _, _, slices = planted_slices(3)
    images, weight = slices.images.copy(), slices.weight.copy()
    images[1], weight[2] = 0, 0
    made = make_map(
        team, share(team, replace(slices, images=images, weight=weight)), 24, "c1", 4.0, replace(MAPS, passes=2)
    )
    assert list(made.used) == [100] and list(made.left_out) == [] and made.weight == weight[0]
    nothing = make_map(team, slices.take(np.zeros(0, int)), 24, "c1", 4.0, replace(MAPS, passes=2))
    assert len(nothing.used) == 0 and nothing.weight == 0
    assert not team.is_root or (made.volume.any() and not nothing.volume.any() and nothing.volume.shape == (24, 24, 24))


@pytest.mark.ranks(1, 2)
def test_padding_symmetry_and_what_comes_after(team):
    """The map has the images' box, its symmetry, the structure factor that is set, and is post-processed."""
    volume, _, slices = planted_slices(40, 0.05)
    plain, padded, half_turn = (
        make_map(team, share(team, slices), 24, *more)
        for more in (("c1", 4.0, MAPS), ("c1", 4.0, replace(MAPS, pad=36)), ("c2", 4.0, MAPS))
    )
    masked = make_map(
        team,
        share(team, slices),
        24,
        "c1",
        4.0,
        replace(MAPS, postprocess=(build("processors", "mask.sharp:outer_radius=6"),)),
    )
    curve = np.stack([np.linspace(0, 0.13, 40), np.exp(-np.linspace(0, 6, 40))], -1)
    shaped = make_map(team, share(team, slices), 24, "c1", 4.0, replace(MAPS, structure_factor=curve))
    if not team.is_root:
        return
    assert padded.volume.shape == plain.volume.shape == (24, 24, 24)
    alike = [np.corrcoef(one.volume.ravel(), volume.ravel())[0, 1] for one in (plain, padded)]
    assert alike[1] > alike[0] - 0.01 and alike[0] > 0.9
    turned = np.roll(half_turn.volume[:, ::-1, ::-1], (1, 1), axis=(1, 2))
    np.testing.assert_allclose(turned[:, 1:, 1:], half_turn.volume[:, 1:, 1:], atol=0.02 * half_turn.volume.max())
    radius = np.sqrt((np.indices((24, 24, 24)) - 12.0) ** 2).sum(axis=0)
    assert not masked.volume[radius > 12].any() and masked.volume[12, 12, 12] == pytest.approx(plain.volume[12, 12, 12])
    assert np.corrcoef(shaped.volume.ravel(), plain.volume.ravel())[0, 1] < 0.999


def iterated(team):
    truth, made, ctx, state = scene(team, 32, snr=4.0)
    state, _ = run("reconstruct", state, ctx)
    return truth, made, ctx, state


@pytest.mark.ranks(1, 3)
def test_an_iteration_makes_the_maps(team, one_rank):
    """From the low-passed truth to maps that are near to it, each in its own class; half-maps agree; the same on any
    team.
    """
    truth, made, ctx, state = iterated(team)
    assert state.summary.particles == 32 and sum(used for used, _ in state.summary.class_averages) > 14
    model = np.concatenate(team.allgather(state.assignments.model))
    assert (model == made["label"]).mean() > 0.8
    if not team.is_root:
        return
    mask = ctx.masks[0]
    alike = np.array(
        [[np.corrcoef((v * mask).ravel(), (t * mask).ravel())[0, 1] for t in truth] for v in state.volumes]
    )
    assert alike.diagonal().min() > 0.65 and (alike.diagonal() > alike[[0, 1], [1, 0]]).all()
    assert state.halves.shape == (2, 2, 32, 32, 32) and state.curves["half_fsc"][:, 1:4].min() > 0.7
    wanted = one_rank("maps of an iteration", lambda alone: iterated(alone)[-1].volumes)
    np.testing.assert_allclose(state.volumes, wanted, atol=2e-3 * np.abs(wanted).max())


@pytest.mark.ranks(1, 2)
def test_particles_go_with_a_map_that_is_brought_to_the_frame_of_the_first(team):
    """It was turned, shifted and mirrored: after the step its projections at the particles' poses are what they were
    before.
    """
    truth, _, ctx, state = scene(team, 6)
    ctx = replace(ctx, symmetries=("c2", "c1"), masks=np.ones((1, 32, 32, 32), np.float32))
    move = Move(rotation_from_eman(75.0, 0.0, 0.0), np.array([1.0, -2.0, 2.0]), True)
    rng = np.random.default_rng(6)
    rotations, mirror, angle, shift = (
        random_rotations(6, rng),
        rng.random(6) < 0.5,
        rng.uniform(-3, 3, 6),
        rng.uniform(-1, 1, (6, 2)),
    )
    moved, mine = move(truth[0]), ctx.block.as_slice
    found = replace(
        Candidates.empty(6, 1, 2),
        reference=np.arange(6)[:, None].astype(np.int32),
        angle=angle[:, None].astype(np.float32),
        shift=shift[:, None].astype(np.float32),
        mirror=mirror[:, None],
    )
    found = replace(found, **{name: getattr(found, name)[mine] for name in ("reference", "angle", "shift", "mirror")})
    own = len(ctx.particles)
    last = Assignments(np.ones((own, 1)), np.ones((own, 2)), np.ones(own, np.int32), np.zeros(own, np.int32))
    halves = np.stack([np.stack([v, v]) for v in (truth[0], moved)])
    state = replace(
        state,
        volumes=np.stack([truth[0], moved]) if team.is_root else None,
        halves=halves if team.is_root else None,
        candidates=found,
        assignments=last,
        orientations=Orientations(rotations, np.ones(6, np.int32)),
        curves={"half_fsc": np.ones((2, 17))},
    )
    before = hard_poses(state)
    state = FinishMaps(own_filter=False).run(state, ctx)
    after = hard_poses(state)
    volume = team.bcast(state.volumes[1] if team.is_root else None)
    assert (
        np.corrcoef(volume.ravel(), truth[0].ravel())[0, 1]
        > 0.93
        > np.corrcoef(moved.ravel(), truth[0].ravel())[0, 1] + 0.2
    )
    pair = [standard(v, poses.rotation, poses.shift, 6.0) for v, poses in ((moved, before), (volume, after))]
    for one, other in zip(*pair):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.97
    assert own == 0 or np.abs(before.shift - after.shift).max() > 0.5
    assert not team.is_root or np.corrcoef(state.halves[1, 0].ravel(), truth[0].ravel())[0, 1] > 0.93


def test_a_ctf_without_snr_gets_one():
    from mpirefine.data.emanctf import EmanCTF

    bare, told = EmanCTF(1.5, apix=4.0), EmanCTF(1.5, apix=4.0, snr=(1.0, 2.0), dsbg=0.1)
    assert with_flat_snr(told) is told
    made = with_flat_snr(bare)
    assert len(made.snr) == len(made.background) and made.dsbg * (len(made.snr) - 1) == pytest.approx(1 / 8)
    assert (
        made.snr[0] == pytest.approx(0.01, rel=0.05) and 0.9 < max(made.snr) <= 1.01 and min(made.snr) < 0.01
    )  # CTF², 10 % amplitude contrast


@pytest.mark.ranks(1, 2, 3)
def test_maps_are_brought_into_one_frame_on_several_ranks(team):
    """Three maps turned and shifted from the first: their moves are found, the same on any number of ranks."""
    truth, made = simulate()
    ctx, _ = context(team, truth, made)
    turns = [
        Move(rotation_from_eman(az, 0.0, 0.0), np.array([0.0, 0.0, rise])) for az, rise in ((40, 2), (-70, -1), (0, 0))
    ]
    volumes = np.stack([truth[0], *(turn(truth[0], order=3) for turn in turns)]) if team.is_root else None
    moves = moves_onto_first(volumes, replace(ctx, symmetries=("c1", "c2", "c2", "c1")))
    assert moves[0].still and moves[3].still
    for move, turn in zip(moves[1:3], turns):
        np.testing.assert_allclose(move.rotation @ turn.rotation, np.eye(3), atol=0.05)
    if team.is_root:
        alone = [
            onto(volume, volumes[0], ctx.grid, name, "c1") for volume, name in zip(volumes[1:], ("c2", "c2", "c1"))
        ]
        for move, wanted in zip(moves[1:], alone):
            np.testing.assert_array_equal(move.rotation, wanted.rotation)
            np.testing.assert_array_equal(move.shift, wanted.shift)


@pytest.mark.ranks(1, 2)
def test_threads_change_nothing(team):
    """Scores, poses and class averages are the same, bit by bit, with one thread and with three."""
    found = []
    for threads in (1, 3):
        _, _, ctx, state = scene(team, n=22, threads=threads)
        found.append(run("average", state, ctx)[0])
    one, three = found
    for name in ("reference", "score", "angle", "shift", "mirror"):
        np.testing.assert_array_equal(getattr(one.candidates, name), getattr(three.candidates, name))
    assert [result.number for result in one.classes] == [result.number for result in three.classes]
    for a, b in zip(one.classes, three.classes):
        assert (a.average is None) == (b.average is None)
        if a.average is not None:
            np.testing.assert_array_equal(a.average.image, b.average.image)


@pytest.mark.ranks(1, 2, 3)
def test_references_are_prepared_once_for_a_node(team, monkeypatch):
    """Each rank prepares its own share, and all see the same as one that prepares everything."""
    seen = []

    def counting(images, search):
        seen.append(len(images))
        return prepare_references(images, search)

    monkeypatch.setattr(simmx, "prepare_references", counting)
    images = np.random.default_rng(0).standard_normal((7, 24, 24)).astype(np.float32)
    _, _, ctx, _ = scene(team)
    for search in (CHOICES.search, replace(CHOICES.search, first=2.0), replace(CHOICES.search, first=0, shrink=2)):
        seen.clear()
        with Workspace() as work:
            found = simmx.prepared_on_node(images, search, ctx, work)
            assert sum(team.allgather(seen[0])) == 7 and len(seen) == 1
            for made, wanted in zip(found, prepare_references(images, search)):
                np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5)
            team.barrier()


def test_classes_are_dealt_by_particles():
    counts = np.array([0, 50, 3, 2, 1, 1, 1, 40, 8, 0, 2, 0])
    for ranks in (1, 2, 3, 5, 20):
        owner = owners_of_classes(counts, ranks)
        load = np.bincount(owner, counts, minlength=ranks)
        assert load.sum() == counts.sum() and load.max() <= max(50, np.ceil(counts.sum() / ranks))
        assert (np.bincount(owner, minlength=ranks) > 0).sum() == min(ranks, len(counts))
    assert owners_of_classes(np.zeros(0, int), 3).tolist() == []


def test_a_ctf_becomes_an_image_only_where_it_is_read(monkeypatch):
    made = []

    def counting(*args):
        made.append(args)
        return ctf_image(*args)

    monkeypatch.setattr(base, "ctf_image", counting)
    ctf = EmanCTF(1.5, apix=2.0, snr=(1.0, 1.0), dsbg=0.1, background=(1.0, 1.0))
    about = shrink_about(base.About.of([ctf, ctf], 32, 2.0).take(np.array([1, 0])), 32, 24)
    a, b = np.random.default_rng(0).standard_normal((2, 2, 24, 24)).astype(np.float32)
    build("cmps", "frc:snrweight=1")(a, b, about)
    assert not made
    build("cmps", "optsub:ctfweight=1")(a, b, about)
    assert len(made) == 2
    np.testing.assert_array_equal(
        about.intensity[0], ctf_image(ctf, "INTEN", 32)[np.r_[:12, 20:32]][:, :13].astype(np.float32)
    )
