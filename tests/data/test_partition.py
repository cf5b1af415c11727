"""Partitions: written-out expectations, and properties over many sizes."""

import pytest

from mpirefine.data.partition import Block, Partition


@pytest.mark.parametrize(
    "n, parts, quantum, expected",
    [
        (10, 3, 1, [(0, 4), (4, 7), (7, 10)]),
        (10, 3, 4, [(0, 4), (4, 8), (8, 10)]),
        (2, 4, 1, [(0, 1), (1, 2), (2, 2), (2, 2)]),
        (0, 2, 8, [(0, 0), (0, 0)]),
        (9, 2, 8, [(0, 8), (8, 9)]),
        (7, 1, 3, [(0, 7)]),
    ],
)
def test_even(n, parts, quantum, expected):
    assert [tuple(b) for b in Partition.even(n, parts, quantum)] == expected


@pytest.mark.parametrize("n", [0, 1, 3, 7, 1000])
@pytest.mark.parametrize("parts", range(1, 17))
@pytest.mark.parametrize("quantum", [1, 8])
def test_every_row_has_one_owner(n, parts, quantum):
    partition = Partition.even(n, parts, quantum)
    assert partition.bounds[0] == 0 and partition.bounds[-1] == n and len(partition) == parts
    assert [i for block in partition for i in range(*block)] == list(range(n))
    assert all(block.start % quantum == 0 or block.size == 0 for block in partition)
    assert max(partition.counts) - min(partition.counts) <= quantum
    for row in (0, n // 2, n - 1):
        if 0 <= row < n:
            block = partition[partition.owner(row)]
            assert block.start <= row < block.stop


def test_out_of_range():
    with pytest.raises(IndexError):
        Partition.even(5, 2)[2]
    with pytest.raises(IndexError):
        Partition.even(5, 2).owner(5)


def test_chunks():
    assert [tuple(c) for c in Block(2, 9).chunks(3)] == [(2, 5), (5, 8), (8, 9)]
    assert list(Block(4, 4).chunks(3)) == []
