"""Averagers: simple averages, and CTF correction that brings a known image back."""

import numpy as np
import pytest
from scipy import fft, ndimage

from mpirefine.data.emanctf import EmanCTF
from mpirefine.errors import ParameterError
from mpirefine.maths.eman2.averagers import AVERAGERS
from mpirefine.maths.eman2.ctf import ctf_image


def averaged(text, images, ctfs=None):
    return AVERAGERS.build(text)(images, ctfs, 3.0)


def test_plain_averages(rng):
    images = rng.standard_normal((6, 10, 12)).astype(np.float32)
    np.testing.assert_allclose(averaged("mean", images).image, images.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(averaged("sigma", images).image, images.std(axis=0), atol=1e-6)
    np.testing.assert_allclose(averaged("mean:sigma=1", images).sigma, images.std(axis=0), atol=1e-6)
    np.testing.assert_allclose(averaged("median", images).image, np.median(images, axis=0), atol=1e-6)
    np.testing.assert_array_equal(averaged("minmax:max=1", images).image, images.max(axis=0))
    np.testing.assert_array_equal(averaged("minmax", images).image, images.min(axis=0))
    np.testing.assert_array_equal(np.abs(averaged("minmax:abs=1", images).image), np.abs(images).min(axis=0))


def test_zeros_can_be_left_out():
    images = np.array([[[0, 2.0]], [[4, 4]], [[0, 0]]], np.float32)
    found = averaged("mean:ignore0=1:normimage=1:sigma=1", images)
    assert found.image.tolist() == [[4, 3]] and found.norm.tolist() == [[1, 2]] and found.sigma.tolist() == [[0, 1]]
    assert averaged("sigma:ignore0=1", images).image.tolist() == [[0, 1]]
    assert averaged("mean:ignore0=1", 0 * images).image.tolist() == [[0, 0]]


@pytest.fixture
def scene(rng):
    """A particle and what phase-flipped images of it look like without noise."""
    y, x = np.mgrid[:32, :32] - 16
    truth = ndimage.gaussian_filter(rng.standard_normal((32, 32)), 1.2) * np.exp(-(x * x + y * y) / 60)
    ctfs = [
        EmanCTF(defocus, 0.1, 20, 0, 10, 300, 2.7, 3.0, 0.01, snr=(5.0,) * 20) for defocus in np.linspace(0.8, 2.0, 25)
    ]
    images = np.array(
        [fft.irfft2(fft.rfft2(truth) * ctf_image(ctf, "ABS", 32), s=(32, 32)) for ctf in ctfs], np.float32
    )
    return truth, images, ctfs


def test_ctf_correction(scene):
    truth, images, ctfs = scene
    truth = truth - truth.mean()

    def likeness(found):
        return np.corrcoef(found.ravel(), truth.ravel())[0, 1]

    plain = likeness(averaged("mean", images).image)
    for name in ("ctf.auto", "ctfw.auto"):
        found = averaged(name, images, ctfs)
        assert likeness(found.image) > max(plain, 0.97)
        assert found.snr_total.shape == (16,) and found.snr_total[5] == pytest.approx(
            125 + (name == "ctfw.auto"), rel=1e-6
        )
        assert found.wiener_filtered == (name == "ctfw.auto")
    weighted = averaged("ctf.weight", images, ctfs)
    assert weighted.wiener_filtered is False and likeness(weighted.image) > plain - 0.01


def test_filter_by_halves(rng, scene):
    truth, images, ctfs = scene
    noisy = images + rng.standard_normal(images.shape).astype(np.float32)
    filtered, plain = averaged("ctf.weight.autofilt", noisy, ctfs), averaged("ctf.weight", noisy, ctfs)
    assert filtered.wiener_filtered
    assert (
        np.corrcoef(filtered.image.ravel(), truth.ravel())[0, 1] > np.corrcoef(plain.image.ravel(), truth.ravel())[0, 1]
    )
    assert np.isfinite(averaged("ctf.weight.autofilt", noisy).image).all()
    np.testing.assert_allclose(averaged("ctf.weight.autofilt", noisy[:1]).image, noisy[0], atol=1e-5)


@pytest.mark.parametrize("name", ["ctf.auto", "ctfw.auto", "ctf.weight"])
def test_no_ctf_is_told(name, scene):
    for ctfs in (None, scene[2][:3]):
        with pytest.raises(ParameterError, match="CTF"):
            averaged(name, scene[1], ctfs)
