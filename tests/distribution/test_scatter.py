"""Tables of particles from rank 0 to all ranks: every field of every row, in messages of bounded size."""

from dataclasses import fields, replace

import numpy as np
import pytest

from mpirefine.data.ctf import CTFParams
from mpirefine.data.emanctf import EmanCTF
from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.data.particles import ParticleTable
from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.distribution.scatter import scatter_table

BOUND = 256  # bytes of a message


def make_table(count, files):
    """A table with every field set; the names of files alone are longer than many messages."""
    rng = np.random.default_rng(count)
    names = tuple(f"/data/a folder with a long name/movies/grid_{number:06d}.mrcs" for number in range(files))
    columns = {f.name: rng.normal(size=count) for f in fields(CTFParams)}
    even = {"even": rng.integers(0, 2, count).astype(np.int32), "even_coefficients": ((), (0.0, 1.5))}
    ctf = CTFParams(**{**columns, "flipped": rng.random(count) < 0.5, "premultiplied": None, **even})
    return ParticleTable(
        names,
        rng.integers(0, files, count).astype(np.int32),
        rng.integers(0, 1000, count),
        np.arange(count),
        rng.integers(0, files, count).astype(np.int32),
        names,
        rng.integers(0, 2, count).astype(np.int8),
        ctf,
        rotation=rng.normal(size=(count, 3, 3)),
        shift=rng.normal(size=(count, 2)),
        optics=np.arange(files, dtype=np.int32) // 10,
        eman_ctf=(EmanCTF(1.5, snr=(1.0, 0.5)), EmanCTF(2.5)),
        eman_index=rng.integers(0, 2, count).astype(np.int32),
        subset=rng.integers(-1, 2, count).astype(np.int8),
        own_key=rng.integers(0, 2**63, count).astype(np.uint64),
        repeat=rng.random(count) < 0.1,
        inverted=rng.random(count) < 0.5,
        lenses=(Lens("one", Grid(16, 2.0)), Lens("two", Grid(20, 1.6), odd=(0.0, 1.0))),
        lens=rng.integers(0, 2, count).astype(np.int32),
    )


def assert_same(found, expected):
    """Every field, and its type."""
    assert found.files == expected.files and found.group_names == expected.group_names
    assert found.eman_ctf == expected.eman_ctf and found.lenses == expected.lenses
    assert (found.ctf is None) == (expected.ctf is None)
    assert found.ctf is None or found.ctf.even_coefficients == expected.ctf.even_coefficients
    np.testing.assert_array_equal(found.optics_of_group, expected.optics_of_group)
    columns = expected.columns()
    assert found.columns().keys() == columns.keys()
    for name, values in found.columns().items():
        np.testing.assert_array_equal(values, columns[name])
        assert values.dtype == columns[name].dtype


class Recorder:
    """A communicator that notes the bytes of each message."""

    def __init__(self, comm):
        self._comm, self.sizes = comm, [0]

    def __getattr__(self, name):
        call = getattr(self._comm, name)
        if name not in ("Send", "Recv", "Bcast"):
            return call

        def noted(buffer, *arguments, **options):
            self.sizes.append(buffer.nbytes)
            return call(buffer, *arguments, **options)

        return noted


@pytest.mark.parametrize("count, quantum", [(0, 1), (1, 1), (2, 1), (3, 64), (64, 64), (500, 1)])
@pytest.mark.parametrize("files", [1, 200])
def test_scatter_table(team, monkeypatch, count, quantum, files):
    """Empty tables, ranks without rows, more ranks than rows, many files."""
    monkeypatch.setattr(reduce, "PIECE_BYTES", BOUND)
    recorder = Recorder(team.comm)
    monkeypatch.setattr(team, "comm", recorder)
    table, partition = make_table(count, files), Partition.even(count, team.size, quantum)
    found = scatter_table(team, table if team.is_root else None, partition)
    assert_same(found, table.take(partition[team.rank].as_slice))
    assert max(recorder.sizes) <= BOUND
    assert len(recorder.sizes) > 1 or team.size == 1


def test_fields_that_are_not_set_stay_so(team):
    table = replace(make_table(5, 2), ctf=None, rotation=None, shift=None, eman_ctf=None, eman_index=None, optics=None)
    partition = Partition.even(5, team.size)
    found = scatter_table(team, table if team.is_root else None, partition)
    assert_same(found, table.take(partition[team.rank].as_slice))
    assert found.ctf is None and found.rotation is None and found.eman_ctf is None


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (7, 2, 3)])
@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float32])
def test_scatter_rows_undoes_gather_rows(team, shape, dtype):
    rows, partition = np.arange(np.prod(shape)).reshape(shape).astype(dtype), Partition.even(shape[0], team.size)
    own = reduce.scatter_rows(team, rows if team.is_root else None, partition)
    np.testing.assert_array_equal(own, rows[partition[team.rank].as_slice])
    whole = reduce.gather_rows(team, np.ascontiguousarray(own), partition)
    assert whole is None or np.array_equal(whole, rows)


def test_bcast_large(team, monkeypatch):
    monkeypatch.setattr(reduce, "PIECE_BYTES", 16)
    assert reduce.bcast_large(team, {"a": list(range(100))} if team.is_root else None) == {"a": list(range(100))}
