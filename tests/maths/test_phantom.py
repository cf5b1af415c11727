"""Simulated particles are what their truth says: place, view, contrast transfer, map and noise, against blobs written
down.
"""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.maths.image.ctf import contrast_transfer
from mpirefine.maths.image.phantom import random_rotations, simulate_particles, states

GRID, WIDTH = Grid(32, 3.0), 2.0
BLOBS = (
    np.array([[5.0, 1, -2], [-3, 4, 1]]),
    np.array([[0.0, 6, 0], [2, -2, 5]]),
)  # x, y, z of two maps, heights 1 and 0.6


def blob_map(centres):
    z, y, x = np.mgrid[:32, :32, :32] - 16
    r2 = [(x - c[0]) ** 2 + (y - c[1]) ** 2 + (z - c[2]) ** 2 for c in centres]
    return np.exp(-r2[0] / (2 * WIDTH**2)) + 0.6 * np.exp(-r2[1] / (2 * WIDTH**2))


def blob_image(centres, rotation, shift, ctf, bfactor):
    """The projection with the blobs at R c + shift, times the contrast transfer, up to a factor."""
    fy, fx = GRID.frequencies()
    spectrum = 0
    for centre, height in zip(centres, (1, 0.6)):
        x, y = (rotation @ centre)[:2] + shift + 16
        spectrum = spectrum + height * np.exp(-2j * np.pi * 3.0 * (fx * x + fy * y))
    fall = np.exp(-(2 * np.pi**2 * (3 * WIDTH) ** 2 + bfactor / 4) * (fx**2 + fy**2))
    return np.fft.irfft2(spectrum * fall * contrast_transfer(ctf, fx, fy)[0], s=(32, 32))


@pytest.fixture(scope="module")
def clean():
    maps = np.stack([blob_map(centres) for centres in BLOBS])
    return simulate_particles(
        maps, GRID, 30, rng=np.random.default_rng(5), snr=1e8, maxshift=4.0, astigmatism=6000.0, bfactor=400.0
    )


@pytest.mark.parametrize("wrong", [None, "label", "rotation", "shift", "astigmatism", "bfactor"])
def test_images_are_those_of_their_truth(clean, wrong):
    """And of no other: each part of the truth is needed."""
    alike = []
    for i, image in enumerate(clean["images"]):
        j, ctf = (i + 1) % 30, clean["ctf"].take([i])
        if wrong == "astigmatism":
            ctf = replace(ctf, defocus_angle=ctf.defocus_angle + 90)
        label, rotation, shift = (clean[key][j if key == wrong else i] for key in ("label", "rotation", "shift"))
        if wrong == "label":
            label = 1 - clean["label"][i]
        expected = blob_image(BLOBS[label], rotation, shift, ctf, 0.0 if wrong == "bfactor" else 400.0)
        alike.append(np.corrcoef(image.ravel(), expected.ravel())[0, 1])
    assert min(alike) > 0.9999 if wrong is None else np.mean(alike) < 0.999


def test_truth_is_within_what_was_asked_for(clean):
    assert clean["images"].shape == (30, 32, 32) and clean["images"].dtype == np.float32
    assert np.abs(clean["shift"]).max() <= 4 and np.abs(clean["shift"]).max() > 3
    ctf = clean["ctf"]
    assert ((ctf.defocus_u + ctf.defocus_v) / 2 >= 8000).all() and ((ctf.defocus_u + ctf.defocus_v) / 2 <= 25000).all()
    assert (ctf.defocus_u >= ctf.defocus_v).all() and (ctf.defocus_u - ctf.defocus_v).max() > 3000
    assert not ctf.bfactor.any() and (ctf.voltage == 300).all() and len(ctf) == 30


@pytest.mark.parametrize("snr", [0.05, 1.0])
def test_noise_is_white_with_variance_one(snr):
    """Beyond the blobs' spectrum only noise is left; the signal adds `snr` to its variance."""
    maps = blob_map(BLOBS[0])[None]
    images = simulate_particles(maps, GRID, 200, rng=np.random.default_rng(1), snr=snr)["images"]
    power = (np.abs(np.fft.rfft2(images)) ** 2).mean(axis=0) / 32**2
    assert power[GRID.shells(2) > 12].mean() == pytest.approx(1, rel=0.02)
    assert images.var() == pytest.approx(1 + snr, rel=0.05)


def test_fractions_choose_the_maps():
    maps = np.stack([blob_map(centres) for centres in BLOBS])
    label = simulate_particles(maps, GRID, 40, rng=np.random.default_rng(1), snr=1.0, fractions=np.array([0.0, 3.0]))[
        "label"
    ]
    assert (label == 1).all()


def test_particles_are_the_generators():
    one, same, other = (
        simulate_particles(blob_map(BLOBS[0])[None], GRID, 3, rng=np.random.default_rng(seed), snr=1.0)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one["images"], same["images"])
    assert np.abs(one["images"] - other["images"]).max() > 1


def test_pieces_do_not_matter(monkeypatch):
    maps = np.stack([blob_map(centres) for centres in BLOBS])
    run = lambda: simulate_particles(maps, GRID, 9, rng=np.random.default_rng(3), snr=1.0)["images"]
    whole = run()
    monkeypatch.setattr("mpirefine.maths.image.phantom.CHUNK", 4)
    np.testing.assert_allclose(run(), whole, atol=1e-3)


def test_rotations_are_uniform():
    """Orthonormal, right-handed; the trace 1 + 2 cos θ of uniform rotations has mean 0 and variance 1, columns are
    uniform on the sphere.
    """
    found = random_rotations(4000, np.random.default_rng(0))
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1), np.broadcast_to(np.eye(3), found.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(found), 1)
    trace = np.trace(found, axis1=1, axis2=2)
    assert abs(trace.mean()) < 0.06 and trace.var() == pytest.approx(1, abs=0.08)
    np.testing.assert_allclose((found**2).mean(axis=0), 1 / 3, atol=0.03)
    assert random_rotations(0, np.random.default_rng(0)).shape == (0, 3, 3)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_states_lack_a_domain_each(n):
    found = states(32, n, np.random.default_rng(2))
    assert found.shape == (n, 32, 32, 32) and found.dtype == np.float32
    missing = found[0] - found[1:]
    assert (found >= 0).all() and (missing >= -1e-6).all()
    assert all(0.05 * found[0].sum() < part.sum() < 0.35 * found[0].sum() for part in missing)
    for i in range(n - 1):
        for j in range(i):
            assert (missing[i] * missing[j]).sum() < 0.2 * np.sqrt((missing[i] ** 2).sum() * (missing[j] ** 2).sum())


def test_states_fit_any_box():
    """The same object in boxes of other sizes: mass grows with the volume, and all of it is inside."""
    small, large = (states(box, 2, np.random.default_rng(2)) for box in (32, 64))
    assert large.sum() == pytest.approx(8 * small.sum(), rel=0.02)
    z, y, x = np.mgrid[:64, :64, :64] - 32
    assert large[:, x**2 + y**2 + z**2 > 30**2].max() < 0.01 * large.max()
