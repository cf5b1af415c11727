"""Comparators: values that can be written down, what makes them better, masks, errors."""

import numpy as np
import pytest
from scipy import ndimage

from mpirefine.data.emanctf import EmanCTF
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.comparators.catalogue import CMPS
from mpirefine.maths.eman2.comparators.fourier import band
from mpirefine.maths.eman2.radial import independent, radial_means, spread_curve

ABOUT = About(2.0)
BETTER_WITH_LESS_NOISE = [
    "dot:normalize=1",
    "ccc",
    "sqeuclidean",
    "sqeuclidean:normto=1",
    "lod:normalize=1",
    "quadmindot:normalize=1",
    "phase",
    "frc",
    "optsub",
    "optvariance:matchfilt=0:invert=1",
]


@pytest.fixture
def signal(rng):
    return ndimage.gaussian_filter(rng.standard_normal((32, 32)), 1.5).astype(np.float32) * 5 + 1


@pytest.mark.parametrize("text", BETTER_WITH_LESS_NOISE)
def test_smaller_is_better(text, rng, signal):
    noise = rng.standard_normal((40, 32, 32)).astype(np.float32)
    level = np.linspace(0.05, 3, 40, dtype=np.float32)
    values = CMPS.build(text)(signal + level[:, None, None] * noise, signal, ABOUT)
    assert values.dtype == np.float64 and values.shape == (40,)
    assert np.corrcoef(values, level)[0, 1] > 0.6 and values[:5].mean() < values[-5:].mean()


def test_values_of_equal_images(signal):
    for text, wanted in (
        ("dot:normalize=1", -1),
        ("ccc", -1),
        ("ccc:negative=0", 1),
        ("sqeuclidean", 0),
        ("lod", 0),
        ("phase", 0),
        ("frc", -1),
        ("quadmindot:normalize=1", -1),
    ):
        assert CMPS.build(text)(signal, signal, ABOUT)[0] == pytest.approx(wanted, abs=1e-6), text


def test_what_scaling_leaves_alone(rng, signal):
    other = signal + rng.standard_normal(signal.shape).astype(np.float32)
    for text in ("ccc", "lod:normalize=1", "phase", "frc", "sqeuclidean:normto=1"):
        comparator = CMPS.build(text)
        scaled = 3 * other if text in ("phase", "frc") else 3 * other + 2
        assert comparator(signal, scaled, ABOUT)[0] == pytest.approx(comparator(signal, other, ABOUT)[0], rel=2e-3), (
            text
        )


def test_blank_images_are_never_best(signal):
    blank = np.zeros((1, 32, 32), np.float32)
    for name in ("dot:normalize=1", "ccc", "frc", "sqeuclidean:zeromask=1"):
        comparator = CMPS.build(name)
        value = comparator(signal, blank, ABOUT)[0]
        assert np.isfinite(value) and value > comparator(signal, signal, ABOUT)[0]
    assert CMPS.build("ccc")(signal, blank, ABOUT)[0] == 2 and CMPS.build("frc")(signal, blank, ABOUT)[0] == 2


def test_zeromask_leaves_out_zeros(rng, signal):
    hidden, junk = np.zeros((32, 32), bool), rng.standard_normal((32, 32)).astype(np.float32)
    hidden[:10] = True
    reference = np.where(hidden, 0, signal)
    for name in ("sqeuclidean", "frc", "phase"):
        with_junk = CMPS.build(f"{name}:zeromask=1")(np.where(hidden, junk, signal), reference, ABOUT)
        assert with_junk[0] == pytest.approx(CMPS.build(name)(reference, reference, ABOUT)[0], abs=1e-6)


def test_masks_count_only_their_pixels(rng, signal):
    mask = (rng.random((32, 32)) < 0.4).astype(np.float32)
    inside = mask > 0.5
    other = rng.standard_normal((3, 32, 32)).astype(np.float32)
    found = CMPS.build("ccc:mask=m", lambda name: mask)(other, signal, ABOUT)
    np.testing.assert_allclose(found, [-np.corrcoef(o[inside], signal[inside])[0, 1] for o in other], atol=1e-6)
    with pytest.raises(ParameterError, match="mask"):
        CMPS.build("ccc:mask=m", lambda name: mask[:5])(other, signal, ABOUT)


def test_bands():
    rings = np.arange(40)
    np.testing.assert_array_equal(band(rings, 0, 0), np.ones(40))
    weight = band(rings, 5, 20)
    assert weight[5] == pytest.approx(0.5, abs=1e-6) and weight[20] == pytest.approx(0.5, abs=1e-6)
    assert weight[0] < 1e-4 and weight[30] < 1e-4 and weight[12] > 0.99


def test_limits_see_only_their_rings(rng, signal):
    """Noise beyond maxres does not matter."""
    fine = ndimage.gaussian_filter(rng.standard_normal((32, 32)), 0).astype(np.float32)
    fine -= ndimage.gaussian_filter(fine, 1.5)
    coarse = CMPS.build("frc:maxres=16")(signal + 2 * fine, signal, ABOUT)[0]
    assert coarse < CMPS.build("frc:maxres=0")(signal + 2 * fine, signal, ABOUT)[0] - 0.1


def test_what_needs_a_ctf(signal):
    for text in ("frc:snrweight=1", "phase:snrweight=1", "optsub:ctfweight=1"):
        with pytest.raises(ParameterError, match="CTF"):
            CMPS.build(text)(signal, signal, ABOUT)
    with pytest.raises(ParameterError, match="exclude"):
        CMPS.build("phase:snrweight=1:snrfn=1")(signal, signal, ABOUT)
    no_curve = About.of([EmanCTF(1.0, apix=2.0)], 32, 2.0)
    assert no_curve.snr is None and np.isfinite(CMPS.build("optsub:ctfweight=1")(signal, signal, no_curve)).all()


def test_about_takes_rows():
    about = About.of([EmanCTF(float(i), snr=(float(i), 1.0), apix=2.0) for i in (1, 2, 3)], 16, 2.0, np.arange(3.0))
    part = about.take([2, 0])
    assert part.snr[:, 0].tolist() == [3, 1] and part.count.tolist() == [2, 0] and part.intensity.shape == (2, 16, 9)
    assert About(1.0, snr=np.ones(8), count=5.0).take([0, 0]).snr.shape == (8,)


def test_shapes_that_do_not_fit(signal):
    with pytest.raises(ParameterError):
        CMPS.build("ccc")(np.zeros((2, 32, 32)), np.zeros((3, 32, 32)), ABOUT)
    with pytest.raises(ParameterError):
        CMPS.build("ccc")(signal, signal[:16, :16], ABOUT)


@pytest.mark.parametrize("nx", [16, 17])
def test_rings(nx):
    """Every coefficient within Nyquist counts once, conjugates together; a profile of ones is one; a curve spread and
    profiled is itself.
    """
    places, starts = independent(nx)
    assert len(np.unique(places)) == len(places) and np.all(np.diff(starts) > 0)
    ones = np.ones((2, nx, nx // 2 + 1))
    np.testing.assert_allclose(radial_means(ones), 1)
    np.testing.assert_allclose(spread_curve(np.ones((3, nx // 2)), ones.shape[1:]), 1)
    line = spread_curve(np.arange(nx // 2, dtype=float), ones.shape[1:])
    assert line[0, 0] == 0 and line[1, 0] == pytest.approx(1) and line[2, 0] == pytest.approx(2)
