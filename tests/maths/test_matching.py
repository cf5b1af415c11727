"""Particles scored against projections: planted views and poses come back, however they are shrunk, masked, filtered or
searched first.
"""

import numpy as np
import pytest

from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.rotations import rotation_from_eman
from mpirefine.maths.eman2.aligners.catalogue import ALIGNERS
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.comparators.catalogue import CMPS
from mpirefine.maths.eman2.poses import Alignment, move_images
from mpirefine.maths.eman2.processors.curves import exact_spectrum
from mpirefine.maths.eman2.projectors import standard
from mpirefine.maths.eman2.radial import radial_mean
from mpirefine.maths.eman2.similarity import (
    FAILED,
    LEAST_BOX,
    NOT_COMPUTED,
    Comparison,
    ReferenceStack,
    Search,
    match_spectra,
    reach,
    shrink_box,
    shrink_images,
)
from mpirefine.maths.image.phantom import states
from mpirefine.registry import Component

NX, APIX = 32, 4.0
ABOUT = About(APIX)
FLIP, CCC, REFINE = ALIGNERS.build("rotate_translate_flip:maxshift=4"), CMPS.build("ccc"), ALIGNERS.build("refine")
TWO_STEPS = Comparison(CCC, FLIP, CCC, REFINE, CCC)


@pytest.fixture(scope="module")
def references():
    """Projections of a lopsided map from ten directions."""
    volume = states(NX, 1, np.random.default_rng(8))[0]
    alt = np.array([0.0, 40, 40, 40, 75, 75, 75, 88, 88, 88])
    az = np.array([0.0, 10, 130, 250, 60, 180, 300, 20, 140, 260])
    images = standard(volume, rotation_from_eman(az, alt, np.zeros(10)), None, APIX)
    return (images / images.std()).astype(np.float32)


def particles(references, rng, count=8, noise=0.5, shift=2.0):
    """Noisy moved copies, which reference each is of, and what takes it back."""
    which = rng.permutation(len(references))[:count]
    poses = Alignment.of(
        rng.uniform(-180, 180, count), *rng.uniform(-shift, shift, (2, count)), rng.random(count) < 0.5
    )
    images = move_images(references[which], poses)
    return images + noise * rng.standard_normal(images.shape).astype(np.float32), which, poses.inverse()


def mask(radius=12):
    y, x = np.mgrid[:NX, :NX] - NX // 2
    return (x * x + y * y <= radius * radius).astype(np.float32)


@pytest.mark.parametrize(
    "search",
    [
        Search(TWO_STEPS),
        Search(TWO_STEPS, shrink=2),
        Search(TWO_STEPS, shrink=1.7),
        Search(TWO_STEPS, mask=mask()),
        Search(TWO_STEPS, mask=mask(), shrink=2, first=2, kept=4),
        Search(TWO_STEPS, first=2, kept=4),
        Search(TWO_STEPS, first=1, kept=4, shrink=1.5),
        Search(TWO_STEPS, prefilt=True),
        Search(Comparison(CMPS.build("frc:maxres=12"), FLIP, CCC)),
    ],
    ids=[
        "all",
        "half",
        "odd factor",
        "mask",
        "mask and half",
        "first search",
        "first not coarser",
        "prefilt",
        "frc, one aligner",
    ],
)
def test_the_right_reference_wins_and_its_pose_comes_back(references, rng, search):
    images, which, true = particles(references, rng)
    made, won = ReferenceStack(references, search), []
    for image, right, alpha, tx, ty, mirror in zip(images, which, true.alpha, true.tx, true.ty, true.mirror):
        found = made.scores(image, ABOUT)
        won.append(int(found.score.argmin()) == right)
        pose = found.alignment.take([right])
        assert pose.mirror[0] == mirror and abs((pose.alpha[0] - alpha + 180) % 360 - 180) < 6
        assert (
            np.hypot(pose.tx[0] - tx, pose.ty[0] - ty) < 0.7
        )  # whole pixels of the file, however coarsely it was scored
        back = move_images(image[None], pose)[0]
        assert np.corrcoef((back * mask()).ravel(), (references[right] * mask()).ravel())[0, 1] > 0.75
    assert all(won)


def test_the_score_is_that_of_the_moved_reference_within_the_mask(references, rng):
    images, _, _ = particles(references, rng, 1)
    for search in (
        Search(TWO_STEPS),
        Search(TWO_STEPS, mask=mask(9)),
        Search(Comparison(CMPS.build("sqeuclidean:normto=1"), FLIP, CCC), mask=mask(9)),
    ):
        found = ReferenceStack(references, search).scores(images[0], ABOUT)
        placed, particle = move_images(references, found.alignment.inverse()), images[0]
        if search.mask is not None:
            placed, particle = placed * search.mask, particle * search.mask
        np.testing.assert_allclose(found.score, search.comparison.cmp(particle, placed, ABOUT), atol=1e-5)


def test_a_second_aligner_only_improves(references, rng):
    images, _, _ = particles(references, rng, 3)
    plain, better = (ReferenceStack(references, Search(m)) for m in (Comparison(CCC, FLIP, CCC), TWO_STEPS))
    for image in images:
        first, second = plain.scores(image, ABOUT).score, better.scores(image, ABOUT).score
        assert (second <= first + 1e-9).all() and second.min() < first.min()


def test_what_the_first_search_leaves_out(references, rng):
    """Those cells are a little above the worst of the row and hold no pose; the others are as without it, and the right
    one is among them.
    """
    images, which, _ = particles(references, rng)
    whole, part = (
        ReferenceStack(references, Search(TWO_STEPS)),
        ReferenceStack(references, Search(TWO_STEPS, first=2, kept=4)),
    )
    for image, right in zip(images, which):
        everything, found = whole.scores(image, ABOUT), part.scores(image, ABOUT)
        worst = np.sort(found.score)[3]
        assert worst < 0  # as with all correlations: 0 would be far above it
        left_out = found.score > worst
        assert left_out.sum() == len(references) - 4 and not left_out[right]
        np.testing.assert_allclose(found.score[left_out], worst + NOT_COMPUTED, atol=1e-9)
        np.testing.assert_allclose(found.score[~left_out], everything.score[~left_out], atol=1e-5)
        assert not found.alignment.tx[left_out].any() and not found.alignment.alpha[left_out].any()


def test_constant_references_are_never_the_best(references, rng):
    images, which, _ = particles(references, rng, 2)
    some = np.concatenate([np.full((1, NX, NX), 3, np.float32), references, np.zeros((1, NX, NX), np.float32)])
    for first in (0, 2):
        found = ReferenceStack(some, Search(TWO_STEPS, first=first, kept=6)).scores(images[0], ABOUT)
        assert found.score.argmin() == which[0] + 1
        np.testing.assert_allclose(found.score[[0, -1]], np.sort(found.score)[-3 if not first else 5] + NOT_COMPUTED)
    nothing = ReferenceStack(some[[0, -1]], Search(TWO_STEPS)).scores(images[0], ABOUT)
    assert np.isinf(nothing.score).all() and len(nothing.alignment) == 2


def test_what_cannot_be_compared_is_the_worst(references, rng):
    def never(particle, reference, about):
        return np.where(np.arange(len(reference)) % 2, np.nan, -1.0)

    images, _, _ = particles(references, rng, 1)
    found = ReferenceStack(references, Search(Comparison(Component("never", never), FLIP, CCC))).scores(
        images[0], ABOUT
    )
    assert (found.score[1::2] == FAILED).all() and (found.score[::2] == -1).all()


@pytest.mark.parametrize("cmp", ["frc:snrweight=1", "optsub:ctfweight=1", "phase:snrweight=1"])
def test_what_is_known_of_the_particle_fits_the_shrunk_box(references, rng, cmp):
    """Rings and coefficients of SNR and CTF go with the box; the finest rings are not in a shrunk image at all."""
    snr = tuple(np.exp(-np.arange(17.0) / 4))
    ctf = EmanCTF(1.2, apix=APIX, dsbg=1 / (APIX * NX), background=(1.0,) * 17, snr=snr)
    images, which, _ = particles(references, rng, 4)
    matching, about = Comparison(CMPS.build(cmp), FLIP, CCC, REFINE, CCC), About.of([ctf], NX, APIX)
    for shrink in (1, 2):
        made = ReferenceStack(references, Search(matching, shrink=shrink))
        found = [made.scores(image, about).score for image in images]
        assert (np.argmin(found, axis=1) == which).mean() >= 0.75
        assert np.isfinite(found).all()


def test_shrinking_keeps_mean_and_centre(rng):
    """Boxes are even, so that the centre stays the centre: a blob on it keeps its place."""
    y, x = np.mgrid[:NX, :NX] - NX // 2
    blob = (np.exp(-(x * x + y * y) / 18.0) + 0.25).astype(np.float32)
    for factor in (1, 1.4, 2, 2.6, 5):
        small = shrink_images(blob[None], factor)[0]
        box = shrink_box(NX, factor)
        assert small.shape == (box, box) and box % 2 == 0 and box >= LEAST_BOX
        assert small.mean() == pytest.approx(blob.mean(), rel=1e-5)
        assert np.unravel_index(small.argmax(), small.shape) == (box // 2, box // 2)
        assert small.max() == pytest.approx(blob.max(), rel=0.02)


def test_a_matched_reference_has_the_power_of_the_particle(references, rng):
    """Within its own support: what lies outside of it stays 0."""
    disc = references * mask(11)
    particle = rng.standard_normal((NX, NX)).astype(np.float32)
    found = match_spectra(disc, particle, APIX)
    assert (found[disc == 0] == 0).all()
    power = [radial_mean(np.abs(exact_spectrum(image)) ** 2)[2:10].mean() for image in (found[0], disc[0], particle)]
    assert 0.3 < power[0] / power[2] < 1.1 and not 0.3 < power[1] / power[2] < 1.1


@pytest.mark.parametrize(
    "name, shift, flip",
    [
        ("rotate_translate_flip", 16, True),
        ("rotate_translate:maxshift=3", 3, False),
        ("rotational", 0, False),
        ("rotate_flip", 0, True),
        ("rtf_exhaustive", 16, True),
        ("rotate_translate_tree:flip=0", 16, False),
    ],
)
def test_the_first_search_reaches_what_the_aligner_does(name, shift, flip):
    assert reach(ALIGNERS.build(name), 64) == (shift, flip)


@pytest.mark.parametrize(
    "name, traits",
    [
        ("translational", {"shifts"}),
        ("rotate_flip", {"mirrors"}),
        ("rotate_translate_tree", {"shifts", "mirrors"}),
        ("rotate_translate_tree:flip=0", {"shifts"}),
        ("refine", {"shifts"}),
    ],
)
def test_aligners_declare_what_they_do(name, traits):
    assert ALIGNERS.build(name).traits == traits
