"""Runs whose sets are written in another program's format and used again."""

import numpy as np
import pytest

from mpirefine.storage.eman2.lst import read_lst
from tests.program.small import basic, command, make_set

pytestmark = pytest.mark.ranks(1)


def labels(path):
    return np.array([entry.header["class"] for entry in read_lst(path)])


def test_sets_as_lists_are_an_input_again(tmp_path):
    """The list has what the STAR file had: the same particles find the same maps."""
    folder = make_set(tmp_path / "set")
    for name, changes in (("one", {}), ("two", {"input": tmp_path / "one/particles.lst"})):
        line = basic(folder, setformat="lst", path=name, **changes)
        (tmp_path / name).mkdir()
        done = command(*line, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("the phases of 60 images are not flipped" in done.stdout + done.stderr) == (name == "one")
    first, again = (labels(tmp_path / name / "particles.lst") for name in ("one", "two"))
    assert set(first) == {1, 2}
    np.testing.assert_array_equal(first, again)
    assert len(read_lst(tmp_path / "two/sets/particles_m01.lst")) == (again == 1).sum()
