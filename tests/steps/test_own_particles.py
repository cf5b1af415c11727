"""Pixels of own particles: brought to the grid in use, read in the order of the files, without padding."""

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.data.particles import ParticleTable
from mpirefine.maths.image.background import outside_circle
from mpirefine.steps.shared.particles import MemoryStack, OwnParticles

LARGE, WORKING = Grid(96, 2.0), Grid(48, 4.0)


def table_of(count, lenses, lens=None, file=None, image=None):
    rows = np.arange(count)
    return ParticleTable(
        ("a", "b"),
        np.zeros(count, np.int32) if file is None else file,
        rows if image is None else image,
        rows,
        np.zeros(count, np.int32),
        ("all",),
        (rows % 2).astype(np.int8),
        None,
        lenses=lenses,
        lens=lens,
    )


def opened(images, **given):
    table = table_of(len(images), (Lens("large", LARGE),))
    return OwnParticles(table, MemoryStack(images), WORKING, outside=outside_circle(WORKING.nx, 16.0), **given)


def test_padding_spreads_nowhere(rng):
    """A quarter of the image that was never recorded, far from the grey value of the rest."""
    clean = rng.normal(1000, 10, (3, LARGE.nx, LARGE.nx)).astype(np.float32)
    padded = clean.copy()
    padded[:, :, : LARGE.nx // 4] = 0
    sound, found = opened(clean, pixels=None), opened(padded, pixels=None)
    np.testing.assert_allclose(found.background.level, sound.background.level, atol=2)
    np.testing.assert_allclose(found.background.scale, sound.background.scale, rtol=0.1)
    images = found.images(np.arange(3))
    assert np.abs(images).max() < 6 and 0.8 < images[..., :11].std() < 1.2
    kept = opened(padded, pixels=np.empty((3, 48, 48), np.float32)).images(np.arange(3))
    np.testing.assert_allclose(kept, images, atol=1e-5)
    assert np.abs(found.recorded(np.arange(3))).max() < 12


def test_recorded_images_have_the_background_of_those_in_use(rng):
    """Cropped afterwards, they are the images in use."""
    images = rng.normal(7, 3, (4, 96, 96)).astype(np.float32)
    own = opened(images, pixels=None)
    recorded = own.recorded(np.arange(4))
    spectrum = np.fft.fftshift(np.fft.fft2(recorded), axes=(1, 2))[:, 25:72, 25:72]
    used = np.fft.fftshift(np.fft.fft2(own.images(np.arange(4))), axes=(1, 2))[:, 1:, 1:]
    np.testing.assert_allclose(spectrum / 4, used, atol=0.02 * np.abs(used).max())


@pytest.mark.parametrize("chunk", [0, 2])
def test_files_are_read_once_and_in_order(rng, chunk):
    """Rows lie in any order; a pass takes each file once, image after image, and one lens at a time."""
    calls = []

    class Noted(MemoryStack):
        def read(self, rows):
            calls.append(rows)
            return super().read(rows)

    file, image = np.array([1, 0, 1, 0, 1, 0], np.int32), np.array([2, 0, 0, 2, 1, 1])
    lens = np.array([1, 0, 1, 0, 1, 0], np.int32)
    table = table_of(6, (Lens("a", LARGE), Lens("b", LARGE, odd=(0.0,))), lens, file, image)
    images = rng.standard_normal((6, 96, 96)).astype(np.float32)
    own = OwnParticles(table, Noted(images), WORKING, pixels=None, chunk=chunk)
    order = np.concatenate(calls)
    assert [(file[row], image[row]) for row in order] == [(f, i) for f in (0, 1) for i in range(3)]
    assert all(len(np.unique(lens[rows])) == 1 for rows in calls)
    assert len(calls) == (2 if not chunk else 4)
    wanted = np.array([4, 1, 5])
    assert [rows.tolist() for rows in own.in_order_of_files(wanted)] == [[1, 5], [4]]
