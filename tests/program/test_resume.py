"""A run that is taken up: what it owes is presented, damage and changed inputs are noticed, and a full disk leaves a
run that goes on.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections import namedtuple

import h5py
import numpy as np
import pytest

from mpirefine.errors import FormatError, InputError, StorageFailure
from mpirefine.program import logs
from mpirefine.program.cli import Parser
from mpirefine.program.options import Options, add_to
from mpirefine.program.performance.timing import Clock
from mpirefine.program.results import checkpoint, run_folder
from mpirefine.program.run import read_last, resume, start
from mpirefine.program.start.setup import open_session
from mpirefine.steps.shared import converge
from mpirefine.steps.summary import Coarse
from mpirefine.storage.run import checksum, space
from mpirefine.storage.run.runfile import RunFile
from tests.program.small import basic, clean_environment, command, make_set

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]
FEW = 48
NOT_RESULTS = ("run.log", "timing.json", "report.html", "0_refine_parms.json")  # which hold times and paths
Usage = namedtuple("Usage", "total used free")


class Killed(BaseException):
    """What a process that is killed does not live to see."""


@pytest.fixture
def few(shared_tmp, team):
    return team.from_root(make_set, shared_tmp / "set", FEW)


@pytest.fixture
def fewer(shared_tmp, team):
    return team.from_root(make_set, shared_tmp / "set", 12)


@pytest.fixture
def said(caplog):
    """The log of rank 0, which does not propagate."""
    logger = logging.getLogger("mpirefine")

    def listen(*args):
        set_up(*args)
        logger.addHandler(caplog.handler)
        logger.setLevel(logging.INFO)

    set_up, logs.set_up = logs.set_up, listen
    yield caplog
    logs.set_up = set_up
    logger.removeHandler(caplog.handler)


def options(folder, **changes):
    parser = Parser()
    add_to(parser, full=True)
    return Options(**{"verbose": 0, **vars(parser.parse_args(basic(folder, patience=0, **changes)))})


def results(folder):
    """Bytes of every file that a run leaves beside its run file and log."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if not name.startswith(("run.h5", "iterations/")) and name not in NOT_RESULTS
    }


def flip(path, bit):
    whole = bytearray(path.read_bytes())
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)


def rewritten(path, iteration, change):
    """An iteration with other values and a checksum that is right for them."""
    with h5py.File(path, "r+") as file:
        change(file)
    checksum.seal(path, f"iteration {iteration}")


@pytest.mark.ranks(1)
def test_a_kill_at_any_moment_of_the_output_is_made_good(team, shared_tmp, few, monkeypatch):
    run = shared_tmp / "run"
    start(options(few, path=run, iter=1, held_out=0.5, mass="300"), team)
    expected = results(run)
    assert {
        "differences.json",
        "set_aside.txt",
        "particles.star",
        "threed_01_02_hard.mrc",
        "threed_01_01_half2.mrc",
    } < set(expected)
    for name in (*expected, "report.html", "timing.json"):
        if "threed_00" not in name:
            (run / name).unlink()
    replace, renamed = os.replace, []
    for last in (1, 13):

        def killing(*paths):
            if len(renamed) == last:
                raise Killed
            renamed.append(paths)
            replace(*paths)

        folder = shared_tmp / f"killed_{last}"
        shutil.copytree(run, folder)
        renamed.clear()
        monkeypatch.setattr(os, "replace", killing)
        with pytest.raises(Killed):
            resume(folder, team, {"verbose": 0})
        monkeypatch.setattr(os, "replace", replace)
        assert set(results(folder)) < set(expected)
        resume(folder, team, {"verbose": 0})
        assert results(folder) == expected
        assert (folder / "report.html").exists() and (folder / "timing.json").exists()


def test_a_process_that_is_killed_before_its_maps_owes_them(tmp_path):
    few, run = make_set(tmp_path / "set", 12), tmp_path / "run"
    script = (
        "import os, sys\nfrom mpirefine.program.reports import iteration\n"
        "iteration.Reports.after_iteration = lambda self, state: os._exit(9)\n"
        "from mpirefine import __main__\nsys.exit(__main__.run(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *basic(few, path=run)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 9 and not (run / "threed_01_01.mrc").exists()
    done = command("resume", run)
    assert done.returncode == 0, done.stderr
    for name in (
        "threed_01_01.mrc",
        "threed_02_02.mrc",
        "fsc_halves_01.txt",
        "threed_02_01_hard.mrc",
        "particles.star",
    ):
        assert (run / name).exists(), name
    assert (
        "Iteration 1 of 2" in done.stdout
        and "2 maps, 2 hard maps, 4 half-maps, 2 sets, particles.star, set_aside.txt, report.html" in done.stdout
    )


@pytest.mark.ranks(1)
def test_class_averages_are_taken_up_with_the_headers_of_their_maps(team, shared_tmp, fewer):
    run, choices = shared_tmp / "run", dict(simcmp="ccc", mapformat="hdf", iter=1)
    start(options(fewer, path=run, **choices), team)
    if team.is_root:
        expected = results(run)
        for name in expected:
            if name.startswith(("threed_01", "fsc")):
                (run / name).unlink()
    team.barrier()
    resume(run, team, {"verbose": 0})
    if team.is_root:
        assert set(results(run)) == set(expected)
        with h5py.File(run / "threed_01_01.hdf") as file:
            header = file["MDF/images/0"].attrs
            assert header["EMAN.ptcl_repr"][0] > 0 and len(header["EMAN.threed_ptcl_idxs"]) > 0


@pytest.mark.ranks(1, 2)
def test_a_damaged_iteration_is_named_and_the_one_before_is_taken(team, shared_tmp, fewer, said):
    run = shared_tmp / "run"
    start(options(fewer, path=run, iter=2, held_out=0), team)
    if team.is_root:
        expected = results(run)
        flip(run / "iterations" / "02.h5", 8 * 300_000 + 3)
    team.barrier()
    resume(run, team, {"verbose": 0})
    if team.is_root:
        assert (
            "02.h5: damaged: its checksum is not that of its content" in said.text
            and "continuing from the iteration before" in said.text
        )
        assert "after iteration 1 of 2" in said.text and (run / "iterations" / "02.h5.damaged").exists()
        again = results(run)
        assert set(again) == set(expected) and again["particles.star"] == expected["particles.star"]
        for number in (1, 2):
            flip(run / "iterations" / f"{number:02d}.h5", 8 * 5_000)
    team.barrier()
    session = open_session(options(fewer, path=run), team, options(fewer, path=run))
    run_file = RunFile.open(run, team)
    assert read_last(session, run_file).iteration == 0 and run_file.iterations() == []


@pytest.mark.ranks(1, 2)
def test_maps_from_before_an_undone_trial_are_restored_after_a_resume(team, shared_tmp, fewer, monkeypatch):
    """A run that ends right after the decision goes on with the same maps as one that was never interrupted."""
    decisions = {1: Coarse("coarse", "begins"), 2: Coarse("last", "undone")}
    monkeypatch.setattr(converge, "decide_next_phase", lambda history, *_: decisions[len(history)])
    whole, parts = shared_tmp / "whole", shared_tmp / "parts"
    start(options(fewer, path=whole, iter=3, models=fewer / "seed_0.mrc", nmodels=3, held_out=0), team)
    if team.is_root:
        shutil.copytree(whole, parts)
        (parts / "iterations" / "03.h5").unlink()
    team.barrier()
    resume(parts, team, {"verbose": 0})
    if team.is_root:
        with h5py.File(whole / "iterations/03.h5") as one, h5py.File(parts / "iterations/03.h5") as other:
            np.testing.assert_allclose(one["volumes/map"], other["volumes/map"], atol=1e-5)
            np.testing.assert_array_equal(one["assignments/model"], other["assignments/model"])
            history = json.loads(other.attrs["history"])
        assert [summary["coarse"]["trial"] for summary in history] == ["begins", "undone", "none"]


def put(name, value, place=0):
    def change(file):
        values = file[name][()]
        values[place] = value
        file[name][...] = values

    return change


DAMAGE = [
    (put("assignments/model", 99, 7), r"assignments/model, row 8 is 99: it must be -1 to 1"),
    (put("assignments/model", -2), r"assignments/model, row 1 is -2"),
    (put("assignments/rotation", np.nan, 3), r"assignments/rotation, row 4 .* a rotation"),
    (put("assignments/rotation", 1.5, 3), r"assignments/rotation, row 4"),
    (put("assignments/shift", np.inf), r"assignments/shift, row 1"),
    (put("assignments/weight", -0.5), r"assignments/weight, row 1"),
    (put("assignments/posterior", 1.5, 39), r"assignments/posterior, row 40"),
    (put("trust", np.nan), r"trust, row 1 is nan: it must be 0 to 1"),
    (put("grey", 0), r"grey, row 1 is 0.0: it must be more than 0"),
    (put("noise/sigma2", 0), r"noise/sigma2, row 1"),
    (put("volumes/map", np.nan, 1), r"volumes/map, row 2"),
    (put("candidates/class", 10**6), r"candidates/class, row 1"),
    (lambda file: file.__delitem__("trust"), r"trust is missing"),
    (
        lambda file: (file.__delitem__("grey"), file.create_dataset("grey", data=np.ones(7))),
        r"grey has shape \(7,\) instead of \(48,\)",
    ),
    (lambda file: file.attrs.__setitem__("history", "[]"), "history"),
]


@pytest.mark.ranks(1, 2)
def test_values_that_cannot_be_are_named(team, shared_tmp, few):
    asked = options(few, path=shared_tmp / "run", iter=1, held_out=0)
    start(asked, team)
    session = open_session(asked, team, asked)
    one = shared_tmp / "run" / "iterations" / "01.h5"
    whole = one.read_bytes()
    for change, expected in DAMAGE:
        team.barrier()
        if team.is_root:
            one.write_bytes(whole)
            rewritten(one, 1, change)
        with pytest.raises(FormatError, match=expected):
            checkpoint.read(RunFile.open(shared_tmp / "run", team), 1, session.state, session.context)


@pytest.mark.ranks(1, 2)
def test_an_input_that_changed_is_not_taken_up(team, shared_tmp, fewer):
    run = shared_tmp / "run"
    start(options(fewer, path=run, iter=1, held_out=0), team)
    originals = {name: (fewer / name).read_bytes() for name in ("particles.mrcs", "seed_1.mrc", "particles.star")}
    for name, content in originals.items():
        team.barrier()
        if team.is_root:
            changed = bytearray(content)
            changed[-40] ^= 1
            (fewer / name).write_bytes(changed)
        team.barrier()
        with pytest.raises(InputError, match=f"{name} is not the file with which .*run was started: restore it"):
            resume(run, team, {"iter": 2, "verbose": 0})
        team.barrier()
        if team.is_root:
            (fewer / name).write_bytes(content)  # the same content at another time is fine
    team.barrier()
    if team.is_root:
        (fewer / "seed_0.mrc").rename(fewer / "away.mrc")
    team.barrier()
    with pytest.raises(InputError, match="seed_0.mrc cannot be read"):
        resume(run, team, {"verbose": 0})
    team.barrier()
    if team.is_root:
        (fewer / "away.mrc").rename(fewer / "seed_0.mrc")
    team.barrier()
    resume(run, team, {"verbose": 0})


@pytest.mark.ranks(1, 2)
def test_an_input_that_changes_while_it_is_used_ends_the_run(team, shared_tmp, fewer, monkeypatch):
    from mpirefine.steps.shared import empty_classes

    act = empty_classes.EmptyClasses.run

    def changing(self, state, ctx):
        if ctx.team.is_root and state.iteration == 2:
            with open(fewer / "particles.mrcs", "r+b") as stack:
                stack.seek(2000)
                stack.write(b"changed")
        return act(self, state, ctx)

    monkeypatch.setattr(empty_classes.EmptyClasses, "run", changing)
    with pytest.raises(InputError, match="particles.mrcs is not the file"):
        start(options(fewer, path=shared_tmp / "run", iter=3, held_out=0), team)
    team.barrier()
    assert sorted(path.name for path in (shared_tmp / "run" / "iterations").iterdir()) == ["01.h5"]


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("choices", [{}, {"simcmp": "ccc"}], ids=["likelihood", "classes"])
def test_too_little_space_is_said_before_anything_is_written(team, shared_tmp, fewer, monkeypatch, choices):
    run, free = shared_tmp / "run", [10**9]
    monkeypatch.setattr(
        space.shutil, "disk_usage", lambda folder: Usage(10**9, 0, free.pop() if len(free) > 1 else free[0])
    )
    free[:] = [5 * 10**6, 10**9]  # there is room when the iteration begins, and none when it is written
    with pytest.raises(
        StorageFailure, match=r"iteration 1 needs [\d,]+ bytes on the disk, 5,000,000 are free .*resume"
    ) as failure:
        start(options(fewer, path=run, iter=1, held_out=0, **choices), team)
    assert failure.value.exit_status == 1
    team.barrier()
    assert not list((run / "iterations").iterdir()) and not list(run.glob("class*"))
    free[:] = [10**9]
    if choices:
        return
    resume(run, team, {"verbose": 0})
    assert (run / "iterations" / "01.h5").exists()


@pytest.mark.parametrize(
    "names, fine",
    [
        ([], True),
        (["notes.txt"], False),
        (["iterations/01.h5"], False),
        (["sets/mine.star"], False),
        (["run.log", "0_refine_parms.json"], True),
        ([f"threed_{i:02d}_01.mrc" for i in range(9)], False),
    ],
)
def test_a_folder_that_is_not_empty_is_refused(tmp_path, names, fine):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("old")
    if fine:
        assert run_folder.create(str(folder)) == folder
    else:
        with pytest.raises(
            InputError, match=f"--path .*run: holds {names[0].split('/')[0]}.*: name a new or empty folder"
        ):
            run_folder.create(str(folder))


def test_a_folder_of_runs_may_hold_runs_only(tmp_path):
    (tmp_path / "run_01").mkdir()
    (tmp_path / "runs.json").write_text("{}")
    assert run_folder.choose_parent(str(tmp_path)) == tmp_path
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="holds thesis.tex"):
        run_folder.choose_parent(str(tmp_path))


@pytest.mark.ranks(1, 2, 3, 4)
def test_class_averages_in_the_run_file_are_the_same_for_any_number_of_ranks(
    team, shared_tmp, few, one_rank, tmp_path_factory
):
    def averages(team, folder):
        start(options(few, path=folder / "run", iter=1, held_out=0, block_mb=1), team)
        if team.is_root:
            with h5py.File(folder / "run" / "run.h5") as file:
                return [file[f"iterations/01/classes/{name}"][()] for name in ("average", "count")]

    found = averages(team, shared_tmp)
    if team.is_root:
        first, counts = one_rank("class averages", lambda alone: averages(alone, tmp_path_factory.mktemp("averages")))
        assert (counts > 0).sum() > 10
        np.testing.assert_allclose(found[0], first, atol=2e-3 * np.abs(first).max())


@pytest.mark.ranks(1)
def test_the_record_of_times_may_be_gone(team, tmp_path):
    clock = Clock(team)
    (tmp_path / "timing.json").write_text('{"iterations": [')
    clock.resume(tmp_path / "timing.json", 3)
    clock.resume(tmp_path / "nothing.json", 3)
    assert clock.iterations == []


@pytest.mark.ranks(2, 3)
def test_maps_are_read_by_rank_0_alone(team, shared_tmp, fewer, monkeypatch):
    """Half-maps of large boxes on all ranks of a node would not fit into its memory, not even for a moment."""
    run, read = shared_tmp / "run", []
    start(options(fewer, path=run, iter=1, held_out=0), team)
    array = RunFile.read_array
    monkeypatch.setattr(RunFile, "read_array", lambda self, at, name: read.append(name) or array(self, at, name))
    resume(run, team, {"verbose": 0})
    large = [name for name in read if name.startswith(("volumes/", "curves/"))]
    assert bool(large) == team.is_root and "orientations/model" in read


@pytest.mark.ranks(1, 2)
def test_an_open_trial_can_be_undone_after_a_resume(team, shared_tmp, fewer, monkeypatch, said):
    """The maps from before it come from their own iteration; when that is damaged, it is said and they are missing."""
    run = shared_tmp / "run"
    start(options(fewer, path=run, iter=2, held_out=0), team)
    session = open_session(options(fewer, path=run, iter=2), team, options(fewer, path=run))
    monkeypatch.setattr(checkpoint.Phase, "of", lambda history: checkpoint.Phase(tuple(history), 1, 1, 1))
    state = checkpoint.read(RunFile.open(run, team), 2, session.state, session.context)
    if team.is_root:
        with h5py.File(run / "iterations" / "01.h5") as file:
            np.testing.assert_array_equal(state.before_trial, file["volumes/map"][:])
        flip(run / "iterations" / "01.h5", 8 * 5_000)
    else:
        assert state.before_trial is None
    team.barrier()
    state = checkpoint.read(RunFile.open(run, team), 2, session.state, session.context)
    assert state.before_trial is None and state.iteration == 2
    if team.is_root:
        assert "cannot be undone" in said.text
