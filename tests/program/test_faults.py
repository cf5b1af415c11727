"""What a user sees when something is wrong: one line each, exit status 2, no traceback, and never a hang."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mpirefine.storage.mrc import read_volume, write_volume
from mpirefine.storage.run.runfile import has_parallel_hdf5
from mpirefine.storage.star import read_star
from tests.program.small import basic, clean_environment, command, make_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("faults") / "set", 12)


@pytest.fixture
def broken(original, tmp_path):
    """A copy to break."""
    folder = tmp_path / "set"
    folder.mkdir()
    for path in original.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def told(done, *expected, status=2):
    """The complaints of a process that failed as it should."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("mpirefine: error: ")]
    for text in expected:
        assert any(re.search(text, line) for line in lines), (text, done.stderr)
    return lines


def edit(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


@pytest.mark.parametrize(
    "words, expected",
    [(("--iter", "0"), "--iter 0"), (("eotest", "--input", "p.star", "--models", "a.mrc,b.mrc"), "refines one map")],
    ids=["refine", "eotest"],
)
def test_wrong_options_are_printed_once_for_all_ranks(words, expected, tmp_path):
    done = command(*words, ranks=3, cwd=tmp_path)
    lines = told(done, expected)
    assert len(set(lines)) == len(lines) and "MPI_ABORT" not in done.stderr


def test_without_arguments():
    done = command()
    assert done.returncode == 0 and "usage:" in done.stdout and "selfcheck" in done.stdout


def test_help():
    short, full = command("refine", "--help"), command("--help-all")
    assert short.returncode == full.returncode == 0
    assert command("refine", "--help", ranks=2).stdout == short.stdout
    assert "--models" in short.stdout and "--block-mb" not in short.stdout and "--block-mb" in full.stdout


@pytest.mark.parametrize(
    "words, expected",
    [
        (["refin"], "did you mean refine"),
        (["--modls", "x"], "did you mean --models"),
        (["--input", "x.star"], "--models is missing"),
        (["resume", "nowhere"], "no run.h5"),
        (["resume"], "folder"),
    ],
)
def test_wrong_words(words, expected, tmp_path):
    assert len(told(command(*words, cwd=tmp_path), expected)) == 1


def test_everything_is_told_together(broken, tmp_path):
    edit(broken / "particles.star", "000003@particles.mrcs", "000099@particles.mrcs")
    edit(broken / "particles.star", "000005@particles.mrcs", "000005@lost.mrcs")
    write_volume(broken / "seed_0.mrc", np.zeros((8, 8, 10), np.float32), 8.0)
    (tmp_path / "mine.txt").write_text("not to be written over")
    lines = told(
        command(*basic(broken, path=tmp_path)),
        "row 3: .*_rlnImageName.*99.*holds 12",
        "row 5: .*lost.mrcs",
        "seed_0.mrc: 10 x 8 x 8.*cubic",
        "--path .*holds mine.txt",
    )
    assert len(lines) == 4


@pytest.mark.parametrize(
    "changes, expected",
    [
        (dict(sym="c1,c2,c3"), "--sym has 3 values for 2 maps"),
        (dict(sym="x5"), "x5"),
        (dict(mass="1,2,3"), "--mass has 3 values"),
        (dict(automask3d="1,2"), "--automask3d"),
        (dict(input="nothing.star"), "nothing.star: cannot be read"),
        (dict(path="set"), "--path"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_values(changes, expected, broken):
    (broken / "set").write_text("a file where a folder should be")
    told(command(*basic(broken, **changes), cwd=broken), expected)


def test_truncated_stack(broken):
    stack = broken / "particles.mrcs"
    stack.write_bytes(stack.read_bytes()[:-1000])
    told(command(*basic(broken)), "particles.mrcs.*truncated")


def test_missing_ctf_columns(broken):
    star = broken / "particles.star"
    star.write_text(star.read_text().replace("_rlnDefocusV", "_rlnSomething"))
    told(command(*basic(broken)), "_rlnDefocusV")
    assert command(*basic(broken, no_ctf=True, check=True)).returncode == 0


def test_pixel_sizes_that_disagree(broken):
    edit(broken / "particles.star", " 8 ", " 4 ")
    told(command(*basic(broken)), "8 Å per pixel.*4")


def test_map_that_is_not_finite(broken):
    volume, apix = read_volume(broken / "seed_1.mrc")
    volume[3, 4, 5] = np.nan
    write_volume(broken / "seed_1.mrc", volume, apix)
    told(command(*basic(broken)), "seed_1.mrc: 1 voxels are NaN or infinite")


def test_particles_that_cannot_be_used_are_set_aside_with_the_reason(broken, tmp_path):
    with open(broken / "particles.mrcs", "r+b") as stack:
        stack.seek(1024 + 4 * (6 * 32 * 32 + 100))
        stack.write(np.float32(np.inf).tobytes())
        stack.seek(1024 + 4 * (9 * 32 * 32))
        stack.write(np.full(32 * 32, 0.5, np.float32).tobytes())
    done = command(*basic(broken, iter=1, path=tmp_path / "run"), ranks=2)
    assert done.returncode == 0, done.stderr
    assert (
        "because pixels are not finite: rows 7" in done.stdout
        and "because all pixels are the same: rows 10" in done.stdout
    )
    assert "2 set aside" in done.stdout
    found = read_star(tmp_path / "run/particles.star")["particles"].floats("rlnClassNumber")
    assert found[6] == 0 and found[9] == 0 and (np.delete(found, [6, 9]) > 0).all()
    lines = (tmp_path / "run/set_aside.txt").read_text().splitlines()
    assert [(line.split()[0], line.split(" ", 2)[2]) for line in lines[1:]] == [
        ("7", "0.00 pixels are not finite"),
        ("10", "0.00 all pixels are the same"),
    ]


def test_an_old_run_is_never_written_over(original, tmp_path):
    run = tmp_path / "run"
    assert command(*basic(original, iter=1, path=run)).returncode == 0
    before = (run / "particles.star").read_bytes()
    told(command(*basic(original, iter=1, path=run)), "holds a run already.*resume")
    assert (run / "particles.star").read_bytes() == before


def test_errors_are_told_once_on_many_ranks(broken):
    (broken / "particles.mrcs").unlink()
    began = time.monotonic()
    done = command(*basic(broken), ranks=3)
    assert len(told(done, "particles.mrcs: cannot be read")) == 1
    assert len(told(command("--nonsense", ranks=3), "unknown option")) == 1
    assert time.monotonic() - began < 60


SABOTAGE = """
import sys
from mpirefine.steps.likelihood import simmx
from mpi4py import MPI
old = simmx.Simmx.run
def run(self, state, ctx):
    if ctx.team.rank == 1 and state.iteration == 2:
        {what}
    return old(self, state, ctx)
simmx.Simmx.run = run
from mpirefine import __main__
sys.exit(__main__.run(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "what, expected",
    [
        ("raise ValueError('planted mistake')", r"\[rank 1\].*planted mistake"),
        (
            "from mpirefine.errors import InputError; raise InputError('stack.mrcs: planted')",
            "mpirefine: error: stack.mrcs: planted",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("sys.exit(3)", ""),
    ],
    ids=["mistake", "input", "killed", "exit"],
)
def test_one_rank_ends_all_and_the_run_can_be_taken_up(what, expected, original, tmp_path):
    script = tmp_path / "sabotage.py"
    script.write_text(SABOTAGE.format(what=what))
    words = ["mpirun", "-n", "3", sys.executable, str(script), *basic(original, path=tmp_path / "run")]
    done = subprocess.run(words, env=clean_environment(), capture_output=True, text=True, timeout=100)
    assert done.returncode != 0
    assert re.search(expected, done.stderr), done.stderr
    again = command("resume", tmp_path / "run", ranks=2)
    assert again.returncode == 0, again.stderr
    assert "after iteration 1 of 2" in again.stdout


def test_sigterm_ends_with_a_status_and_a_run_that_goes_on(original, tmp_path):
    run = tmp_path / "run"
    words = [sys.executable, "-m", "mpirefine", *basic(original, path=run, iter=50, patience=0)]
    with subprocess.Popen(words, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not (run / "iterations/02.h5").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode not in (0, None)
    whole = len(list((run / "iterations").glob("*.h5")))
    done = command("resume", run, "--iter", whole + 1)
    assert done.returncode == 0, done.stderr
    assert (run / f"threed_{whole + 1:02d}_01.mrc").exists()


def test_mpirun_of_another_mpi_is_noticed(original):
    environment = {**clean_environment(), "PMI_SIZE": "4"}
    done = subprocess.run(
        [sys.executable, "-m", "mpirefine", *basic(original)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    told(done, "the launcher started 4 ranks.*MPI sees 1", status=1)


@pytest.mark.parametrize("ranks", [None, 2])
def test_selfcheck(ranks):
    done = command("selfcheck", ranks=ranks)
    assert done.returncode == 0, done.stderr
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in done.stdout.splitlines())
    assert rows["ranks"].startswith(f"{ranks or 1} on 1 node")
    assert set(rows) >= {"MPI", "MPI thread level", "HDF5", "FFTW", "BLAS", "shared memory"}
    assert ("all ranks write" in rows["HDF5"]) == has_parallel_hdf5()
    assert "(1 threads)" in rows["BLAS"]


def test_a_serial_h5py_writes_through_rank_0(original, tmp_path):
    """As with no parallel HDF5: the same file, and it is taken up with the other transport."""
    script = tmp_path / "serial.py"
    script.write_text(
        "import sys\nfrom mpirefine.storage.run import runfile\nrunfile.has_parallel_hdf5 = lambda: False\n"
        "from mpirefine import __main__\nsys.exit(__main__.run(sys.argv[1:]))\n"
    )
    words = ["mpirun", "-n", "3", sys.executable, str(script), *basic(original, path=tmp_path / "run", iter=1)]
    done = subprocess.run(words, env=clean_environment(), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert command("resume", tmp_path / "run", "--iter", 2, ranks=2).returncode == 0
