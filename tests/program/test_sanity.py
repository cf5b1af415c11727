"""What is looked at before the first iteration: fields, pixel sizes and radii, lens errors in the log, CTF, and what
srun tells.
"""

import shutil

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.errors import InputError, RankFailure
from mpirefine.maths.image.aberrations import with_tilt
from mpirefine.program.eman2.support import read_projections
from mpirefine.program.launcher import check_launcher
from mpirefine.program.options import Options
from mpirefine.program.start.inputs import read_inputs
from mpirefine.program.start.sanity import describe_lenses
from mpirefine.storage import mrc
from mpirefine.storage.eman2 import lst
from mpirefine.storage.eman2.hdf_writer import write_hdf
from tests.eman_lists import write_lst
from tests.program.small import basic, command, make_set
from tests.program.test_faults import edit, told

SLURM = ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_PTY_PORT", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("sanity") / "set", 12)


@pytest.fixture
def small(original, tmp_path, monkeypatch):
    """A copy to change, in the current folder: 32 px of 8 Å."""
    shutil.copytree(original, tmp_path / "set")
    monkeypatch.chdir(tmp_path / "set")
    return tmp_path / "set"


def complaints(**options):
    with pytest.raises(InputError) as error:
        read_inputs(Options(**{"input": "particles.star", "models": "seed_0.mrc,seed_1.mrc", **options}), fresh=False)
    return error.value.problems


def test_fields_that_do_not_fit_are_told_with_all_other_complaints(small):
    edit(small / "particles.star", "_rlnImagePixelSize", "_rlnDetectorPixelSize")
    text = (small / "particles.star").read_text().replace("_rlnDetectorPixelSize", "_rlnMagnification")
    (small / "particles.star").write_text(text)
    for name in ("seed_0.mrc", "seed_1.mrc"):
        mrc.write_volume(name, np.ones((32, 32, 32)), 8.0)
    found = complaints(apix=0.1, radius=300.0, mask="seed_0.mrc")
    assert len(found) == 4 and "0.1 Å per pixel, from --apix: must be 0.2 to 20 Å" in found[0]
    assert all(
        f"{name}: its edge is 256 Å (32 voxels of 8 Å), that of the particle images 3.2 Å (32 px of 0.1 Å, from --apix)"
        in line
        for name, line in zip(("seed_0.mrc", "seed_1.mrc"), found[1:])
    )
    assert "--radius 300 Å: more than half of the box, 1.6 Å" in found[3]


@pytest.mark.parametrize(
    "pixel, fits", [(0.0, True), (1.0, True), (2.1, True), (31.0, True), (1.9, False), (33.0, False)]
)
def test_which_fields_fit(small, pixel, fits):
    """Within a factor of four; a map without pixel size agrees."""
    mrc.write_volume("seed_1.mrc", np.ones((32, 32, 32)), pixel)
    if fits:
        assert len(read_inputs(Options(input="particles.star", models="seed_0.mrc,seed_1.mrc"), fresh=False).maps) == 2
    else:
        (line,) = complaints()
        assert (
            f"seed_1.mrc: its edge is {32 * pixel:.4g} Å" in line
            and "from column _rlnImagePixelSize" in line
            and "--apix" in line
        )


@pytest.mark.parametrize(
    "radius, words",
    [(130.0, "more than half of the box, 128 Å"), (20.0, "less than 3 px of 8 Å"), (24.0, ""), (128.0, "")],
)
def test_radius(small, radius, words):
    if words:
        assert words in complaints(radius=radius)[0]
    else:
        read_inputs(Options(input="particles.star", models="seed_0.mrc", radius=radius), fresh=False)


@pytest.mark.parametrize("pixel", [0.01, 50.0, 1e30])
def test_pixel_sizes_of_headers(small, pixel):
    mrc.write_stack("particles.mrcs", np.ones((12, 32, 32)), pixel)
    write_lst("all.lst", [lst.Entry(i, "particles.mrcs") for i in range(12)])
    line = complaints(input="all.lst", no_ctf=True, models="seed_0.mrc")[0]
    assert "all.lst" in line and "from the headers: must be 0.2 to 20 Å" in line


def test_lists_without_ctf_must_say_so(small):
    write_lst("all.lst", [lst.Entry(i, "particles.mrcs") for i in range(12)])
    for name in ("all.lst", "particles.mrcs"):
        (line,) = complaints(input=name)
        assert f"{name}: no image has a CTF" in line and "or say --no-ctf if the images carry none" in line
        assert (
            read_inputs(Options(input=name, models="seed_0.mrc", no_ctf=True), fresh=False).particles.table.ctf is None
        )
    told(command("eotest", *basic(small, input="all.lst", models="seed_0.mrc", check=True), cwd=small), "say --no-ctf")


@pytest.mark.parametrize(
    "key, value",
    [("xform.projection", 5.0), ("xform.projection", np.arange(3.0)), ("model_id", "a"), ("model_id", np.nan)],
)
def test_headers_of_projections(small, key, value):
    write_hdf(
        "p.hdf",
        [np.ones((16, 16))] * 2,
        [{"xform.projection": np.eye(3, 4)}, {"xform.projection": np.eye(3, 4), key: value}],
        2.0,
    )
    with pytest.raises(InputError, match=f"p.hdf: image 1 .from 0., header {key}: invalid value "):
        read_projections("p.hdf")


def test_headers_of_class_averages(small):
    write_hdf("c.hdf", [np.ones((16, 16))], [{"xform.projection": np.eye(3, 4), "ptcl_repr": "many"}], 2.0)
    told(
        command("make3d", "--input", "c.hdf", "--output", "m.hdf", cwd=small),
        "c.hdf: image 0 .from 0., header ptcl_repr: invalid value many",
    )


def lens_lines(*lenses, even=True):
    return describe_lenses(lenses, Grid(64, 3.0), 8.0, 100.0, even=even)


def test_lens_errors_in_words():
    grid = Grid(64, 3.0)
    assert lens_lines(Lens("all images", grid)) == ()
    a, b = (Lens(f"group {n}", grid, odd=with_tilt((), (x, 0.0), 2.7, 300.0)) for n, x in (("a", 0.75), ("b", -5)))
    assert lens_lines(b) == ("lens errors that are corrected: beam tilt of group b (37°), phases at 8.0 Å",)
    c = Lens("group c", grid, ((1.0, 0.0), (0.0, 1.02)), (0.0, 0.0, 0.001), (0.0, 0.0, 1.0))
    assert lens_lines(a, b, c) == (
        "lens errors that are corrected: beam tilt of group b and 1 more (up to 37°); even aberrations of group c "
        "(57°); magnification by 2 % of group c (90°), phases at 8.0 Å",
        "lens errors too small to be corrected in matching: odd aberrations of group c (0.00011°), phases at 8.0 Å",
    )
    *_, warning = lens_lines(a, b, c, even=False)
    assert warning == (
        "warning: lens errors that this way to refine does not correct: even aberrations of group c (57°), phases at "
        "8.0 Å"
    )


def test_lens_errors_are_said_once_in_the_log(small):
    text = (small / "particles.star").read_text().splitlines()
    last = max(i for i, line in enumerate(text[: text.index("data_particles")]) if line.strip())
    first = next(i for i, line in enumerate(text) if line.startswith("_rlnVoltage"))
    text[last] += " 5.0"
    text.insert(next(i for i in range(first, last + 1) if not text[i].startswith("_")), "_rlnBeamTiltX")
    (small / "particles.star").write_text("\n".join(text) + "\n")
    done = command(*basic(small, check=True), cwd=small)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("too small to be corrected in matching: beam tilt of ") == 1


@pytest.mark.parametrize(
    "variables, stops",
    [
        (dict(SLURM_STEP_NUM_TASKS="2", SLURM_PROCID="0"), True),
        (dict(SLURM_STEP_NUM_TASKS="2", SLURM_PROCID="1"), True),
        (dict(SLURM_STEP_NUM_TASKS="1", SLURM_PROCID="0"), False),  # srun -n 1, salloc's interactive step
        (dict(SLURM_NTASKS="8", SLURM_PROCID="0"), False),  # a batch script, without srun
        (
            dict(SLURM_STEP_NUM_TASKS="2", SLURM_PROCID="1", OMPI_COMM_WORLD_SIZE="1"),
            False,
        ),  # mpirun's daemons came by srun
        (dict(SLURM_STEP_NUM_TASKS="4", SLURM_PROCID="0", SLURM_PTY_PORT="4711"), False),  # a shell by srun --pty
    ],
)
def test_srun_whose_pmi_is_not_understood(monkeypatch, variables, stops):
    for name in SLURM:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if not stops:
        return check_launcher(1)
    with pytest.raises(RankFailure, match="srun started 2 tasks .*MPI sees 1 rank.*srun --mpi=pmix.*mpirun"):
        check_launcher(1)
    check_launcher(2)


def test_srun_stops_the_program(small):
    done = command(*basic(small), before=["env", "SLURM_STEP_NUM_TASKS=2", "SLURM_PROCID=0"], cwd=small)
    told(done, "srun started 2 tasks", status=1)
    assert not (small / "multi_01").exists()


def test_files_that_ended_in_a_traceback_or_hung(small, broken_files):
    for path in sorted(broken_files.iterdir()):
        name = path.name
        shutil.copy(path, small / name)
        for options in ({"input": name}, {"models": name}, {"mask": name}):
            if name.endswith(".star") and "input" not in options:
                continue
            found = complaints(**options)
            assert any(name in line for line in found) and all(len(line) < 1000 for line in found), (name, found)
