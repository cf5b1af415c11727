"""Pixels in a file of the scratch folder: as in memory, no file left behind, clear errors."""

import os
from collections import namedtuple

import numpy as np
import pytest

from mpirefine.errors import InputError, StorageFailure
from mpirefine.storage import scratch
from mpirefine.storage.scratch import scratch_array


def test_it_holds_values_and_no_name_is_left(tmp_path):
    array = scratch_array(str(tmp_path), (3, 4, 5))
    array[1] = 7
    assert array.shape == (3, 4, 5) and array.dtype == np.float32
    assert array[1].min() == 7 and not array[[0, 2]].any()
    assert not list(tmp_path.iterdir())
    assert scratch_array(str(tmp_path), (0, 4, 5)).shape == (0, 4, 5)


def test_its_space_is_given_back(tmp_path):
    def open_files():
        return sum("mpirefine-" in os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd"))

    def mapped():
        with open("/proc/self/maps") as lines:
            return sum("mpirefine-" in line for line in lines)

    array = scratch_array(str(tmp_path), (64, 64))
    assert mapped() == 1
    del array
    assert mapped() == open_files() == 0


def test_too_little_space_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch.shutil, "disk_usage", lambda folder: namedtuple("usage", "free")(12345))
    with pytest.raises(StorageFailure, match="1,000,000,000,000,000 bytes .* 12,345 are free: give another folder"):
        scratch_array(str(tmp_path), (250, 10**6, 10**6))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="--scratch .*gone: no file can be made there"):
        scratch_array(str(tmp_path / "gone"), (2, 2))
