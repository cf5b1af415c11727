"""Teams: errors reach every rank, agreement, nodes, and reductions against closed forms."""

import numpy as np
import pytest

from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.distribution.window import Window
from mpirefine.errors import InputError, RankFailure


def test_refine_error_of_the_last_rank_is_everybodys(team):
    with pytest.raises(InputError, match="row 7") as caught:
        with team.together("reading"):
            if team.rank == team.size - 1:
                raise InputError("row 7 is wrong")
    assert caught.value.on_all_ranks and caught.value.problems == ("row 7 is wrong",)


def test_file_error_names_the_rank(team):
    with pytest.raises(RankFailure, match=f"rank {team.size - 1}, reading: FileNotFoundError"):
        with team.together("reading"):
            if team.rank == team.size - 1:
                raise FileNotFoundError("gone")


def test_a_mistake_in_the_program_keeps_its_type_where_it_happened(team):
    wanted = ZeroDivisionError if team.is_root else RankFailure
    with pytest.raises(wanted):
        with team.together("thinking"):
            if team.is_root:
                raise ZeroDivisionError("oops")


def test_nothing_happens_without_error(team):
    with team.together("resting"):
        pass
    assert team.allgather(team.rank) == list(range(team.size))


def test_from_root_runs_once(team):
    calls = []
    assert team.from_root(lambda x: calls.append(x) or 3 * x, 5) == 15
    assert len(calls) == (1 if team.is_root else 0)
    with pytest.raises(InputError, match="no such map"):
        team.from_root(_fail)


def _fail():
    raise InputError("no such map")


def test_agree_takes_the_roots_value_and_notices_others(team):
    assert team.agree(4, "four") == 4
    if team.size > 1:
        with pytest.raises(RankFailure, match="does not agree with rank 0 on the weather"):
            team.agree(team.rank, "the weather")


def test_node_holds_all_ranks_of_this_machine(team):
    assert team.node.size == team.size and team.node.rank == team.rank


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128, np.int64])
@pytest.mark.parametrize("size", [0, 1, 7, (1 << 20) + 3])
def test_sum(team, dtype, size):
    values = (np.arange(size) % 5 + team.rank).astype(dtype)
    reduce.sum_in_place(team, values)
    ranks = team.size
    np.testing.assert_array_equal(values, (ranks * (np.arange(size) % 5) + ranks * (ranks - 1) // 2).astype(dtype))


def test_sum_refuses_strided_arrays(team):
    with pytest.raises(ValueError, match="contiguous"):
        reduce.sum_in_place(team, np.zeros((4, 4))[:, ::2])


def test_bytes_are_counted(team):
    before = team.bytes_sent
    reduce.sum_in_place(team, np.zeros(10))
    assert team.bytes_sent - before == (80 if team.size > 1 else 0)


@pytest.mark.parametrize("rows", [0, 1, 2, 11])
def test_gather_rows_in_order_with_empty_ranks(team, rows):
    partition = Partition.even(rows, team.size, 2)
    mine = partition[team.rank]
    whole = np.arange(rows * 6.0).reshape(rows, 2, 3)
    found = reduce.gather_rows(team, whole[mine.as_slice].copy(), partition)
    if team.is_root:
        np.testing.assert_array_equal(found, whole)
    else:
        assert found is None


def test_bcast_array(team):
    source = np.arange(12, dtype=np.float32).reshape(3, 4) if team.is_root else None
    np.testing.assert_array_equal(reduce.bcast_array(team, source), np.arange(12).reshape(3, 4))


def test_exchange_uneven_and_empty(team):
    send = [np.full((to, 2), 10 * team.rank + to, np.complex64) for to in range(team.size)]
    found = reduce.exchange(team, send)
    assert [f.shape for f in found] == [(team.rank, 2)] * team.size
    for source, part in enumerate(found):
        assert (part == 10 * source + team.rank).all()


def test_window_is_filled_by_all_and_read_only(team):
    partition = Partition.even(7, team.node.size)
    with Window(team, (7, 3), np.float32) as window:
        with pytest.raises(RuntimeError, match="not sealed"):
            window.array
        mine = partition[team.node.rank]
        window.writable[mine.as_slice] = np.arange(7)[mine.as_slice, None]
        window.seal()
        np.testing.assert_array_equal(window.array, np.arange(7)[:, None] * np.ones(3))
        with pytest.raises(RuntimeError, match="is sealed"):
            window.writable
        with pytest.raises(ValueError, match="read-only"):
            window.array[0] = 1
        team.barrier()


def test_window_without_rows(team):
    with Window(team, (0, 4), np.float32) as window:
        window.seal()
        assert window.array.shape == (0, 4)
