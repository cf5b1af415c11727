"""Whether files are still those that a run was started with."""

import os
from pathlib import Path

import pytest

from mpirefine.errors import InputError
from mpirefine.storage.run.fingerprint import (
    SAMPLE_BYTES,
    SAMPLES,
    Watched,
    parse_fingerprints,
    record_fingerprints,
    with_listed_files,
)

LARGE = 3 * SAMPLES * SAMPLE_BYTES


@pytest.fixture
def files(shared_tmp, team, rng):
    """Small, large (sampled), text, empty."""
    sizes = {"small.mrc": 1000, "large.mrcs": LARGE, "rows.star": 100, "empty.mrc": 0}
    if team.is_root:
        for name, size in sizes.items():
            (shared_tmp / name).write_bytes(rng.bytes(size))
    team.barrier()
    return [str(shared_tmp / name) for name in sizes]


def changed(team, path, change):
    team.barrier()
    if team.is_root:
        change(path)
    team.barrier()


def overwrite(at):
    def change(path):
        before = os.stat(path)
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))

    return change


@pytest.mark.parametrize("which, at", [(0, 999), (0, 0), (1, 0), (1, LARGE - 1), (2, 50)])
def test_a_byte_that_changed_is_told_by_all_ranks(team, shared_tmp, files, which, at):
    watched = Watched(team, parse_fingerprints(record_fingerprints(team, files)), shared_tmp / "run")
    watched.check()
    watched.check(thorough=True)
    changed(team, files[which], overwrite(at))
    for thorough in (False, True):
        with pytest.raises(InputError, match="is not the file with which .*run was started") as told:
            watched.check(thorough=thorough)
        assert told.value.problems[0].startswith(files[which]) and len(told.value.problems) == 1


def test_another_time_is_no_other_content(team, shared_tmp, files):
    watched = Watched(team, parse_fingerprints(record_fingerprints(team, files)), shared_tmp / "run")
    for path in files:
        changed(team, path, lambda path: os.utime(path, (1, 1)))
    watched.check()
    watched.check(thorough=True)
    assert all(one.time == 1_000_000_000 for one in watched._own)


def test_what_is_gone_longer_or_kept_its_time(team, shared_tmp, files):
    watched = Watched(team, parse_fingerprints(record_fingerprints(team, files)), shared_tmp / "run")
    changed(team, files[0], os.unlink)
    changed(team, files[3], lambda path: Path(path).write_bytes(b"x"))
    with pytest.raises(InputError) as told:
        watched.check()
    assert sorted(problem.split()[0] for problem in told.value.problems) == sorted([files[0], files[3]])
    assert any("No such file" in problem for problem in told.value.problems)
    with pytest.raises(InputError, match="cannot be read"):
        record_fingerprints(team, files)


def test_lists_and_what_they_name(tmp_path):
    (tmp_path / "inner.lst").write_text("#LSX\n# c\n# 20\n0\tstack.hdf\n1\tstack.hdf\n")
    (tmp_path / "outer.lst").write_text("#LSX\n# c\n# 20\n0\tinner.lst\n0\tother.mrcs\n")
    for name in ("stack.hdf", "other.mrcs"):
        (tmp_path / name).write_bytes(b"x")
    found = with_listed_files([str(tmp_path / "outer.lst"), str(tmp_path / "map.mrc"), str(tmp_path / "map.mrc"), ""])
    assert [os.path.basename(name) for name in found] == [
        "inner.lst",
        "map.mrc",
        "other.mrcs",
        "outer.lst",
        "stack.hdf",
    ]
