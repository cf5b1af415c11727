"""The run file: both transports, any number of ranks, and what is left when a run is interrupted."""
import h5py
import numpy as np
import pytest

from mpirefine.data.partition import Block, Partition
from mpirefine.errors import FormatError, InputError
from mpirefine.storage.runfile import RunFile, has_parallel_hdf5

TRANSPORTS = ["gather"] + (["mpio"] if has_parallel_hdf5() else [])


def fill(writer, team, rows):
    """An iteration with rows over ranks, chunked rows, and a small array."""
    partition = Partition.even(rows, team.size, 4)
    mine = partition[team.rank]
    scores = np.arange(rows * 2.0).reshape(rows, 2)[mine.as_slice]
    writer.write_rows("candidates/score", scores, partition)
    writer.begin_rows("classes/average", 6, (2, 2))
    for block in Block(0, 6).chunks(4):
        part = Partition.even(block.size, team.size)[team.rank]
        own = Block(block.start + part.start, block.start + part.stop)
        writer.put_rows("classes/average", own, np.arange(24.0).reshape(6, 2, 2)[own.as_slice])
    writer.write_array("noise/scale", np.array([1.5, 2.5]) if team.is_root else None)
    writer.attrs({"rings": 9})


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("rows", [3, 10, 40])
def test_same_datasets_by_every_transport_and_rank_count(team, shared_tmp, transport, rows):
    with RunFile.create(shared_tmp, team, {"options": "{}", "ranks": 5}, transport) as run:
        assert run.iterations() == []
        with run.write_iteration(1) as writer:
            fill(writer, team, rows)
        assert run.iterations() == [1]
        np.testing.assert_array_equal(run.read_array(1, "candidates/score"), np.arange(rows * 2.0).reshape(rows, 2))
        np.testing.assert_array_equal(run.read_array(1, "classes/average"), np.arange(24.0).reshape(6, 2, 2))
        np.testing.assert_array_equal(run.read_array(1, "noise/scale"), [1.5, 2.5])
        assert run.read_attrs(1)["rings"] == 9
        partition = Partition.even(rows, team.size)
        mine = partition[team.rank]
        np.testing.assert_array_equal(run.read_rows(1, "candidates/score", mine), np.arange(rows * 2.0).reshape(rows, 2)[mine.as_slice])
    team.barrier()
    if team.is_root:
        with h5py.File(shared_tmp / "run.h5") as plain:
            assert plain.attrs["ranks"] == 5 and list(plain["iterations"]) == ["01"]
            score = plain["iterations/01/candidates/score"]
            assert score.dtype == np.float32 and "log-likelihood" in score.attrs["text"]


@pytest.mark.ranks(4)
def test_written_by_two_read_by_three(team, shared_tmp):
    two = team.first(2)
    if two is not None:
        with RunFile.create(shared_tmp, two, {}).write_iteration(1) as writer:
            fill(writer, two, 11)
        two.comm.Free()
    team.barrier()
    three = team.first(3)
    if three is not None:
        run = RunFile.open(shared_tmp, three)
        mine = Partition.even(11, 3)[three.rank]
        np.testing.assert_array_equal(run.read_rows(1, "candidates/score", mine), np.arange(22.0).reshape(11, 2)[mine.as_slice])
        three.comm.Free()


@pytest.mark.parametrize("transport", ["gather"])
def test_an_interrupted_iteration_is_not_there(team, shared_tmp, transport):
    run = RunFile.create(shared_tmp, team, {}, transport)
    with run.write_iteration(1) as writer:
        fill(writer, team, 5)
    with pytest.raises(KeyboardInterrupt):
        with run.write_iteration(2) as writer:
            fill(writer, team, 5)
            raise KeyboardInterrupt
    assert run.iterations() == [1]
    team.barrier()
    again = RunFile.open(shared_tmp, team)
    assert again.iterations() == [1] and not list((shared_tmp / "iterations").glob("*.tmp"))
    with again.write_iteration(2) as writer:
        fill(writer, team, 5)
    assert again.iterations() == [1, 2]


def test_not_a_run(team, shared_tmp):
    with pytest.raises(InputError, match="no run.h5 here"):
        RunFile.open(shared_tmp, team)


@pytest.mark.ranks(1)
def test_wrong_format_and_unknown_items(team, shared_tmp):
    RunFile.create(shared_tmp, team, {})
    with h5py.File(shared_tmp / "run.h5", "a") as file:
        file.attrs["format"] = 99
    with pytest.raises(InputError, match="written in format 99"):
        RunFile.open(shared_tmp, team)
    with pytest.raises(FormatError, match="no item 'candidates/colour'"):
        RunFile.create(shared_tmp, team, {}).read_array(1, "candidates/colour")
