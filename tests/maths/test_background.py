import numpy as np
import pytest

from mpirefine.maths.image.background import Background, backgrounds, outside_circle

NX = 48
OUTSIDE = outside_circle(NX, 17.0)


@pytest.fixture
def clean(rng):
    """Noise of deviation 1 with a disc in the middle that the background must not see."""
    axis = np.arange(NX) - NX // 2
    disc = 3.0 * (np.hypot(axis[:, None], axis) < 12)
    return (rng.standard_normal((20, NX, NX)) + disc).astype(np.float32)


def planted(images, rng):
    level, gain = rng.normal(1200, 200, len(images)), 37 * np.exp(0.3 * rng.standard_normal(len(images)))
    slope = rng.normal(0, 2.0, (len(images), 2))
    axis = np.arange(NX) - NX // 2
    plane = level[:, None, None] + slope[:, :1, None] * axis[None, None] + slope[:, 1:, None] * axis[None, :, None]
    return (images * gain[:, None, None] + plane).astype(np.float32), level, slope, gain


def test_planted_level_slope_and_gain_are_found(clean, rng):
    made, level, slope, gain = planted(clean, rng)
    found = backgrounds(made, OUTSIDE)
    error = gain / np.sqrt(OUTSIDE.sum())
    assert (np.abs(found.level - level) < 6 * error).all()
    assert (np.abs(found.slope - slope) < 6 * error[:, None] / (NX / 4)).all()
    np.testing.assert_allclose(found.scale, gain, rtol=0.12)


def test_images_are_the_same_however_they_were_recorded(clean, rng):
    made, *_ = planted(clean, rng)
    first, second = (backgrounds(images, OUTSIDE).removed(images) for images in (clean, made))
    np.testing.assert_allclose(first, second, atol=0.05)
    outside = first[:, OUTSIDE]
    np.testing.assert_allclose(outside.mean(axis=1), 0, atol=0.02)
    np.testing.assert_allclose(outside.std(axis=1), 1, atol=0.02)


def test_what_is_no_background_does_not_count(clean):
    before = backgrounds(clean, OUTSIDE)
    spoiled = clean.copy()
    spoiled[:, 2, 3] = 1e6  # a hot pixel
    spoiled[:, :4, :30] += 50  # an edge of carbon
    after = backgrounds(spoiled, OUTSIDE)
    np.testing.assert_allclose(after.level, before.level, atol=0.25)
    np.testing.assert_allclose(after.scale, before.scale, rtol=0.35)


def test_whole_numbers_and_images_without_noise(clean):
    counts = np.rint(clean * 40 + 9000).astype(np.int16)
    np.testing.assert_allclose(backgrounds(counts, OUTSIDE).scale, 40 * backgrounds(clean, OUTSIDE).scale, rtol=0.01)
    masked = np.where(OUTSIDE, 0, clean).astype(np.float32)
    found = backgrounds(masked, OUTSIDE).removed(masked)
    assert np.isfinite(found).all() and 1 < found.std() < 100
    np.testing.assert_array_equal(backgrounds(0 * clean, OUTSIDE).removed(0 * clean), 0 * clean)


def test_blank_backgrounds_change_nothing_and_rows_can_be_put(clean):
    whole = Background.blank(len(clean))
    np.testing.assert_array_equal(whole.removed(clean), clean)
    whole.put(np.arange(3, 6), backgrounds(clean[3:6] * 5, OUTSIDE))
    assert (whole.scale[3:6] > 4).all() and (whole.scale[:3] == 1).all() and len(whole.take([3, 4]).level) == 2


def test_there_is_always_an_outside():
    assert outside_circle(64, 1000.0).sum() > 64 and outside_circle(16, 8.0).sum() > 16


def test_coarse_counts_and_padded_images(clean, rng):
    counts = np.rint(clean * 0.6 + rng.integers(3, 9, (len(clean), 1, 1)))
    found = backgrounds(counts, OUTSIDE)
    left = found.removed(counts)[:, OUTSIDE]
    assert np.isnan(found.padding).all() and (np.abs(left.mean(axis=1)) < 0.1).all()
    np.testing.assert_allclose(left.std(axis=1), 1, atol=0.1)
    raw = clean * 37 + 1200
    padded = raw.copy()
    padded[:, :14] = 1000.0  # a band that was never recorded, more than half of the pixels outside
    padded[:, :, :8] = 1000.0
    found = backgrounds(padded, OUTSIDE)
    assert (found.padding == 1000).all()
    np.testing.assert_allclose(found.scale, 37, rtol=0.15)
    made = found.removed(padded)
    assert (made[:, :14] == 0).all()
    np.testing.assert_allclose(made[:, 16:, 10:], backgrounds(raw, OUTSIDE).removed(raw)[:, 16:, 10:], atol=0.9)
