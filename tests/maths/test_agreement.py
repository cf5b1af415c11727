"""Agreement of classifications: known values, renumbered maps, particles without a map."""

import numpy as np
import pytest

from mpirefine.maths.statistics.agreement import adjusted_rand_index, consensus, contingency, match_classes


def index(a, b, classes=3):
    return adjusted_rand_index(contingency(np.array(a), np.array(b), classes))


def test_index_of_known_tables(rng):
    assert index([0, 0, 1, 1, 2], [2, 2, 0, 0, 1]) == 1
    assert index([0, 0, 1, 1], [0, 0, 1, 2]) == pytest.approx(4 / 7)  # 1 pair of both, 2 and 1 of each, 6 in all
    assert index([0, 0, 0, 0], [0, 0, 0, 0]) == 1
    assert abs(index(rng.integers(3, size=20000), rng.integers(3, size=20000))) < 0.002


def test_particles_without_a_map_do_not_count():
    assert index([0, 0, 1, 1, -1, 2], [1, 1, 0, 0, 2, -1]) == 1


def test_maps_are_matched_one_to_one():
    truth, renamed = np.array([0] * 5 + [1] * 4 + [2] * 6), np.array([2] * 5 + [0] * 4 + [1] * 6)
    names = match_classes(contingency(truth, renamed, 3))
    np.testing.assert_array_equal(names[renamed], truth)


def test_consensus_finds_the_undecided(rng):
    truth = rng.integers(3, size=300)
    a, b, c = truth.copy(), (truth + 1) % 3, (truth + 2) % 3  # the same classes, numbered otherwise
    b[:10] = (b[:10] + 1) % 3  # one run errs: two still agree
    c[20:30], b[20:30] = (c[20:30] + 1) % 3, (b[20:30] + 2) % 3  # three runs, three answers
    a[40] = b[40] = -1
    found = consensus([a, b, c], 3)
    names = found.numbering[0]
    assert (found.label[20:30] == -1).all() and found.label[40] == -1
    decided = np.setdiff1d(np.arange(300), [*range(20, 30), 40])
    np.testing.assert_array_equal(found.label[decided], names[truth[decided]])
    np.testing.assert_allclose(found.votes[:10], 2 / 3)
    assert found.ari[0, 0] == 1 and 0.8 < found.ari[0, 1] < 1
