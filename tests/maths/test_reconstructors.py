"""Direct Fourier inversion: known maps come back, sums add up, symmetry holds, an image can be taken out again."""

import inspect

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.projectors import gauss_fft, standard
from mpirefine.maths.eman2.reconstructors.agreement import measure_agreement
from mpirefine.maths.eman2.reconstructors.catalogue import RECONSTRUCTORS, back_projection, fourier, wiener_fourier
from mpirefine.maths.eman2.reconstructors.kernels import KERNELS
from mpirefine.maths.eman2.reconstructors.reconstructor import Reconstructor
from mpirefine.maths.eman2.reconstructors.spectra import merge_mates
from mpirefine.maths.geometry.helix import Helix
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.image.phantom import tubes, views_from_the_side

BOX = 24


@pytest.fixture(scope="module")
def volume():
    z, y, x = np.indices((BOX,) * 3) - BOX // 2
    places = ((1.0, (2, -3, 1)), (0.7, (-4, 2, 3)), (1.3, (1, 4, -3)))
    return sum(h * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 8.0) for h, (a, b, c) in places).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def views():
    return Rotation.random(150, random_state=2).as_matrix()


@pytest.fixture(scope="module")
def images(volume, views):
    return standard(volume, views, None, 1.0)


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


@pytest.mark.parametrize("mode", [mode for mode in KERNELS if KERNELS[mode].values is None])
def test_a_map_comes_back_from_its_projections(mode, volume, views, images):
    """The more padding the better: nothing undoes the kernel's fall-off in real space, which a wide one has most of."""
    box, margin = 40, 8
    maker = fourier(box, "c1", mode=mode)
    maker.insert(np.pad(images, ((0, 0), (margin, margin), (margin, margin))), views, np.ones(len(views)))
    found = maker.finish()
    assert found.dtype == np.float32 and found.shape == (box,) * 3
    inner, within = (slice(4, -4),) * 3, (slice(margin + 4, -margin - 4),) * 3
    assert correlation(found[within], volume[inner]) > (0.97 if mode == "gauss_5" else 0.996)
    assert found[within].sum() == pytest.approx(volume[inner].sum(), rel=0.06)


def test_sums_of_two_are_those_of_one(views, images):
    weights = np.linspace(0.5, 4, len(views))
    whole, first, second = (fourier(BOX, "d2", mode="trilinear") for _ in range(3))
    whole.insert(images, views, weights)
    first.insert(images[:70], views[:70], weights[:70])
    second.insert(images[70:], views[70:], weights[70:])
    for of, add in zip(first.sums, second.sums):
        of += add
    np.testing.assert_allclose(first.finish(), whole.finish(), atol=1e-5)


@pytest.mark.parametrize("symmetry", ["c3", "d2", "oct"])
def test_the_map_has_the_symmetry(symmetry, views, images):
    maker = fourier(BOX, symmetry)
    maker.insert(images[:5], views[:5], np.ones(5))
    found = maker.finish()
    again = gauss_fft(found, views[:20], None, 1.0), gauss_fft(found, views[:20] @ operations(symmetry)[-1], None, 1.0)
    assert correlation(*again) > 0.97
    one = fourier(BOX, "c1")
    one.insert(
        np.repeat(images[:5], len(operations(symmetry)), axis=0),
        (views[:5, None] @ operations(symmetry)).reshape(-1, 3, 3),
        np.ones(5 * len(operations(symmetry))),
    )
    np.testing.assert_allclose(one.finish(), found, atol=1e-5)


def test_what_weights_and_padding_do(volume, views, images):
    maker, plain = fourier(BOX, "c1"), fourier(BOX, "c1")
    maker.insert(
        np.concatenate([images, 100 + images]), np.concatenate([views, views]), np.repeat([2.0, 0.0], len(views))
    )
    plain.insert(images, views, np.ones(len(views)))
    np.testing.assert_allclose(maker.finish(), plain.finish(), atol=1e-6)
    wide = fourier(32, "c1")
    wide.insert(np.pad(images, ((0, 0), (4, 4), (4, 4))), views, np.ones(len(views)))
    inner = (slice(4, -4),) * 3
    assert correlation(wide.finish()[inner][inner], volume[inner]) > correlation(plain.finish()[inner], volume[inner])


def test_images_are_moved_and_mirrored_first(views, images):
    maker, plain = fourier(BOX, "c1"), fourier(BOX, "c1")
    moved = np.roll(images, (2, -3), axis=(1, 2))
    maker.insert(moved, views, np.ones(len(views)), shifts=np.tile([3.0, -2.0], (len(views), 1)))
    plain.insert(images, views, np.ones(len(views)))
    assert correlation(maker.finish(), plain.finish()) > 0.999
    flipped = images.copy()
    flipped[:, :, 1:] = images[:, :, :0:-1]
    mirrored = fourier(BOX, "c1")
    mirrored.insert(flipped, views, np.ones(len(views)), mirror=np.ones(len(views), bool))
    assert correlation(mirrored.finish(), plain.finish()) > 0.999


def test_corners_and_the_root_of_the_weight(views, images):
    plain, corners, root = fourier(BOX, "c1"), fourier(BOX, "c1", corners=True), fourier(BOX, "c1", sqrtnorm=True)
    for maker in (plain, corners, root):
        maker.insert(images, views, np.ones(len(views)))
    radius = np.sqrt(
        sum(f**2 for f in np.meshgrid(*(np.fft.fftfreq(BOX, 1 / BOX),) * 2, np.arange(BOX // 2 + 1.0), indexing="ij"))
    )
    outside = radius > BOX // 2 + 2
    assert plain.weight[outside].max() == 0 and (corners.weight[outside] > 0).mean() > 0.5
    assert np.abs(np.fft.fftn(root.finish())[0, 0, 0]) < np.abs(np.fft.fftn(plain.finish())[0, 0, 0]) / 5


def test_the_wiener_filter(views, images):
    snr = np.tile(np.linspace(30, 0.01, 13), (len(views), 1))
    maker = wiener_fourier(BOX, "c1")
    maker.insert(images, views, np.ones(len(views)), snr=snr)
    filtered = np.fft.irfft2(np.fft.rfft2(images) * ring_filter(snr[0]), s=(BOX, BOX))
    undone = wiener_fourier(BOX, "c1")
    undone.insert(filtered, views, np.ones(len(views)), snr=snr, filtered=np.ones(len(views), bool))
    assert correlation(maker.finish(), undone.finish()) > 0.999
    weak = wiener_fourier(BOX, "c1")
    weak.insert(images, views, np.ones(len(views)), snr=snr * 1e-6)
    assert weak.finish().std() < 1e-2 * maker.finish().std()
    with pytest.raises(ParameterError, match="CTF averager"):
        maker.insert(images, views, np.ones(len(views)))


def ring_filter(snr):
    """SNR / (SNR + 1) on the half-plane, the curve read as wiener_fourier reads it."""
    radius = np.hypot(np.fft.fftfreq(BOX)[:, None], np.fft.rfftfreq(BOX))
    curve = np.interp(radius * 2 * len(snr), np.arange(len(snr)), snr)
    return curve / (curve + 1)


@pytest.mark.parametrize("symmetry", ["c1", "c4"])
def test_an_image_is_left_out_exactly(symmetry, views, images):
    weights = np.linspace(1, 3, 20)
    noisy = images[:20] + np.random.default_rng(1).standard_normal(images[:20].shape)
    whole, others = fourier(BOX, symmetry), fourier(BOX, symmetry)
    whole.insert(noisy, views[:20], weights)
    others.insert(noisy[1:], views[1:20], weights[1:])
    out = [
        np.concatenate(measure_agreement(maker, noisy[:1], views[:1], weight, 4.0))
        for maker, weight in ((whole, weights[:1]), (others, np.zeros(1)))
    ]
    np.testing.assert_allclose(out[0], out[1], rtol=1e-6)


def test_noise_agrees_only_with_itself():
    rng = np.random.default_rng(7)
    noise, views = rng.standard_normal((40, BOX, BOX)), Rotation.random(40, random_state=5).as_matrix()
    maker = fourier(BOX, "c1")
    maker.insert(noise, views, np.ones(40))
    assert np.abs(measure_agreement(maker, noise, views, np.ones(40), 4.0).quality.mean()) < 0.03
    assert measure_agreement(maker, noise, views, np.ones(40), 4.0, leave_out=False).quality.mean() > 0.2


def test_a_scaled_image_is_told(views, images):
    maker = fourier(BOX, "c1")
    scaled = images[:100] * np.where(np.arange(100) == 3, 0.5, 1.0)[:, None, None]
    maker.insert(scaled, views[:100], np.ones(100))
    norm = measure_agreement(maker, scaled, views[:100], np.ones(100), 4.0).norm
    assert norm[3] / np.median(norm) == pytest.approx(2, rel=0.1)


def test_planes_get_what_their_mates_have():
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfftn(rng.standard_normal((6, 6, 6)))
    half = spectrum.copy()
    half[:, :, [0, -1]] /= 2
    np.testing.assert_allclose(merge_mates(half), spectrum, atol=1e-12)
    odd = np.fft.rfftn(rng.standard_normal((5, 5, 5)))
    half = odd.copy()
    half[:, :, 0] /= 2
    np.testing.assert_allclose(merge_mates(half), odd, atol=1e-12)


def test_unknown_modes_are_told():
    with pytest.raises(ParameterError, match="did you mean gauss_2"):
        fourier(BOX, "c1", mode="gaus_2")


def test_all_explain_themselves():
    for name in RECONSTRUCTORS:
        text = inspect.getdoc(RECONSTRUCTORS.function(name))
        assert "EMAN2's" in text and all(f"`{key}`:" in text for key in RECONSTRUCTORS.parameters(name)), name


@pytest.mark.parametrize("leave_out", [False, True])
def test_copies_along_a_helix_join_into_one_map(leave_out):
    """Few views of a tube fill its transform; each agrees with the map, not with one of another twist."""
    coil = Helix(15, 1, 40.0, 2.0)
    wide, rng = tubes(48, coil, 9.0, 1, np.random.default_rng(1))[0], np.random.default_rng(2)
    rotations = views_from_the_side(24, 10.0, rng)
    inner, axis = slice(8, 40), np.arange(32) - 16
    images = standard(wide, rotations, None, 1.0)[:, inner, inner]
    truth, maps, quality = wide[inner, inner, inner], [], []
    for twist in (40.0, 47.0):
        made = Reconstructor(32, coil._replace(daz=twist).text, "gauss_2", corners=False, power=1.0, snr="none")
        made.insert(images, rotations, np.ones(24))
        maps.append(made.finish())
        agreement = measure_agreement(made, images, rotations, np.ones(24), 4.0, leave_out=leave_out)
        quality.append(agreement.quality.mean())
    near = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) < 12**2
    right, wrong = (np.corrcoef(made[near], truth[near])[0, 1] for made in maps)
    assert right > 0.95 and right > wrong + 0.05
    assert quality[0] > quality[1] + 0.05


def test_back_projection_gives_the_map_on_its_scale():
    """1, 0.7 and 1.3 high blobs, from 400 views spread over the sphere; in an odd box too, and 0 beyond the sphere."""
    for box in (BOX, BOX + 1):
        z, y, x = np.indices((box,) * 3) - box // 2
        places = ((1.0, (2, -3, 1)), (0.7, (-4, 2, 3)), (1.3, (1, 4, -3)))
        truth = sum(h * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 8.0) for h, (a, b, c) in places)
        views = Rotation.random(400, random_state=3).as_matrix()
        maker = back_projection(box, "c1")
        maker.insert(standard(truth.astype(np.float32), views, None, 1.0), views, np.ones(400))
        found = maker.finish()
        assert found.dtype == np.float32 and found.shape == (box,) * 3
        assert not found[np.sqrt(x**2 + y**2 + z**2) >= box // 2 - 1].any()
        assert correlation(found, truth) > 0.98 and np.polyfit(truth.ravel(), found.ravel(), 1)[0] == pytest.approx(
            1, abs=0.06
        )


def test_back_projection_counts_images_once(views, images):
    """Weights do not, except 0, and each of the symmetry's operations counts once; blocks add up; images are moved."""
    whole, first, second, moved = (back_projection(BOX, "c3") for _ in range(4))
    weights = np.linspace(0.5, 4, len(views))
    weights[5] = 0
    whole.insert(images, views, np.ones(len(views)) * (weights > 0))
    first.insert(images[:70], views[:70], weights[:70])
    second.insert(images[70:], views[70:], weights[70:])
    for of, add in zip(first.sums, second.sums):
        of += add
    np.testing.assert_allclose(first.finish(), whole.finish(), atol=1e-5)
    shifted = np.roll(images, (2, -3), axis=(1, 2))
    moved.insert(shifted, views, weights, shifts=np.tile([3.0, -2.0], (len(views), 1)))
    assert correlation(moved.finish(), whole.finish()) > 0.999
    alone, copies = back_projection(BOX, "c3"), back_projection(BOX, "c1")
    alone.insert(images[:9], views[:9], np.ones(9))
    turned = (views[:9, None] @ operations("c3")).reshape(-1, 3, 3)
    copies.insert(np.repeat(images[:9], 3, axis=0), turned, np.ones(27))
    assert correlation(alone.finish(), copies.finish()) > 0.98
    assert alone.finish().std() == pytest.approx(copies.finish().std(), rel=0.1)
    blank = back_projection(BOX, "c1")
    assert not blank.finish().any()
    with pytest.raises(ParameterError, match="helix"):
        back_projection(BOX, "h3:1:50:4")
