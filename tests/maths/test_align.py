"""Aligners on images with a known pose: the search, refinement, batches, limits."""

import numpy as np
import pytest
from scipy import ndimage, optimize

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.aligners.catalogue import ALIGNERS
from mpirefine.maths.eman2.aligners.quadratic import downhill
from mpirefine.maths.eman2.averagers import AVERAGERS
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.comparators.catalogue import CMPS
from mpirefine.maths.eman2.poses import Alignment, move_images

ABOUT = About(4.0)
CCC = CMPS.build("ccc")


def scene(rng, nx, count, noise, shift=2.0, flip=True):
    """A particle, noisy moved copies of it, and what takes them back."""
    y, x = np.mgrid[:nx, :nx] - nx // 2
    base = ndimage.gaussian_filter(rng.standard_normal((nx, nx)), nx / 32) * np.exp(
        -(x * x + y * y) / (2 * (nx / 6) ** 2)
    )
    base = (base / base.std()).astype(np.float32)
    poses = Alignment.of(
        rng.uniform(-180, 180, count),
        *rng.uniform(-shift, shift, (2, count)),
        rng.random(count) < 0.5 if flip else False,
    )
    images = move_images(base[None], poses)
    return base, images + noise * rng.standard_normal(images.shape).astype(np.float32), poses.inverse()


def off(found, true):
    return np.abs((found.alpha - true.alpha + 180) % 360 - 180), np.hypot(found.tx - true.tx, found.ty - true.ty)


@pytest.mark.parametrize("nx", [24, 31, 32, 64, 100])
def test_the_search_finds_all(rng, nx):
    base, images, true = scene(rng, nx, 24, 0.7, shift=nx / 10)
    found = ALIGNERS.build("rotate_translate_flip")(images, base, CCC, ABOUT)
    angle, shift = off(found, true)
    assert (found.mirror == true.mirror).all()
    assert np.median(angle) < 120 / nx and angle.max() < 720 / nx and np.median(shift) < 0.4 and shift.max() < 1.5


def test_a_noisy_search_finds_most(rng):
    base, images, true = scene(rng, 64, 60, 4.0)
    found = ALIGNERS.build("rotate_translate_tree")(images, base, CCC, ABOUT)
    angle, shift = off(found, true)
    assert ((found.mirror == true.mirror) & (angle < 12) & (shift < 2)).mean() > 0.8


def test_the_hand_is_kept_without_flip(rng):
    base, images, true = scene(rng, 32, 12, 0.3, flip=False)
    for text in (
        "rotate_translate",
        "rotate_translate_iterative",
        "rotate_translate_bispec",
        "rotate_translate_tree:flip=0",
        "rotate_translate_resample:tx=4:ty=4",
    ):
        found = ALIGNERS.build(text)(images, base, CCC, ABOUT)
        assert not found.mirror.any() and np.median(off(found, true)[0]) < 4


def test_references_each_or_one(rng):
    """One reference for all, the same for each, and different ones give what they give alone."""
    one, first, _ = scene(rng, 32, 5, 0.5)
    two, second, _ = scene(rng, 32, 4, 0.5)
    aligner = ALIGNERS.build("rotate_translate_flip")
    alone = [aligner(first, one, CCC, ABOUT), aligner(second, two, CCC, ABOUT)]
    order = np.array([0, 5, 1, 6, 2, 7, 3, 8, 4])
    images, references = np.concatenate([first, second])[order], np.array([one] * 5 + [two] * 4)[order]
    together = aligner(images, references, CCC, ABOUT)
    for name in ("alpha", "tx", "ty", "mirror"):
        np.testing.assert_allclose(
            getattr(together, name), np.concatenate([getattr(a, name) for a in alone])[order], atol=1e-3
        )


def test_shifts_stay_within_their_limit(rng):
    base, images, _ = scene(rng, 32, 10, 0.5, shift=6)
    for text, limit in (
        ("rotate_translate_flip:maxshift=3", 3),
        ("rtf_exhaustive", 4),
        ("translational:maxshift=2", 2),
        ("rotational", 0),
        ("rotate_flip", 0),
        ("rotate_translate_flip_resample:tx=2", 2),
        ("refine:maxshift=1", 1),
    ):
        found = ALIGNERS.build(text)(images, base, CCC, ABOUT)
        assert np.abs(found.tx).max() <= limit and np.abs(found.ty).max() <= limit, text


def test_translational(rng):
    base, _, _ = scene(rng, 40, 1, 0)
    images = np.array([np.roll(base, (3, -5), (0, 1)), np.roll(base, (0, 0), (0, 1)), np.roll(base, (-9, 9), (0, 1))])
    found = ALIGNERS.build("translational")(images, base, CCC, ABOUT)
    assert found.tx.tolist() == [5, 0, -9] and found.ty.tolist() == [-3, 0, 9]
    away = ALIGNERS.build("translational:nozero=1")(images, base, CCC, ABOUT)
    assert max(abs(away.tx[1]), abs(away.ty[1])) > 1 and away.tx[0] == 5
    masked = ALIGNERS.build("translational:masked=1")(images, base, CCC, ABOUT)
    assert masked.tx[0] == 5 and masked.ty[0] == -3


@pytest.mark.parametrize("text", ["ccc", "dot:normalize=1", "sqeuclidean:normto=1", "frc:maxres=20", "phase:maxres=20"])
def test_refine_improves(rng, text):
    base, images, true = scene(rng, 48, 30, 0.3)
    start = Alignment(
        true.alpha + rng.normal(0, 3, 30),
        true.tx + rng.normal(0, 0.7, 30),
        true.ty + rng.normal(0, 0.7, 30),
        true.mirror,
        true.scale,
    )
    comparator, refine = CMPS.build(text), ALIGNERS.build("refine")
    found = refine(images, base, comparator, ABOUT, start)
    before, after = (comparator(move_images(images, pose), base, ABOUT) for pose in (start, found))
    assert (after <= before + 1e-6).all() and (after < before).mean() > 0.9
    assert np.median(off(found, true)[0]) < 1.0 and np.median(off(found, true)[1]) < 0.25
    assert (found.mirror == true.mirror).all()


@pytest.mark.parametrize(
    "name, flips",
    [
        ("rotate_translate_scale", False),
        ("rotate_trans_scale_iter", False),
        ("rotate_trans_flip_scale", True),
        ("rotate_trans_flip_scale_iter", True),
    ],
)
def test_the_search_with_scale(rng, name, flips):
    """Planted scales of 0.96 to 1.04 are found to a step, with the pose; without a range the scale is 1."""
    base, _, _ = scene(rng, 48, 1, 0)
    scales = np.array([0.96, 0.98, 1.0, 1.03, 1.04])
    mirror = np.array([False, True, True, False, True]) & flips
    true = Alignment.of(rng.uniform(-180, 180, 5), *rng.uniform(-2, 2, (2, 5)), mirror, scales)
    images = move_images(base[None], true.inverse()) + 0.1 * rng.standard_normal((5, 48, 48)).astype(np.float32)
    found = ALIGNERS.build(name)(images, base, CCC, ABOUT)
    assert np.abs(found.scale - scales).max() < 0.0101 and (found.mirror == mirror).all()
    assert off(found, true)[0].max() < 2 and off(found, true)[1].max() < 0.6
    values = CCC(move_images(images, found), base, ABOUT)
    plain = ALIGNERS.build("rotate_translate_flip" if flips else "rotate_translate")(images, base, CCC, ABOUT)
    assert (values <= CCC(move_images(images, plain), base, ABOUT) + 1e-6).all()
    assert values.mean() < CCC(move_images(images, plain), base, ABOUT).mean() - 0.003
    same = ALIGNERS.build(f"{name}:min=1:max=1")(images, base, CCC, ABOUT)
    assert (same.scale == 1).all() and np.allclose(same.alpha, plain.alpha)


def test_scale_alone(rng):
    base, _, _ = scene(rng, 48, 1, 0)
    scales = np.array([0.95, 0.97, 1.0, 1.05])
    images = move_images(base[None], Alignment.of(np.zeros(4), scale=1 / scales))
    found = ALIGNERS.build("scale")(images, base, CCC, ABOUT)
    np.testing.assert_allclose(found.scale, scales, atol=0.0101)  # interpolation may make one step
    assert not found.alpha.any() and not found.tx.any() and not found.mirror.any()
    fine = ALIGNERS.build("scale:min=0.968:max=0.974:step=0.002")(images[1:2], base, CCC, ABOUT)
    np.testing.assert_allclose(fine.scale, 0.97, atol=0.0021)
    for wrong in ("min=0", "min=1.1", "step=0"):
        with pytest.raises(ParameterError, match="there are none"):
            ALIGNERS.build(f"scale:{wrong}")(images, base, CCC, ABOUT)


def test_frm2d_and_turns_with_both_hands(rng):
    base, images, true = scene(rng, 48, 8, 0.3, flip=False)
    found = ALIGNERS.build("frm2d:maxshift=4")(images, base, CCC, ABOUT)
    assert off(found, true)[0].max() < 4 and off(found, true)[1].max() < 0.6 and not found.mirror.any()
    base, images, true = scene(rng, 48, 8, 0.3, shift=0.0)
    found = ALIGNERS.build("rotate_flip_iterative")(images, base, CCC, ABOUT)
    assert off(found, true)[0].max() < 4 and (found.mirror == true.mirror).all()


def simplex(comparator, image, reference, start):
    """Score of the pose that EMAN2's way ends at: 28 steps of a simplex that begins with 1 pixel and 5 degrees."""

    def score(x):
        pose = Alignment.of([x[2]], [x[0]], [x[1]], start.mirror)
        return comparator(move_images(image[None], pose), reference, ABOUT)[0]

    first = np.array([start.tx[0], start.ty[0], start.alpha[0]])
    corners = np.stack([first, *(first + np.diag([1.0, 1.0, 5.0]))])
    options = {"initial_simplex": corners, "maxiter": 28, "xatol": 0.04, "fatol": np.inf}
    return optimize.minimize(score, first, method="Nelder-Mead", options=options).fun


@pytest.mark.parametrize("text", ["ccc", "frc", "frc:maxres=12"])
def test_refine_of_noisy_images_is_as_good_as_a_simplex(rng, text):
    """Scores ripple with the noise from pixel to pixel: on average as good, with half the comparisons."""
    base, images, true = scene(rng, 48, 40, 2.0)
    start = Alignment(
        true.alpha + rng.uniform(-6, 6, 40),
        true.tx + rng.uniform(-1, 1, 40),
        true.ty + rng.uniform(-1, 1, 40),
        true.mirror,
        true.scale,
    )
    comparator, count = CMPS.build(text), 0

    def counting(particle, reference, about):
        nonlocal count
        count += len(particle)
        return comparator(particle, reference, about)

    found = ALIGNERS.build("refine")(images, base, counting, ABOUT, start)
    assert count <= 30 * 40
    ours = comparator(move_images(images, found), base, ABOUT)
    theirs = [simplex(comparator, images[i], base, start.take(np.array([i]))) for i in range(40)]
    assert ours.mean() < np.mean(theirs) + 0.001


def test_refine_is_precise_without_noise(rng):
    base, images, true = scene(rng, 64, 10, 0.0)
    start = Alignment(true.alpha + 3, true.tx + 0.8, true.ty - 0.6, true.mirror, true.scale)
    found = ALIGNERS.build("refine:precision=0.001:maxiter=70")(images, base, CCC, ABOUT, start)
    assert off(found, true)[0].max() < 0.3 and off(found, true)[1].max() < 0.05


def test_refine_finds_scale(rng):
    base, _, _ = scene(rng, 64, 1, 0)
    true = Alignment.of([20.0, -50.0], 1.0, -1.0, False, [1.05, 0.96])
    images = move_images(base[None], true.inverse())
    start = Alignment(true.alpha + 2, true.tx + 0.5, true.ty, true.mirror, np.ones(2))
    found = ALIGNERS.build("refine:stepscale=0.03:maxiter=70")(images, base, CCC, ABOUT, start)
    np.testing.assert_allclose(found.scale, true.scale, atol=0.01)


def test_refine_without_start_and_with_mask(rng):
    base, _, _ = scene(rng, 32, 1, 0)
    images = move_images(base[None], Alignment.of(4.0, 0.6, -0.4))
    found = ALIGNERS.build("refine:mask=m", lambda name: np.ones((32, 32), np.float32))(images, base, CCC, ABOUT)
    assert abs(found.alpha[0] + 4) < 1 and abs(found.tx[0] + 0.6) < 0.2


def test_blank_images_do_no_harm():
    blank = np.zeros((3, 32, 32), np.float32)
    for text in ("rotate_translate_flip", "rotational", "translational", "refine"):
        found = ALIGNERS.build(text)(blank, blank[0], CCC, ABOUT)
        assert np.isfinite([found.alpha, found.tx, found.ty]).all()


def test_boxes_that_do_not_fit():
    with pytest.raises(ParameterError, match="square"):
        ALIGNERS.build("rotate_translate")(
            np.zeros((2, 32, 24), np.float32), np.zeros((32, 24), np.float32), CCC, ABOUT
        )


@pytest.mark.parametrize("registry", [ALIGNERS, CMPS, AVERAGERS], ids=lambda registry: registry.kind)
def test_everything_is_explained(registry):
    for name in registry:
        text = registry.function(name).__doc__
        assert text.splitlines()[0].endswith(".")
        assert all(f"`{parameter}`" in text for parameter in registry.parameters(name)), name


def test_steps_go_to_the_minimum(rng):
    """Of convex surfaces exactly, of others downhill, and never far."""
    root = rng.standard_normal((50, 3, 3))
    bend, goal = np.einsum("nij,nkj->nik", root, root) + 2 * np.eye(3), rng.uniform(-0.4, 0.4, (50, 3))
    slope = -np.einsum("nij,nj->ni", bend, goal)
    np.testing.assert_allclose(downhill(slope, bend), goal, atol=0.25)
    saddle = bend * np.array([1, 1, -1.0])[:, None]
    saddle = (saddle + saddle.transpose(0, 2, 1)) / 2
    move = downhill(10 * slope, saddle)
    assert (np.einsum("ni,ni->n", move, slope) <= 1e-9).all() and np.abs(move).max() <= 1.5 + 1e-9
    assert not downhill(np.full((1, 3), np.nan), np.full((1, 3, 3), np.inf)).any()
