"""Processors on images whose answer is known: waves, Gaussians, dots, steps."""

import inspect

import numpy as np
import pytest

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.processors.catalogue import PROCESSORS, apply
from mpirefine.maths.eman2.processors.curves import exact_spectrum
from mpirefine.maths.eman2.processors.fitted_filters import wiener_curve
from mpirefine.maths.eman2.radial import radial_mean
from mpirefine.registry import Component

SHAPES = [(24, 24), (25, 25), (20, 27), (16, 16, 16), (15, 17, 14)]
FLAT = (
    "xform.transpose",
    "mask.auto2d",
    "mask.decayedge2d",
    "mask.zeroedge2d",
    "normalize.rows",
    "normalize.ramp.normvar",
    "filter.ramp",
)
SOLID = ("mask.auto3d", "mask.auto3d.thresh", "mask.zeroedge3d")
NEEDED = {
    "filter.bandpass.gauss": dict(center=0.2, cutoff_abs=0.1),
    "filter.lowpass.autob": dict(noisecutoff=0.2),
    "filter.wiener.byfsc": dict(fscfile="fsc"),
    "filter.bandpass.tanh": dict(
        low_cutoff_frequency=0.1, high_cutoff_frequency=0.3, Low_fall_off=0.1, high_fall_off=0.1
    ),
    "filter.bandpass.tophat": dict(low_cutoff_frequency=0.1, high_cutoff_frequency=0.3),
    "filter.matchto": dict(to="image"),
    "filter.setstrucfac": dict(strucfac="curve"),
    "filter.setisotropicpow": dict(strucfac="curve"),
    "mask.ringmean": dict(outer_radius=5),
    "mask.auto3d.thresh": dict(threshold1=1.0, threshold2=0.5),
    "math.meanshrink": dict(n=2),
    "math.medianshrink": dict(n=2),
    "math.fft.resample": dict(n=1.5),
    "normalize.toimage": dict(to="image"),
    "normalize.mask": dict(mask="ball"),
    "normalize.bymass": dict(mass=5.0),
    "threshold.binaryrange": dict(low=0.0, high=1.0),
    "threshold.compress": dict(range=0.5),
    "xform.scale": dict(scale=1.2),
    "xform.translate.int": dict(trans="1,2"),
}
CURVE = np.column_stack([np.linspace(0.002, 0.3, 60), np.exp(-np.linspace(0.002, 0.3, 60) * 20)])
ARRAYS = {
    "curve": lambda s, rng: CURVE,
    "fsc": lambda s, rng: np.column_stack([np.arange(1, 21) / 80, np.linspace(1, -0.05, 20)]),
    "image": lambda s, rng: rng.standard_normal(s).astype(np.float32),
    "ball": lambda s, rng: (distance(s) < 5).astype(np.float32),
}


def distance(shape):
    return np.sqrt(sum((a - n // 2) ** 2 for a, n in zip(np.ogrid[tuple(slice(n) for n in shape)], shape)))


def process(text, image, apix=2.0, **arrays):
    return apply(PROCESSORS.build(text, lambda name: arrays[name]), np.asarray(image, np.float32), apix)[0]


def wave(shape, *cycles):
    """A cosine of so many cycles per box in x, y, z order."""
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    phase = sum(c * a / n for c, a, n in zip(cycles, axes[::-1], shape[::-1]))
    return np.cos(2 * np.pi * np.broadcast_to(phase, shape)).astype(np.float32)


def blob(shape, sigma, shift=(0.0, 0.0, 0.0)):
    """A Gaussian at n // 2 plus shift, x, y, z order."""
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return np.exp(
        -sum((a - n // 2 - s) ** 2 for a, n, s in zip(axes[::-1], shape[::-1], shift)) / (2 * sigma**2)
    ).astype(np.float32)


@pytest.mark.parametrize("name", list(PROCESSORS))
def test_each_explains_itself(name):
    """What it is called in EMAN2, and what each parameter means."""
    text = inspect.getdoc(PROCESSORS.function(name))
    assert text.splitlines()[0].endswith(".") and f"EMAN2's {name}:" in text
    assert not [key for key in PROCESSORS.parameters(name) if f"`{key}`" not in text]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", list(PROCESSORS))
def test_any_box_is_processed(name, shape, rng):
    """float32, finite, the input untouched, of the same box unless that is what the processor changes."""
    image = (rng.standard_normal(shape) + 3 * blob(shape, 3)).astype(np.float32)
    values = {k: ARRAYS[v](shape, rng) if v in ARRAYS else v for k, v in NEEDED.get(name, {}).items()}
    takes = PROCESSORS.parameters(name)
    if not values and "cutoff_abs" in takes:
        values = dict(cutoff_abs=0.2)
    before = image.copy()
    if (
        (name in FLAT and len(shape) == 3)
        or (name in SOLID and len(shape) == 2)
        or (name == "xform.scale" and len(set(shape)) > 1)
    ):
        with pytest.raises(ParameterError, match=name):
            apply(Component(name, PROCESSORS.function(name), values), image, 2.0)
        return
    made, apix = apply(Component(name, PROCESSORS.function(name), values), image, 2.0)
    assert made.dtype == np.float32 and np.isfinite(made).all() and made.ndim == image.ndim and apix > 0
    assert made.shape == shape or name in (
        "math.meanshrink",
        "math.medianshrink",
        "math.fft.resample",
        "xform.transpose",
        "xform.scale",
    )
    np.testing.assert_array_equal(image, before)


def test_normalised_images_have_the_moments_they_are_named_for(rng):
    image = 5 + 3 * rng.standard_normal((20, 30))
    assert process("normalize", image).mean() == pytest.approx(0, abs=1e-6) and process("normalize", image).std(
        ddof=1
    ) == pytest.approx(1)
    assert (process("normalize.unitlen", image) ** 2).sum() == pytest.approx(1, rel=1e-5)
    assert process("normalize.unitsum", image).sum() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(process("normalize.rows", image).mean(axis=1), 1, rtol=1e-5)
    assert process("normalize.lredge", image)[:, [0, 1, -2, -1]].mean() == pytest.approx(0, abs=1e-6)
    ring = process("normalize.circlemean:radius=5:width=3", image)[(distance((20, 30)) >= 5) & (distance((20, 30)) < 8)]
    assert ring.mean() == pytest.approx(0, abs=1e-6)
    inside = distance((20, 30)) < 6
    masked = [
        process(f"normalize.mask:mask=m:no_sigma={flag}", image, m=inside.astype(np.float32))[inside] for flag in (0, 1)
    ]
    np.testing.assert_allclose([m.mean() for m in masked], 0, atol=1e-5)
    np.testing.assert_allclose([m.std(ddof=1) for m in masked], [image[inside].std(ddof=1), 1], rtol=1e-5)
    np.testing.assert_array_equal(process("normalize", np.full((8, 8), 3.0)), 3)


def test_a_slope_is_removed(rng):
    y, x = np.mgrid[:20, :31]
    flat = process("filter.ramp", 3 * x - 0.5 * y + 7 + rng.standard_normal((20, 31)))
    assert np.abs(flat.mean(axis=0)).max() < 1.5 and flat.mean() == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(process("filter.ramp", 3 * x - 0.5 * y + 7), 0, atol=1e-4)


def test_a_grey_scale_is_recovered(rng):
    image = rng.standard_normal((12, 12, 12)).astype(np.float32)
    np.testing.assert_allclose(process("normalize.toimage:to=t", image, t=2.5 * image - 4), 2.5 * image - 4, atol=1e-5)
    np.testing.assert_allclose(
        process("normalize.toimage:to=t:fourieramp=1", image, t=2.5 * image), 2.5 * image, atol=1e-4
    )
    clipped = np.maximum(2.5 * image, 1)
    np.testing.assert_allclose(
        process("normalize.toimage:to=t:low_threshold=1.01", image, t=clipped), 2.5 * image, atol=1e-4
    )


@pytest.mark.parametrize("shape", [(32, 32), (32, 48), (33, 33), (16, 16, 16)])
@pytest.mark.parametrize(
    "filter, factor",
    [
        ("lowpass.gauss:cutoff_abs=0.2", lambda f: np.exp(-((f / 0.2) ** 2))),
        ("lowpass.gauss:sigma=0.2", lambda f: np.exp(-f * f / 0.08)),
        ("lowpass.gauss:cutoff_freq=0.1", lambda f: np.exp(-((f / 0.2) ** 2))),
        ("highpass.gauss:cutoff_abs=0.2", lambda f: 1 - np.exp(-((f / 0.2) ** 2))),
        ("lowpass.gauss:cutoff_freq=0.1:apix=1", lambda f: np.exp(-((f / 0.1) ** 2))),
        ("lowpass.tophat:cutoff_abs=0.2", lambda f: f <= 0.2),
        ("bandpass.gauss:cutoff_abs=0.1:center=0.3", lambda f: np.exp(-((f - 0.3) ** 2) / 0.02)),
        ("lowpass.tanh:cutoff_abs=0.2:fall_off=0.01", lambda f: f < 0.2),
        ("highpass.tanh:cutoff_abs=0.04:fall_off=0.01", lambda f: f > 0.2),
        (
            "bandpass.tanh:low_cutoff_frequency=0.08:high_cutoff_frequency=0.4:Low_fall_off=0.01:high_fall_off=0.01",
            lambda f: (f > 0.08) & (f < 0.4),
        ),
        ("bandpass.tophat:low_cutoff_frequency=0.1:high_cutoff_frequency=0.4", lambda f: (f > 0.1) & (f < 0.4)),
        ("lowpass.butterworth:low_cutoff_frequency=0.24:high_cutoff_frequency=0.245", lambda f: f < 0.24),
        ("highpass.butterworth:low_cutoff_frequency=0.24:high_cutoff_frequency=0.245", lambda f: f > 0.24),
    ],
)
def test_waves_are_damped_by_their_frequency(shape, filter, factor):
    for cycles in ((1, 0), (0, 2), (3, 3), (5, 0), (0, 7)):
        f = np.hypot(*(c / n for c, n in zip(cycles, shape[::-1])))
        np.testing.assert_allclose(
            process("filter." + filter, wave(shape, *cycles)), factor(f) * wave(shape, *cycles), atol=2e-3
        )


def test_butterworth_edges_are_those_of_the_bands():
    """At the pass frequency 1/√(1 + 0.882²), at the stop frequency 1/10.624."""
    for cycles, expected in ((8, 1 / np.sqrt(1 + 0.882**2)), (16, 1 / 10.624)):
        found = process(
            "filter.lowpass.butterworth:low_cutoff_frequency=0.125:high_cutoff_frequency=0.25", wave((64, 64), cycles)
        )
        assert np.abs(found).max() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(24, 24), (25, 25), (16, 16, 16), (15, 17, 14)])
def test_phases_are_random_beyond_the_cutoff_only(shape, rng):
    image = rng.standard_normal(shape).astype(np.float32)
    made, again, other = (process(f"filter.lowpass.randomphase:cutoff_abs=0.25:seed={s}", image) for s in (1, 1, 2))
    np.testing.assert_array_equal(made, again)
    assert np.abs(made - other).max() > 0.1
    before, after = np.fft.rfftn(image), np.fft.rfftn(made)
    frequency = np.sqrt(
        sum(
            np.square(f)
            for f in np.meshgrid(*(np.fft.fftfreq(n) for n in shape[:-1]), np.fft.rfftfreq(shape[-1]), indexing="ij")
        )
    )
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=1e-3)
    np.testing.assert_allclose(after[frequency < 0.249], before[frequency < 0.249], atol=1e-3)
    turned = np.angle(after / before)[frequency > 0.251]
    assert np.abs(turned).mean() == pytest.approx(np.pi / 2, rel=0.15)


def test_amplitudes_are_those_of_the_curve(rng):
    image = rng.standard_normal((16, 16, 16)).astype(np.float32)
    line = np.column_stack([np.linspace(0.001, 0.5, 50), np.full(50, 9.0)])
    made = np.fft.rfftn(process("filter.setisotropicpow:strucfac=c:apix=1", image, c=line))
    f = np.sqrt(
        sum(
            np.square(a)
            for a in np.meshgrid(np.fft.fftfreq(16), np.fft.fftfreq(16), np.fft.rfftfreq(16), indexing="ij")
        )
    )
    np.testing.assert_allclose(np.abs(made)[(f > 0) & (f < 0.5)], 3, rtol=1e-4)
    assert np.abs(made)[f > 0.51].max() < 1e-4


def test_power_becomes_that_of_the_curve_or_the_other_image(rng):
    """To the width of a ring: the curve is linear between rings."""
    image = process("filter.lowpass.gauss:cutoff_abs=0.3", rng.standard_normal((64, 64, 64)))
    set_power = radial_mean(np.abs(exact_spectrum(process("filter.setstrucfac:strucfac=c", image, c=CURVE))) ** 2)[3:30]
    wanted = 64.0**3 * np.interp(np.arange(3, 30) / 128, *CURVE.T)
    np.testing.assert_allclose(set_power, wanted, rtol=0.1)
    other = process("filter.lowpass.gauss:cutoff_abs=0.2", rng.standard_normal((64, 64, 64)))
    power = [
        radial_mean(np.abs(exact_spectrum(a)) ** 2)[3:20]
        for a in (process("filter.matchto:to=o", image, o=other), other)
    ]
    np.testing.assert_allclose(*power, rtol=0.1)


def test_wiener_filter_of_an_fsc():
    fsc = np.array([1.0, 1.0, 0.9, 0.5, 0.2, 0.1, 0.05, 0.02])
    found = wiener_curve(fsc, np.zeros(8, bool), 1.0)
    np.testing.assert_allclose(found[:2], 1, atol=1e-6)
    np.testing.assert_allclose(found[2:5], [81 / 82, 0.5, 1 / 17], rtol=1e-6)
    assert found[-1] == 0.001
    rising = np.array([1.0, 0.6, 0.3, 0.2, 0.4, 0.1])
    held = wiener_curve(rising, np.arange(6) >= 3, 1.0)
    assert held[4] == held[3] and wiener_curve(rising, np.zeros(6, bool), 1.0)[4] > held[3]
    cut = wiener_curve(np.array([1, 1, 0.8, 0.5, 0.2, -0.4, -0.9, -0.9, -0.9, -0.9, 0.3, 0.3]), np.zeros(12, bool), 1.5)
    assert (cut[7:9] == 0.001).all()


@pytest.mark.parametrize("b", [100.0, 400.0])
def test_sharpening_undoes_a_b_factor(b, rng):
    """Of white noise: what was damped by exp(−B s²/4) comes back below the noise cutoff."""
    white = rng.standard_normal((48, 48, 48)).astype(np.float32)
    damped = process(f"filter.lowpass.gauss:cutoff_freq={2 / np.sqrt(b)}", white)
    low = lambda image: process("filter.lowpass.tophat:cutoff_abs=0.2", image)
    back = low(process("filter.lowpass.autob:noisecutoff=0.2", damped))
    assert np.corrcoef(back.ravel(), low(white).ravel())[0, 1] > 0.98
    assert back.std() == pytest.approx(low(white).std(), rel=0.2)


def test_sharp_and_soft_masks():
    shape, ones = (21, 24), np.ones((21, 24))
    r = distance(shape)
    np.testing.assert_array_equal(process("mask.sharp:inner_radius=3:outer_radius=7.5", ones), (r >= 3) & (r < 7.5))
    np.testing.assert_array_equal(process("mask.sharp:outer_radius=-3:value=2", ones), np.where(r < 10, 1, 2))
    np.testing.assert_array_equal(
        process("mask.sharp:outer_radius=4:dx=2:dy=-1", ones), np.roll(r < 4, (-1, 2), (0, 1))
    )
    soft = process("mask.soft:inner_radius=3:outer_radius=7:width=2", ones)
    np.testing.assert_allclose(soft, np.exp(-((np.maximum(np.maximum(r - 7, 3 - r), 0) / 2) ** 2)), atol=1e-6)
    np.testing.assert_allclose(process("mask.gaussian:outer_radius=5", ones), np.exp(-((r / 5) ** 2)), atol=1e-6)
    steep = process("mask.gaussian:outer_radius=2:inner_radius=4:exponent=4", ones)
    np.testing.assert_allclose(steep, np.exp(-((np.maximum(r - 4, 0) / 2) ** 4)), atol=1e-6)
    made = process("mask.gaussian.nonuniform:radius_x=6:radius_y=3:gauss_width=0.5", ones)[10]
    np.testing.assert_allclose(made[12:], np.exp(-((np.maximum(np.arange(12) / 6 - 1, 0) / 0.5) ** 2)), atol=1e-6)
    assert process("mask.ringmean:outer_radius=5", np.where(r < 5, 7, 3.0))[0, 0] == pytest.approx(4.8, abs=1)


@pytest.mark.parametrize("ndim", [2, 3])
def test_shells_grow_over_faces(ndim):
    dot = np.zeros((15,) * ndim)
    dot[(7,) * ndim] = 0.3
    steps = np.abs(np.indices(dot.shape) - 7).sum(axis=0)
    np.testing.assert_array_equal(process("mask.addshells:nshells=3", dot), steps <= 3)
    expected = np.select([steps <= 2, steps <= 5], [1, np.exp(-((2 * (steps - 3) / 3) ** 2))], 0)
    np.testing.assert_allclose(process("mask.addshells.gauss:val1=2:val2=3", dot), expected, atol=1e-6)


def test_automatic_masks_take_what_is_connected():
    image = np.zeros((20, 20))
    image[9:12, 8:14], image[3, 3], image[16, 9:12] = 1, 5, (0.7, 2, 0.7)
    centre = process("mask.auto2d:threshold=0.5:radius=2:return_mask=1", image)
    np.testing.assert_array_equal(centre, (image == 1))
    peaks = process("mask.auto2d:threshold=0.5:nmaxseed=2:return_mask=1", image)
    np.testing.assert_array_equal(peaks, (image == 5) | (np.arange(20)[:, None] == 16) & (image > 0))
    np.testing.assert_array_equal(process("mask.auto2d:threshold=0.5:radius=2", image), image * centre)
    volume = np.zeros((12, 12, 12))
    volume[5:8, 5:8, 5:8], volume[6, 6, 6], volume[2, 2, 2] = 1, 3, 1
    made = process("mask.auto3d.thresh:threshold1=2:threshold2=0.5:return_mask=1", volume)
    np.testing.assert_array_equal(made, distance(volume.shape) ** 2 <= np.where(volume > 0, 3, 0))
    sigma = (3 - volume.mean()) / volume.std(ddof=1) * 0.99
    assert process(f"mask.auto3d:sigma={sigma}:nmaxseed=1:return_mask=1", volume).sum() == 1


def test_borders_are_cleared():
    made = process("mask.zeroedge3d:x0=1:y1=2:z0=3", np.ones((6, 7, 8)))
    assert made.sum() == 3 * 5 * 7 and made[3:, :5, 1:].all()
    np.testing.assert_allclose(
        process("mask.decayedge2d:width=4", np.ones((12, 12)))[6], [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    )
    peaks = process("mask.onlypeaks", [[1, 1, 1, 1], [1, 3, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1]])
    assert peaks[1, 1] == 3 and not peaks[1:3, 1:3].ravel()[1:].any() and peaks.sum() == 15


@pytest.mark.parametrize(
    "text, expected",
    [
        ("belowtozero:minval=1", [0, 0, 1, 2, 3]),
        ("abovetozero:maxval=1", [-1, 0, 1, 0, 0]),
        ("binary:value=1", [0, 0, 1, 1, 1]),
        ("belowtominval:minval=1", [1, 1, 1, 2, 3]),
        ("belowtominval:minval=1:newval=9", [9, 9, 1, 2, 3]),
        ("notzero", [1, 0, 1, 1, 1]),
        ("belowtozero_cut:minval=1", [0, 0, 0, 1, 2]),
        ("binaryrange:low=0:high=2", [0, 1, 1, 1, 0]),
        ("compress:range=1:value=1", [0, 1, 1, 1, 2]),
        ("clampminmax:minval=0:maxval=2", [0, 0, 1, 2, 2]),
        ("clampminmax:minval=0:maxval=2:tomean=1", [1, 0, 1, 2, 1]),
        ("clampminmax:minval=0:maxval=2:tozero=1", [0, 0, 1, 2, 0]),
        ("clampminmax.nsigma:nsigma=1:tozero=1", [0, 0, 1, 2, 0]),
    ],
)
def test_thresholds(text, expected):
    np.testing.assert_array_equal(process("threshold." + text, [[-1, 0, 1, 2, 3]]), [expected])


def test_shrinking_takes_blocks():
    image = np.arange(35.0).reshape(5, 7)
    np.testing.assert_allclose(process("math.meanshrink:n=2", image), [[4, 6, 8], [18, 20, 22]])
    np.testing.assert_allclose(process("math.medianshrink:n=2", image), [[7, 9, 11], [21, 23, 25]])
    np.testing.assert_allclose(process("math.meanshrink:n=1.5", np.ones((9, 12))), np.ones((6, 8)))
    np.testing.assert_allclose(
        process("math.meanshrink:n=1.5", np.tile(np.arange(6.0), (6, 1)))[0], [1 / 3, 5 / 3, 10 / 3, 14 / 3], rtol=1e-6
    )
    assert apply(PROCESSORS.build("math.meanshrink:n=3"), np.ones((9, 9), np.float32), 1.2)[1] == pytest.approx(3.6)


@pytest.mark.parametrize("shape", [(24, 24), (25, 25), (12, 12, 12), (15, 15, 15)])
def test_resampling_keeps_waves_and_comes_back(shape, rng):
    """Sums, not means, are kept."""
    made, apix = apply(PROCESSORS.build("math.fft.resample:n=0.5"), wave(shape, 2, 1), 3.0)
    assert apix == 1.5 and made.shape == tuple(2 * n for n in shape)
    np.testing.assert_allclose(made * 2 ** len(shape), wave(made.shape, 2, 1), atol=1e-4)
    image = process("filter.lowpass.tophat:cutoff_abs=0.45", rng.standard_normal(shape))
    np.testing.assert_allclose(
        process("math.fft.resample:n=2", process("math.fft.resample:n=0.5", image)), image, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 6)])
def test_mirrors_keep_the_centre(shape, rng):
    image = rng.standard_normal(shape).astype(np.float32)
    for axis, name in enumerate("xyz"[: len(shape)]):
        along, n = len(shape) - 1 - axis, shape[len(shape) - 1 - axis]
        flipped, mirrored, turned = (
            process(f"xform.{kind}:axis={name}", image) for kind in ("flip", "mirror", "reverse")
        )
        for k in range(-((n - 1) // 2), (n - 1) // 2 + 1):
            np.testing.assert_array_equal(flipped.take(n // 2 + k, along), image.take(n // 2 - k, along))
        np.testing.assert_array_equal(turned, np.flip(image, along))
        np.testing.assert_array_equal(process(f"xform.mirror:axis={name}", mirrored), image)
        assert n % 2 or (
            not flipped.take(0, along).any() and np.array_equal(mirrored.take(0, along), image.take(0, along))
        )
    np.testing.assert_array_equal(
        process("xform.phaseorigin.tocenter", process("xform.phaseorigin.tocorner", image)), image
    )
    assert process("xform.phaseorigin.tocorner", image).ravel()[0] == image[tuple(n // 2 for n in shape)]


def test_turns_and_shifts_of_a_spot():
    """Coordinates turn by Z(alpha), passive; then the shift; then the mirror."""
    spot = blob((40, 40), 3, (6, 0))
    for text, place in (
        ("alpha=90", (0, -6)),
        ("tx=3:ty=-2", (9, -2)),
        ("alpha=180:tx=2", (-4, 0)),
        ("alpha=90:tx=1:mirror=1", (-1, -6)),
    ):
        np.testing.assert_allclose(
            process("xform:" + text, spot)[2:-2, 2:-2], blob((40, 40), 3, place)[2:-2, 2:-2], atol=1e-4
        )
    large, apix = apply(PROCESSORS.build("xform:scale=2"), spot, 3.0)
    assert apix == 1.5
    np.testing.assert_allclose(large, blob((40, 40), 6, (12, 0)), atol=0.03)
    dot = blob((21, 21, 21), 1.5, (4, 0, 0))
    for text, place in (("az=90", (0, -4, 0)), ("az=90:alt=90", (0, 0, 4)), ("tz=2:tx=-4", (0, 0, 2))):
        np.testing.assert_allclose(process("xform:" + text, dot), blob(dot.shape, 1.5, place), atol=5e-4)


def test_scaling_into_another_box():
    made, apix = apply(PROCESSORS.build("xform.scale:scale=2:clip=24"), blob((40, 40), 2), 3.0)
    assert apix == 1.5 and made.shape == (24, 24)
    np.testing.assert_allclose(made, blob((24, 24), 4), atol=0.06)
    assert process("xform.scale:scale=0.5", blob((40, 40), 4)).shape == (20, 20)
    np.testing.assert_allclose(process("xform.scale:scale=0.5:clip=0", blob((40, 40), 4)), blob((40, 40), 2), atol=0.02)


def test_whole_shifts_leave_zeros():
    image = np.arange(1.0, 13).reshape(3, 4)
    np.testing.assert_array_equal(
        process("xform.translate.int:trans=1,-1", image), [[0, 5, 6, 7], [0, 9, 10, 11], [0, 0, 0, 0]]
    )
    assert not process("xform.translate.int:trans=9,0", image).any()


@pytest.mark.parametrize("sym, order", [("c4", 4), ("d2", 4), ("oct", 24)])
def test_symmetry_spreads_a_spot_over_its_copies(sym, order):
    made = process(f"xform.applysym:sym={sym}", blob((25, 25, 25), 1.5, (6, 4, 2)))
    assert (made > 0.99 * made.max()).sum() == order and made.max() == pytest.approx(1 / order, rel=0.02)
    np.testing.assert_allclose(
        process("xform:az=90" if sym != "d2" else "xform:az=180", made)[1:-1, 1:-1, 1:-1],
        made[1:-1, 1:-1, 1:-1],
        atol=1e-6,
    )
    flat = process("xform.applysym:sym=c4", blob((25, 25), 1.5, (6, 4)))
    assert (flat > 0.99 * flat.max()).sum() == 4


@pytest.mark.parametrize(
    "text", ["xform.centerofmass:int_shift_only=0", "xform.centerofmass", "xform.centeracf", "xform.center"]
)
@pytest.mark.parametrize("shape", [(48, 48), (49, 49), (32, 32, 32)])
def test_a_spot_comes_to_the_centre(text, shape):
    centred = blob(shape, 3)
    np.testing.assert_allclose(process(text, blob(shape, 3, (3, -2, 4))), centred, atol=2e-3)
    if text != "xform.centeracf":
        np.testing.assert_array_equal(process(text, np.ones(shape)), 1)


@pytest.mark.parametrize(
    "text, message",
    [
        ("filter.lowpass.gauss", "needs one of cutoff_abs"),
        ("filter.lowpass.gauss:cutoff_abs=0", "above 0"),
        ("xform.flip:axis=z", "not one of x, y"),
        ("filter.lowpass.butterworth:low_cutoff_frequency=0.3:high_cutoff_frequency=0.2", "Butterworth"),
        ("math.meanshrink:n=2.5", "whole number"),
        ("filter.lowpass.butterworth:low_cutoff_frequency=0.3", "needs high_cutoff_frequency"),
        ("math.meanshrink:n=1", "n=1"),
        ("mask.auto3d", "for maps"),
        ("math.fft.resample:n=0", "above 0"),
        ("threshold.clampminmax:minval=2:maxval=1", "above maxval"),
        ("xform:az=3", "an image turns by alpha"),
        ("xform.applysym:sym=d2", "for maps"),
        ("xform.translate.int:trans=1.5,2", "whole pixels"),
        ("normalize.bymass:mass=0", "above 0"),
        ("filter.setstrucfac", "needs one curve"),
        ("filter.setstrucfac:strucfac=short", "in the first"),
        ("filter.matchto:to=small", "differ"),
        ("normalize.circlemean:radius=90", "no pixel"),
        ("mask.ringmean:outer_radius=90", "no pixel"),
        ("xform:scale=0", "above 0"),
        ("normalize.toimage:to=small", "differ"),
        ("normalize.mask:mask=small", "shape"),
        ("filter.lowpass.autob:apix=9", "up to 7"),
    ],
)
def test_what_cannot_be_is_said(text, message):
    arrays = dict(short=np.array([[0.0, 1.0], [0.001, 1.0]]), small=np.ones((3, 3), np.float32))
    with pytest.raises(ParameterError, match=message):
        process(text, np.random.default_rng(1).standard_normal((16, 16)), **arrays)


def test_setstrucfac_reads_its_curve_at_another_pixel_size_and_keeps_that_of_the_image():
    """As EMAN2: `apix` counts for the curve only."""
    image = np.random.default_rng(0).standard_normal((32, 32)).astype(np.float32)
    processor = PROCESSORS.build("filter.setstrucfac:strucfac=c:apix=5", lambda name: CURVE)
    made, pixel = apply(processor, image, 2.0)
    assert pixel == 2.0
    np.testing.assert_array_equal(made, process("filter.setstrucfac:strucfac=c", image, 5.0, c=CURVE))
