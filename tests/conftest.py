"""Tests run alone or under mpirun: the same files, sub-teams of every size up to the world's."""

import lzma
import os
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from mpirefine.distribution.team import Team
from mpirefine.program import logs

WORLD = MPI.COMM_WORLD
ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"


def pytest_configure(config):
    """Only rank 0 reports; what other ranks fail in is seen by the exit status and on their stderr."""
    if WORLD.rank > 0:
        sys.stdout = open(os.devnull, "w")
        config.option.verbose = -2


def pytest_sessionstart(session):
    """All ranks run the tests in one order: that of rank 0 when pytest-randomly (-p randomly) shuffles them."""
    if hasattr(session.config.option, "randomly_seed"):
        session.config.option.randomly_seed = WORLD.bcast(session.config.option.randomly_seed)


def pytest_generate_tests(metafunc):
    """A test with a team runs on one rank, or under mpirun on every size above one that it names and the world has."""
    if "team" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("ranks")
        least = 1 if WORLD.size == 1 else 2
        sizes = [n for n in (marker.args if marker else (1, 2, 3, 4)) if least <= n <= WORLD.size]
        metafunc.parametrize("team", sizes or [0], indirect=True, ids=lambda n: f"{n}ranks")


def pytest_collection_modifyitems(config, items):
    """Tests without a size to run with are left out, and under mpirun those without a team: they ran in one process."""
    chosen = [item for item in items if WORLD.size == 1 or "team" in item.fixturenames]
    chosen = [item for item in chosen if "team" not in item.fixturenames or item.callspec.params["team"] > 0]
    kept = {id(item) for item in chosen}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = chosen


def wait_for_all():
    """A barrier of the world that leaves the cores to the ranks that are still at work."""
    request = WORLD.Ibarrier()
    while not request.Test():
        time.sleep(0.002)


@pytest.fixture
def team(request):
    """The first k ranks; the others wait at the end of the test."""
    part = Team(WORLD).first(request.param)
    try:
        if part is None:
            pytest.skip(f"rank {WORLD.rank} is not among the first {request.param}")
        Team.debug = True
        yield part
    finally:
        if part is not None:
            part.close()
            part.comm.Free()
        wait_for_all()


@pytest.fixture(scope="session")
def one_rank():
    """`one_rank(name, compute)`: what `compute(team)` gives on a team of this rank alone, computed once for a name."""
    known = {}

    def result(name, compute):
        if name not in known:
            with Team(MPI.COMM_SELF) as alone:
                known[name] = compute(alone)
        return known[name]

    return result


@pytest.fixture
def rng():
    return np.random.default_rng(20111206)


@pytest.fixture
def shared_tmp(team):
    """A folder all ranks of the team see."""
    folder = team.bcast(tempfile.mkdtemp(prefix="mpirefine_") if team.is_root else None)
    yield Path(folder)
    team.barrier()
    if team.is_root:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def quiet():
    """No handler of a run or command stays, and no log file open."""
    yield
    logs.set_up(0, 1, 0)


@pytest.fixture(scope="session")
def oracle(tmp_path_factory):
    """A folder with what EMAN2's own programs answered: tests/data/oracle, unpacked."""
    folder = tmp_path_factory.mktemp("oracle")
    for path in sorted((DATA / "oracle").iterdir()):
        if path.name.endswith(".tar.xz"):
            unpack(path, folder)
        elif path.suffix == ".xz":
            (folder / path.stem).write_bytes(lzma.decompress(path.read_bytes()))
        else:
            shutil.copyfile(path, folder / path.name)
    return folder


@pytest.fixture(scope="session")
def broken_files(tmp_path_factory):
    """A folder of STAR, LST and HDF files that are wrong in one way each; tests/data/README.md says in which."""
    folder = tmp_path_factory.mktemp("broken")
    unpack(DATA / "broken_files.tar.xz", folder)
    return folder / "files"


def unpack(archive, folder):
    known = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4 and later
    with tarfile.open(archive) as tar:
        tar.extractall(folder, **known)


def pytest_sessionfinish(session, exitstatus):
    """The exit status is the worst of all ranks; a rank where all was skipped has none."""
    own = 0 if int(exitstatus) == 5 and WORLD.size > 1 else int(exitstatus)
    session.exitstatus = WORLD.allreduce(own, op=MPI.MAX)
