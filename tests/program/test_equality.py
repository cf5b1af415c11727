"""A change of the code that is meant to change no result changes none: both ways, one rank and three."""

import numpy as np
import pytest

from tests.program.equality import EXPECTED, WAYS, refined, rounding

pytestmark = pytest.mark.slow
SAME, LIKE = 1e-6, 0.1  # of the largest density; on a processor that rounds as the recording one did, and on any other


@pytest.mark.parametrize("way", WAYS)
def test_labels_and_maps_are_those_recorded(way, tmp_path):
    one, three = (refined(way, ranks, tmp_path / f"{ranks}") for ranks in (1, 3))
    with np.load(EXPECTED) as expected:
        label, volumes = expected[f"{way}/label"], expected[f"{way}/map"]
        tolerance = SAME if np.array_equal(rounding(), expected["rounding"]) else LIKE
    largest = np.abs(volumes).max(axis=(1, 2, 3), keepdims=True)
    for found in (one, three):
        np.testing.assert_array_equal(found["label"], label)
        assert (np.abs(found["map"] - volumes) <= tolerance * largest).all()
    assert (np.abs(three["map"] - one["map"]) <= SAME * largest).all()
