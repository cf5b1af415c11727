import numpy as np

from mpirefine.maths.statistics.half_sets import copies, missing_half, shared_keys, unsound


def test_copies_share_the_least_key_in_any_order(rng):
    prints, key = np.array([5, 6, 5, 7, 5, 8], np.uint64), np.array([40, 30, 10, 20, 50, 60], np.uint64)
    first = copies(prints, np.ones(6, bool))
    own = shared_keys(key, first)
    assert first.tolist() == [0, 1, 0, 3, 0, 5] and own.tolist() == [10, 30, 10, 20, 10, 60]
    order = rng.permutation(6)
    np.testing.assert_array_equal(shared_keys(key[order], copies(prints[order], np.ones(6, bool))), own[order])
    assert len(copies(prints[:0], np.zeros(0, bool))) == 0


def test_images_that_are_set_aside_are_no_copies():
    assert copies(np.full(4, 9, np.uint64), np.array([False, True, False, True])).tolist() == [0, 1, 2, 1]


def test_half_sets_of_a_file_are_sound_or_the_reason_is_told():
    key = np.arange(6)
    assert unsound(np.array([0, 1, 0, 1, 1, 0]), key) == ""
    assert "all 6" in unsound(np.ones(6, int), key)
    assert "2 of 6 values" in unsound(np.array([0, 1, -1, 1, -1, 0]), key)
    assert "2 rows repeat" in unsound(np.array([0, 1, 1, 1, 0, 1]), np.array([0, 0, 0, 3, 4, 5]))


def test_a_map_without_one_of_the_halves_is_named():
    half = np.tile([0, 1], 50)
    assert missing_half(np.repeat([0, 1], 50), half, 2) == ""
    assert "map 2 are of half 2" in missing_half(half, half, 3) or "map 1 are of half 1" in missing_half(half, half, 3)
    assert missing_half(half[:20], half[:20], 2) == ""  # too few to say
