import numpy as np

from mpirefine.data.keys import HALF, HELD_OUT, halves, image_keys, uniform


def test_keys_follow_the_image_not_the_row(rng):
    files, file, image = ("/a/one.mrcs", "/a/two.mrcs"), rng.integers(0, 2, 500), rng.integers(0, 10**6, 500)
    order = rng.permutation(500)
    key = image_keys(files, file, image)
    np.testing.assert_array_equal(image_keys(files, file[order], image[order]), key[order])
    np.testing.assert_array_equal(image_keys(files[::-1], 1 - file, image), key)
    np.testing.assert_array_equal(image_keys(("/elsewhere/one.mrcs", "two.mrcs"), file, image), key)
    assert (image_keys(files, 1 - file, image) != key).all() and (image_keys(files, file, image, seed=1) != key).all()


def test_what_is_drawn_is_even_and_independent():
    n = 20000
    key = image_keys(("x.mrcs",), np.zeros(n, int), np.arange(n))
    half, held = halves(key), uniform(key, HELD_OUT) < 0.05
    assert len(np.unique(key)) == n and set(half.tolist()) == {0, 1}
    spread = np.sqrt(n) / 2
    for pattern in (np.ones(n, bool), np.arange(n) % 2 == 0, np.arange(n) < n // 2):
        assert abs(half[pattern].sum() - pattern.sum() / 2) < 4 * spread
        assert abs(held[pattern].sum() - 0.05 * pattern.sum()) < 4 * np.sqrt(0.05 * n)
    assert abs(half[held].mean() - 0.5) < 4 * 0.5 / np.sqrt(held.sum())
    values = uniform(key, HALF)
    assert values.min() >= 0 and values.max() < 1 and abs(values.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.03
