"""Class averages of planted copies: the image comes back, bad particles are left out, halves, grey scale, CTF."""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.rotations import rotation_from_eman
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.aligners.catalogue import ALIGNERS
from mpirefine.maths.eman2.averagers import AVERAGERS
from mpirefine.maths.eman2.class_averaging import (
    ClassMembers,
    Rounds,
    average_class,
    best_particles,
    class_quality,
    next_target,
    ssnr,
)
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.comparators.catalogue import CMPS
from mpirefine.maths.eman2.ctf import phase_flip
from mpirefine.maths.eman2.poses import Alignment, move_images
from mpirefine.maths.eman2.processors.catalogue import PROCESSORS
from mpirefine.maths.eman2.processors.curves import exact_spectrum
from mpirefine.maths.eman2.projectors import standard
from mpirefine.maths.eman2.radial import radial_mean
from mpirefine.maths.eman2.similarity import Comparison
from mpirefine.maths.image.phantom import states
from mpirefine.registry import Component

NX, APIX = 32, 4.0
ABOUT = About(APIX)
CCC = CMPS.build("ccc")
ROUNDS = Rounds(
    Comparison(CCC, ALIGNERS.build("rotate_translate_flip:maxshift=4"), CCC, ALIGNERS.build("refine"), CCC),
    AVERAGERS.build("mean"),
    keep=1.0,
    normproc=PROCESSORS.build("normalize.edgemean"),
)


@pytest.fixture(scope="module")
def scene():
    """A projection, smoothed less than the reference that is given for it."""
    volume = states(NX, 1, np.random.default_rng(8))[0]
    image = standard(volume, rotation_from_eman([40.0], [60.0], [0.0]), None, APIX)[0]
    image /= image.std()
    spectrum = exact_spectrum(image)
    radius = np.hypot(np.fft.fftfreq(NX)[:, None], np.fft.rfftfreq(NX))
    blurred = np.fft.irfft2(spectrum * np.exp(-((radius / 0.15) ** 2)), s=image.shape).astype(np.float32)
    return image, blurred


def members(image, rng, count, noise=1.0, ctfs=None):
    """Moved noisy copies and what takes them back."""
    poses = Alignment.of(rng.uniform(-180, 180, count), *rng.uniform(-2, 2, (2, count)), rng.random(count) < 0.5)
    images = move_images(image[None], poses)
    if ctfs is not None:
        images = np.stack([seen_through(one, ctf) for one, ctf in zip(images, ctfs)])
    images = images + noise * rng.standard_normal(images.shape).astype(np.float32)
    if ctfs is not None:
        images = np.stack([phase_flip(one, ctf) for one, ctf in zip(images, ctfs)])
    return ClassMembers(images, images, ctfs, np.arange(count) % 2), poses.inverse()


def seen_through(image, ctf):
    from mpirefine.maths.eman2.ctf import ctf_image as of

    return np.fft.irfft2(np.fft.rfft2(image) * of(ctf, "AMP", NX), s=image.shape).astype(np.float32)


def likeness(a, b, radius=12):
    y, x = np.mgrid[:NX, :NX] - NX // 2
    inside = x * x + y * y <= radius * radius
    return np.corrcoef(a[inside], b[inside])[0, 1]


@pytest.mark.parametrize(
    "how",
    [
        ROUNDS,
        replace(ROUNDS, iterations=0),
        replace(ROUNDS, iterations=3),
        replace(ROUNDS, automask=True),
        replace(ROUNDS, prefilt=True),
        replace(ROUNDS, normproc=None),
        replace(ROUNDS, averager=AVERAGERS.build("median")),
    ],
    ids=["one round", "reference only", "three rounds", "automask", "prefilt", "not normalised", "median"],
)
def test_the_image_comes_back(scene, rng, how):
    image, reference = scene
    own, true = members(image, rng, 16)
    made = average_class(own, reference, how, ABOUT)
    # each particle has as much noise as signal within the molecule and far more at its edge; the blurred reference
    # lacks the fine part
    assert (
        likeness(made.image, image)
        > 0.97
        > likeness(own.images[0], move_images(image[None], true.inverse().take([0]))[0])
    )
    assert likeness(made.image, image) > likeness(reference, image) - 0.02
    assert made.used.all() and (made.alignment.mirror == true.mirror).all()
    angle = (made.alignment.alpha - true.alpha + 180) % 360 - 180
    shift = np.hypot(made.alignment.tx - true.tx, made.alignment.ty - true.ty)
    assert np.median(np.abs(angle)) < 4 and np.median(shift) < 0.5
    assert made.quality.shape == (16,) and (made.quality < -0.3).all()


def test_averages_that_fall_off_at_the_edge(scene, rng):
    """--decayedge: within 14 of 16 pixels a scaled copy, 1/e a pixel further out, nearly 0 in the corners; of the
    halves too, and poses and qualities do not change.
    """
    image, reference = scene
    own, _ = members(image, rng, 8)
    own.half[:] = 0
    plain, made = (average_class(own, reference, replace(ROUNDS, decayedge=on), ABOUT) for on in (False, True))
    y, x = np.mgrid[:NX, :NX] - NX // 2
    r = np.hypot(x, y)
    ring = plain.image[(r >= 14) & (r < 16)].mean()
    flat = (plain.image - ring) / plain.image.std(ddof=1)
    np.testing.assert_allclose(made.image, flat * np.exp(-(np.maximum(r - 14, 0) ** 2)), atol=1e-5)
    assert np.abs(made.image[r > 17]).max() < 1e-3 < np.abs(flat[r > 17]).max()
    np.testing.assert_allclose(made.halves[0], made.image, atol=1e-5)
    assert not made.halves[1].any()  # a half without particles stays blank
    np.testing.assert_array_equal(made.alignment.alpha, plain.alignment.alpha)
    assert made.class_quality == plain.class_quality and (made.ssnr == plain.ssnr).all()


def test_bad_particles_are_left_out(scene, rng):
    """Noise alone is, by share and by sigma, and the average is nearly what it is without them."""
    image, reference = scene
    own, _ = members(image, rng, 20)
    bad = np.array([3, 8, 9, 17])
    own.images[bad] = 1.5 * rng.standard_normal((4, NX, NX))
    for how in (replace(ROUNDS, keep=0.75), replace(ROUNDS, keep=1.0, keep_sigma=True)):
        made = average_class(own, reference, how, ABOUT)
        assert not made.used[bad].any() and made.used.sum() >= 14
        clean = average_class(
            ClassMembers(*(v[made.used] for v in (own.images, own.images)), None, own.half[made.used]),
            reference,
            replace(how, keep=1.0, keep_sigma=False),
            ABOUT,
        )
        assert likeness(made.image, clean.image) > 0.975
        assert made.quality[bad].min() > made.quality[made.used].max()


@pytest.mark.parametrize("keep, wanted", [(0.5, 6), (0.9, 10), (1.0, 10), (0.05, 1), (0.84, 9)])
def test_the_share_that_is_kept(keep, wanted):
    """EMAN2's threshold is the int(n · keep)-th quality counted from 0, and what equals it stays."""
    quality = np.array([5.0, 1, 3, 2, 9, 4, 7, 6, 8, 0])
    found = best_particles(quality, keep, False)
    assert found.sum() == wanted and (quality[found] < wanted).all()


def test_the_sigma_that_is_kept():
    quality = np.array([0.0, 0, 0, 0, 0, 0, 0, 0, 0, 10])
    assert best_particles(quality, 1.0, True).tolist() == [True] * 9 + [False]  # mean 1, sigma 3
    assert best_particles(quality, 3.0, True).all()
    assert best_particles(quality, -5.0, True).tolist() == [True] * 9 + [False]  # all are out: the best return
    assert best_particles(np.array([2.0]), 0.5, False).tolist() == [True]


def test_one_particle(scene, rng):
    image, reference = scene
    own, true = members(image, rng, 1, noise=0.3)
    for how in (ROUNDS, replace(ROUNDS, iterations=0, keep=0.1), replace(ROUNDS, keep=-2.0, keep_sigma=True)):
        made = average_class(own, reference, how, ABOUT)
        assert made.used.tolist() == [True] and likeness(made.image, image) > 0.95
        assert not made.halves[1].any() and likeness(made.halves[0], made.image) > 0.9999


def test_halves_are_of_their_own_particles(scene, rng):
    """On the poses of the whole; with all in one half the other is blank."""
    image, reference = scene
    own, _ = members(image, rng, 13)
    own = replace(own, half=np.array([0] * 5 + [1] * 8))
    plain = replace(ROUNDS, normproc=None, keep=0.8)
    made = average_class(own, reference, plain, ABOUT)
    placed = move_images(own.images, made.alignment)
    for half in (0, 1):
        rows = made.used & (own.half == half)
        assert np.corrcoef(made.halves[half].ravel(), placed[rows].mean(axis=0).ravel())[0, 1] > 0.99999
    assert np.corrcoef(made.image.ravel(), placed[made.used].mean(axis=0).ravel())[0, 1] > 0.99999
    assert not average_class(replace(own, half=np.ones(13, int)), reference, plain, ABOUT).halves[0].any()


def test_the_grey_scale_is_that_of_the_reference(scene, rng):
    """However the particles are scaled."""
    image, reference = scene
    own, _ = members(image, rng, 12, noise=0.5)
    for gain, offset in ((1, 0), (50, 1000)):
        scaled = ClassMembers(gain * own.images + offset, gain * own.images + offset, None, own.half)
        made = average_class(scaled, 7 * reference - 3, ROUNDS, ABOUT)
        slope, constant = np.polyfit(made.image.ravel(), (7 * reference - 3).ravel(), 1)
        assert slope == pytest.approx(1, abs=0.15) and constant == pytest.approx(0, abs=0.6)


def test_the_structure_factor_of_the_reference(scene, rng):
    """With refsf its rings have the reference's power, and its edge is at 0."""
    image, reference = scene
    own, _ = members(image, rng, 12)
    power = [
        radial_mean(np.abs(exact_spectrum(a)) ** 2)[2:6]
        for a in (average_class(own, reference, replace(ROUNDS, refsf=True), ABOUT).image, reference)
    ]
    np.testing.assert_allclose(power[0], power[1], rtol=0.25)  # rings fall to a quarter from one to the next
    made = average_class(own, reference, replace(ROUNDS, refsf=True), ABOUT).image
    edge = np.concatenate([made[0], made[-1], made[:, 0], made[:, -1]]).mean()
    assert abs(edge) < 1e-4 * made.std() and likeness(made, image) > 0.9


def test_between_rounds_the_surroundings_are_masked(rng):
    y, x = np.mgrid[:48, :48] - 24
    radius = np.hypot(x, y)
    average = (3 * np.exp(-(radius**2) / 30) + 0.02 * rng.standard_normal((48, 48)) + 5).astype(np.float32)
    soft, auto = (next_target(average, replace(ROUNDS, automask=automask), ABOUT) for automask in (False, True))
    assert np.abs(soft[radius > 30]).max() < 1e-3
    inner = radius < 18
    assert np.corrcoef(soft[inner], average[inner])[0, 1] > 0.9999
    scale = soft[24, 24] / 3  # the circle's mean is 0 now, the image's sigma 1
    np.testing.assert_allclose(soft[inner], scale * (average[inner] - 5), atol=0.1 * scale)
    assert auto[24, 24] == pytest.approx(soft[24, 24], rel=1e-3)
    assert np.abs(auto[radius > 18]).mean() < 0.4 * np.abs(soft[(radius > 18) & (radius < 23)]).mean()


def test_an_average_that_drifts_is_brought_back_to_the_projection(scene, rng):
    """The second of three alignments goes wrong by two pixels for all particles; the last one is to the average of
    it.
    """
    image, reference = scene
    own, true = members(image, rng, 12, noise=0.5)
    calls = []

    def drifting(*args):
        found = ROUNDS.comparison.align(*args)
        calls.append(len(args[0]))
        matrix = found.matrix()
        matrix[:, 0, 2] += 2.0 * (len(calls) == 2)
        return Alignment.from_matrix(matrix)

    matching = Comparison(CCC, Component("drifting", drifting), CCC)
    made = average_class(own, reference, replace(ROUNDS, comparison=matching, iterations=2), ABOUT)
    assert calls == [12, 12, 12, 1]
    assert (
        np.median(np.hypot(made.alignment.tx - true.tx, made.alignment.ty - true.ty)) < 0.8
        and likeness(made.image, image) > 0.95
    )


def test_filtered_twins_are_aligned_and_the_originals_averaged(scene, rng):
    """Twins of which nothing but noise was taken away find poses that the originals would not; the average is of the
    originals' grey values.
    """
    image, reference = scene
    own, true = members(image, rng, 10, noise=4.0)
    twins = move_images(image[None], true.inverse()) + 0.2 * rng.standard_normal(own.images.shape).astype(np.float32)
    made = average_class(replace(own, scored=twins), reference, replace(ROUNDS, normproc=None, iterations=0), ABOUT)
    angle = (made.alignment.alpha - true.alpha + 180) % 360 - 180
    assert (made.alignment.mirror == true.mirror).all() and np.abs(angle).max() < 3
    assert np.corrcoef(made.image.ravel(), move_images(own.images, made.alignment).mean(axis=0).ravel())[0, 1] > 0.99999


def ctfs_of(rng, count):
    """Particles of different defocus, with an SNR curve."""
    return [
        EmanCTF(d, apix=APIX, dsbg=1 / (APIX * NX), background=(1.0,) * 17, snr=tuple(3 * np.exp(-np.arange(17.0) / 5)))
        for d in rng.uniform(0.8, 2.5, count)
    ]


@pytest.mark.parametrize("raligncmp, cmp", [("ccc", "ccc"), ("frc:snrweight=1:zeromask=1", "frc:snrweight=1")])
def test_the_ctf_is_corrected(scene, rng, raligncmp, cmp):
    """With comparators that weight by the SNR too, as e2refinemulti chooses them; the average has an SNR curve of its
    own.
    """
    image, reference = scene
    ctfs = ctfs_of(rng, 12)
    own, _ = members(image, rng, 12, noise=0.3, ctfs=ctfs)
    matching = Comparison(
        CMPS.build(cmp), ROUNDS.comparison.align, CCC, ROUNDS.comparison.ralign, CMPS.build(raligncmp)
    )
    about = About.of(ctfs, NX, APIX)
    plain, corrected = (
        average_class(
            own, reference, Rounds(matching, AVERAGERS.build(name), keep=0.9, normproc=ROUNDS.normproc), about
        )
        for name in ("mean", "ctf.auto")
    )
    assert (
        likeness(corrected.image, image) > 0.93
        and likeness(corrected.image, image) > likeness(plain.image, image) + 0.02
    )
    assert corrected.snr_total.shape == (NX // 2,) and corrected.snr_total[1] > corrected.snr_total[8] > 0
    assert corrected.wiener_filtered is False and plain.snr_total is None


def test_a_ctf_averager_needs_a_ctf(scene, rng):
    own, _ = members(scene[0], rng, 3)
    with pytest.raises(ParameterError, match="ctf.auto needs a CTF"):
        average_class(own, scene[1], replace(ROUNDS, averager=AVERAGERS.build("ctf.auto")), ABOUT)


def test_the_signal_to_noise_ratio_of_a_curve():
    """f / (1 − f) of the mean over nine rings, the ends repeated: a constant gives itself, a step its ramp."""
    np.testing.assert_allclose(ssnr(np.full(17, 0.6)), 1.5)
    step = np.where(np.arange(17) < 8, 1.0, 0.0)
    f = ssnr(step) / (1 + ssnr(step))
    np.testing.assert_allclose(f[[4, 5, 8, 11, 12]], [8 / 9, 7 / 9, 4 / 9, 1 / 9, 0], atol=1e-9)
    np.testing.assert_allclose(f[[0, 16]], [0.999, 0], atol=1e-3)


def test_the_quality_of_a_class(scene, rng):
    """1 for the reference itself; less where the fine part of it is noise; 0 where even the coarse part is wrong."""
    image = scene[0]
    assert class_quality(3 * image + 2, image, APIX) == pytest.approx(1, abs=1e-4)
    noisy = [class_quality(image + noise * rng.standard_normal(image.shape), image, APIX) for noise in (0.05, 0.3, 3)]
    assert 1 > noisy[0] > noisy[1] > noisy[2] - 0.2
    assert class_quality(-image, image, APIX) == 0
