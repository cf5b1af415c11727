"""The run file: both transports, any number of ranks, and what is left when a run is interrupted."""

import h5py
import numpy as np
import pytest

from mpirefine.data.partition import Block, Partition
from mpirefine.errors import FormatError, InputError, StorageFailure
from mpirefine.storage.run import iteration_writer
from mpirefine.storage.run.runfile import RunFile, has_parallel_hdf5

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
        np.testing.assert_array_equal(
            run.read_rows(1, "candidates/score", mine), np.arange(rows * 2.0).reshape(rows, 2)[mine.as_slice]
        )
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
        np.testing.assert_array_equal(
            run.read_rows(1, "candidates/score", mine), np.arange(22.0).reshape(11, 2)[mine.as_slice]
        )
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
    with pytest.raises(FormatError, match="no dataset 'candidates/colour'"):
        RunFile.create(shared_tmp, team, {}).read_array(1, "candidates/colour")


def zeroed(monkeypatch, team, name):
    """What some MPI-IO leaves of rows that a full disk did not take: zeros, and no error."""
    close = iteration_writer.IterationWriter.close

    def closing(self):
        close(self)
        if team.is_root:
            with h5py.File(self.path, "r+") as file:
                file[name][-1:] = 0
        team.barrier()

    monkeypatch.setattr(iteration_writer.IterationWriter, "close", closing)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("name", ["candidates/score", "classes/average", "noise/scale"])
def test_rows_that_the_disk_did_not_take_are_noticed_by_all(team, shared_tmp, monkeypatch, transport, name):
    run = RunFile.create(shared_tmp, team, {}, transport)
    with monkeypatch.context() as patch:
        zeroed(patch, team, name)
        with pytest.raises(
            StorageFailure, match=rf"iteration 1 was not written whole \(dataset {name}, rows .*free space .*resume"
        ) as failure:
            with run.write_iteration(1) as writer:
                fill(writer, team, 40)
    assert failure.value.exit_status == 1 and len(set(team.allgather(str(failure.value)[:60]))) == 1
    team.barrier()
    assert run.iterations() == [] and not list((shared_tmp / "iterations").iterdir())
    with run.write_iteration(1) as writer:
        fill(writer, team, 40)
    assert run.iterations() == [1]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_error_of_the_disk_on_one_rank_is_raised_by_all(team, shared_tmp, monkeypatch, transport):
    put = iteration_writer.IterationWriter._put

    def through_root(self, *args):
        with self._trying("dataset candidates/score"):
            raise OSError("no space left")

    def by_all(*args):
        put(*args)
        if team.rank == team.size - 1:
            raise OSError("no space left")

    run = RunFile.create(shared_tmp, team, {}, transport)
    with monkeypatch.context() as patch:
        patch.setattr(iteration_writer.IterationWriter, "_put_serial", through_root)
        patch.setattr(iteration_writer.IterationWriter, "_put", staticmethod(by_all))
        with pytest.raises(
            StorageFailure, match=r"not written whole \(dataset candidates/score: no space left\)"
        ) as failure:
            with run.write_iteration(1) as writer:
                fill(writer, team, 40)
    assert failure.value.on_all_ranks and failure.value.at_once
    while iteration_writer._UNCLOSED:
        iteration_writer._UNCLOSED.pop().close()  # this disk is not full
    team.barrier()
    assert run.iterations() == [] and not list((shared_tmp / "iterations").iterdir())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_too_little_space(team, shared_tmp, transport):
    run = RunFile.create(shared_tmp, team, {}, transport)
    for ask in (lambda writer: writer.ensure_space(10**18), lambda writer: run.ensure_space(10**18, "iteration 1")):
        with pytest.raises(
            StorageFailure,
            match=r"iteration 1 needs 1,000,000,000,000,000,000 bytes on the disk, [\d,]+ are free in .*: free space",
        ):
            with run.write_iteration(1) as writer:
                ask(writer)
    team.barrier()
    assert not list((shared_tmp / "iterations").iterdir())


def flipped(path, whole, bit):
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)


@pytest.mark.ranks(1)
def test_every_single_bit_counts(team, shared_tmp, rng):
    run = RunFile.create(shared_tmp, team, {})
    for iteration in (1, 2):
        with run.write_iteration(iteration) as writer:
            fill(writer, team, 40)
    path = run.path_of(1)
    whole = path.read_bytes()
    assert whole.startswith(b"mpirefine iteration 1\nbytes %d\n" % len(whole))
    places = [*range(0, 8 * 120, 7), *rng.integers(8 * len(whole), size=300)]
    for damage in [
        *(lambda bit=bit: flipped(path, whole, int(bit)) for bit in places),
        lambda: path.write_bytes(whole[:-1]),
        lambda: path.write_bytes(whole[:300]),
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(whole + b"\0"),
        lambda: path.write_bytes(run.path_of(2).read_bytes()),
    ]:
        damage()
        for reading in (
            lambda: RunFile.open(shared_tmp, team).read_array(1, "candidates/score"),
            lambda: RunFile.open(shared_tmp, team).read_attrs(1),
        ):
            with pytest.raises(FormatError, match="01.h5: damaged: "):
                reading()
    path.write_bytes(whole)
    assert RunFile.open(shared_tmp, team).read_attrs(1)["rings"] == 9


@pytest.mark.parametrize("damage", ["bit", "short", "gone"])
def test_a_damaged_index_is_made_anew_from_the_iterations(team, shared_tmp, damage):
    run = RunFile.create(shared_tmp, team, {"options": "{}", "ranks": 5})
    index, header = shared_tmp / "run.h5", dict(run.header)

    def break_it():
        team.barrier()
        if team.is_root:
            whole = index.read_bytes()
            if damage == "bit":
                flipped(index, whole, 8 * 700)
            else:
                index.unlink() if damage == "gone" else index.write_bytes(whole[:900])
        team.barrier()

    with run.write_iteration(1) as writer:
        fill(writer, team, 40)
    break_it()
    again = RunFile.open(shared_tmp, team)
    assert again.header == header and again.iterations() == [1]
    assert RunFile.open(shared_tmp, team).header == header
    if team.is_root:
        run.path_of(1).unlink()
    break_it()
    with pytest.raises(InputError, match="run.h5: damaged .*start a new run|no run.h5 here"):
        RunFile.open(shared_tmp, team)
