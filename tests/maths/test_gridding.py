"""What is from EMAN2's definitions alone: gridding and other kernels, projectors chao and fourier_gridding, and
averagers without numbers of EMAN2; against projections and maps of Gaussian blobs, which are known exactly.
"""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.data.emanctf import EmanCTF
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.averagers import AVERAGERS
from mpirefine.maths.eman2.gridding import fourier_gridding
from mpirefine.maths.eman2.projectors import chao, gauss_fft, quartic_kernel
from mpirefine.maths.eman2.reconstructors.catalogue import fourier
from mpirefine.maths.eman2.reconstructors.gridding_kernels import gridding_table
from mpirefine.maths.eman2.reconstructors.kernels import KERNELS, neighbour_shares

BOX = 32
BLOBS = ((1.0, (2, -3, 1)), (0.7, (-4, 2, 3)), (1.3, (1, 4, -3)))  # height and place of exp(-d^2 / 8)


@pytest.fixture(scope="module")
def volume():
    z, y, x = np.indices((BOX,) * 3) - BOX // 2
    found = sum(h * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 8) for h, (a, b, c) in BLOBS)
    return found.astype(np.float32)


def projections(rotations, shifts=None):
    """Line integrals of the blobs: a Gaussian of variance 4 projects to the root of 8 pi times one of the image."""
    y, x = np.indices((BOX, BOX)) - BOX // 2
    out = np.zeros((len(rotations), BOX, BOX))
    for i, rotation in enumerate(rotations):
        move = (0, 0) if shifts is None else shifts[i]
        for height, place in BLOBS:
            u, v = (rotation @ np.array(place))[:2] + move
            out[i] += height * np.sqrt(8 * np.pi) * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8)
    return out


VIEWS = Rotation.random(300, random_state=3).as_matrix()


@pytest.mark.parametrize(
    "projector, more, error", [(chao, {}, 0.06), (fourier_gridding, {}, 0.005), (gauss_fft, {"mode": 7}, 0.04)]
)
def test_projections_of_blobs(projector, more, error, volume):
    """Shifted and mirrored views too; errors in parts of the highest pixel."""
    shifts = np.random.default_rng(1).uniform(-2, 2, (12, 2))
    views = VIEWS[:12] * np.where(np.arange(12) % 2, -1, 1)[:, None, None]
    exact = projections(views, shifts)
    found = projector(volume, views, shifts, 1.0, **more)
    assert found.dtype == np.float32 and np.abs(found - exact).max() < error * exact.max()
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.999


def test_chao_keeps_every_voxel_of_its_sphere(rng):
    """The sum of an image is that of the sphere; at no turn it is the sum along z; what leaves the box is lost."""
    noise = rng.standard_normal((20,) * 3).astype(np.float32)
    z, y, x = np.indices(noise.shape) - 10
    sphere = np.where(x**2 + y**2 + z**2 <= 36, noise, 0)
    images = chao(noise, VIEWS[:5], None, 1.0, radius=6)
    np.testing.assert_allclose(images.sum(axis=(1, 2)), sphere.sum(), rtol=1e-4)
    np.testing.assert_allclose(chao(noise, np.eye(3)[None], None, 1.0, radius=6)[0], sphere.sum(axis=0), atol=1e-4)
    moved = chao(noise, np.eye(3)[None], None, 1.0, radius=6, origin_x=12)[0]
    other = np.where((x - 2) ** 2 + y**2 + z**2 <= 36, noise, 0)
    np.testing.assert_allclose(moved, other.sum(axis=0), atol=1e-4)
    gone = chao(sphere, np.eye(3)[None], np.array([[40.0, 0.0]]), 1.0, radius=6)
    assert not gone.any()
    with pytest.raises(ParameterError, match="at most 9"):
        chao(noise, VIEWS[:1], None, 1.0, radius=10)


def test_the_projector_by_gridding_takes_its_parameters(volume):
    """With a narrow kernel it is far from the truth."""
    exact = projections(VIEWS[:4])
    errors = [
        np.abs(fourier_gridding(volume, VIEWS[:4], None, 1.0, npad=pad, kb_K=width) - exact).max()
        for pad, width in ((2, 2), (2, 6))
    ]
    assert errors[0] > 10 * errors[1]
    with pytest.raises(ParameterError, match="npad=0"):
        fourier_gridding(volume, VIEWS[:1], None, 1.0, npad=0)


def test_the_kernel_of_mode_7():
    """The transform of exp(-x^4): 1 at 0, and the volume under it the value of exp(-x^4) at 0."""
    r = np.linspace(0, 6, 1201)
    kernel = quartic_kernel(r)
    scale = 3.013
    total = np.trapezoid(4 * np.pi * r**2 * kernel, r) * scale**3 / (2 * np.pi) ** 3
    x = np.linspace(0, 3, 3001)
    assert kernel[0] == pytest.approx(1) and kernel[200] < 0.3
    assert total * np.trapezoid(4 * np.pi * x**2 * np.exp(-(x**4)), x) == pytest.approx(1, rel=0.01)


def test_gridding_kernels():
    """Symmetric in the axes, and in real space all within the box. The first samples are those that EMAN2's table
    begins with.
    """
    for size, first in ((5, (0.32932, 0.29997, 0.22304)), (7, (0.37561, 0.34033, 0.24744))):
        table = gridding_table(size)
        last = len(table) - 2
        assert last == (3 * size - 1) // 2 and not table[-1].any() and not table[:, :, -1].any()
        np.testing.assert_allclose(table[0, 0, :3], first, atol=2e-5)
        np.testing.assert_allclose(table, table.transpose(2, 0, 1), atol=1e-12)
        k = np.arange(-last, last + 1)
        x = np.array([0, 30, 60, 128, 256])  # voxels from the centre; the box of the map ends at 128
        wave = np.cos(2 * np.pi * np.outer(x, k) / 768)
        window = wave @ np.einsum("abc->a", table[np.ix_(*(np.abs(k),) * 3)])
        assert window[:3].min() > 0.7 * window.max() and np.abs(window[3:]).max() < 0.12 * window.max()


@pytest.mark.parametrize("mode", KERNELS)
def test_shares_are_the_same_on_all_axes(mode):
    """Places with their axes exchanged, and mirrored ones, get the same shares in another order."""
    where = np.array([[6.2, 7.9, 5.4]])
    index, mate, share, weight = neighbour_shares(KERNELS[mode], 48, where)
    _, _, turned, _ = neighbour_shares(KERNELS[mode], 48, where[:, [2, 0, 1]])
    np.testing.assert_allclose(np.sort(share.ravel()), np.sort(turned.ravel()), atol=1e-12)
    assert share.shape == weight.shape and len(index) == share.size and not mate.any()
    own_weights = mode.startswith(("gridding", "kaiser"))
    assert (np.array_equal(share, weight), (weight == 1).all()) == (not own_weights, own_weights or mode[0] == "n")


@pytest.mark.parametrize("mode, least", [("gridding_5", 0.995), ("gridding_7", 0.95), ("kaiser_bessel", 0.85)])
def test_maps_of_exact_projections(mode, least, volume):
    """In a box half as large again, within a quarter of the images' box, where these kernels leave the map."""
    wide = np.pad(projections(VIEWS), ((0, 0), (8, 8), (8, 8)))
    maker = fourier(48, "c1", mode=mode)
    maker.insert(wide, VIEWS, np.ones(len(VIEWS)))
    found = maker.finish()[8:-8, 8:-8, 8:-8]
    z, y, x = np.indices(volume.shape) - BOX // 2
    core = x**2 + y**2 + z**2 < 64
    assert np.corrcoef(found[core], volume[core])[0, 1] > least


def test_the_derived_kernel_is_nearly_a_mean():
    """As EMAN2's division of whole numbers makes it: shares from 0.57 to 1, the largest farthest away."""
    _, _, share, weight = neighbour_shares(KERNELS["kaiser_bessel_derived"], 48, np.array([[3.0, 4.0, 5.0]]))
    assert share.shape == (9, 9, 9, 1) and share.argmin() == 364 and (weight == 1).all()
    assert share.min() == pytest.approx(0.57, abs=0.01) and share[0, 0, 0] == pytest.approx(1)


def test_weights_by_snr(rng):
    """Of two images with SNR 3 and 1 at all frequencies, three quarters and one quarter; without CTF it is told."""
    images = rng.standard_normal((2, 16, 16)).astype(np.float32)
    ctfs = [EmanCTF(1.0, 0, 0, 0, 10, 300, 2.7, 3.0, 0.01, snr=(value,) * 30) for value in (3.0, 1.0)]
    found = AVERAGERS.build("weightedfourier")(images, ctfs, 3.0).image
    wanted = 0.75 * images[0] + 0.25 * images[1]
    np.testing.assert_allclose(found - found.mean(), wanted - wanted.mean(), atol=1e-5)
    with pytest.raises(ParameterError, match="weightedfourier needs a CTF"):
        AVERAGERS.build("weightedfourier")(images, None, 3.0)


def test_local_weights(rng):
    """Where one of five images has nothing but noise, its weight falls: nearer to the truth there than the mean."""
    y, x = np.mgrid[:64, :64] - 32
    truth = np.exp(-((x - 14) ** 2 + y**2) / 60) + np.exp(-((x + 14) ** 2 + y**2) / 60)
    images = np.repeat(truth[None], 5, axis=0)
    images[4] = np.where(x > 0, -truth, truth)
    images = (images + 0.05 * rng.standard_normal(images.shape)).astype(np.float32)
    found, mean = AVERAGERS.build("localweight")(images, None, 4.0).image, images.mean(axis=0)
    right, left = (x > 8) & (truth > 0.5), (x < -8) & (truth > 0.5)
    assert np.abs(found - truth)[right].mean() < 0.3 * np.abs(mean - truth)[right].mean()
    np.testing.assert_allclose(found[left], mean[left], atol=0.05)


def test_a_mean_smoothed_within_its_error(rng):
    """Noise is smoothed, a step of many errors stays, the border stays, and equal images are their mean."""
    step = np.where(np.arange(24) < 12, 0.0, 100.0) * np.ones((24, 1))
    images = (step + rng.standard_normal((16, 24, 24))).astype(np.float32)
    mean, found = images.mean(axis=0), AVERAGERS.build("iterative")(images, None, 3.0).image
    flat = (slice(2, -2), slice(2, 9))
    assert found[flat].std() < 0.95 * mean[flat].std()
    assert np.abs((found[:, 12] - found[:, 11]) - 100).max() < 3
    np.testing.assert_allclose(found[0], mean[0], atol=1e-4)
    np.testing.assert_array_equal(AVERAGERS.build("iteration")(images[:1], None, 3.0).image, images[0])
