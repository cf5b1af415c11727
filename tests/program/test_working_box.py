"""Particles matched in a box smaller than their own: the same labels and poses, results in the frame of the file, maps
at full size.
"""

import re

import mrcfile
import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.data.rotations import euler_from_rotation
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.fourier.fsc import fsc
from mpirefine.program.options import Options
from mpirefine.program.run import resume, start
from mpirefine.program.start import defaults
from mpirefine.program.start.full_size import full_size_grid
from mpirefine.program.validation import validate
from mpirefine.storage.mrc import read_volume, write_volume
from mpirefine.storage.star import read_star, write_star
from tests.arrays import load_npz
from tests.program.small import make_set
from tests.program.test_refine import options

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]
PARTICLES = 60


@pytest.fixture
def large(shared_tmp, team):
    """64 pixels of 4 Å, of which 28 of 9.1 Å are enough for 30 Å."""
    return team.from_root(make_set, shared_tmp / "set", PARTICLES, 2, 64, 2.0, 4.0)


def particles(folder):
    found = read_star(folder / "particles.star")["particles"]
    return {name: found.floats(name) for name in ("rlnClassNumber", "rlnOriginXAngst", "rlnOriginYAngst")}


@pytest.mark.ranks(1, 3)
def test_labels_origins_and_full_maps(team, shared_tmp, large):
    run, own = shared_tmp / "run", shared_tmp / "own"
    start(options(large, path=run, held_out=0, maxshift=6, verbose=1), team)
    start(options(large, path=own, held_out=0, maxshift=6, box=64), team)
    if not team.is_root:
        return
    truth, found, wanted = load_npz(large / "truth.npz"), particles(run), particles(own)
    assert (found["rlnClassNumber"] == wanted["rlnClassNumber"]).mean() > 0.95
    off = np.hypot(
        found["rlnOriginXAngst"] + 4 * truth["shift"][:, 0], found["rlnOriginYAngst"] + 4 * truth["shift"][:, 1]
    )
    assert np.median(off) < 2.0
    log = (run / "run.log").read_text()
    assert "--box 28 px of 9.143 Å, out of 64 of 4.000" in log
    assert re.search("images were normalised before: .* after cropping to 28 px", log)
    with mrcfile.open(run / "threed_02_01.mrc") as working, mrcfile.open(run / "threed_02_01_full.mrc") as full:
        assert working.data.shape == (28,) * 3 and full.data.shape == (64,) * 3
        assert float(working.voxel_size.x) == pytest.approx(64 * 4 / 28, rel=1e-4) and full.voxel_size.x == 4
        curve = fsc(full.data, read_volume(large / "truth_0.mrc")[0])
    assert curve[1:11].min() > 0.8  # the working box ends at ring 14
    lines = (run / "fsc_full_02_01.txt").read_text().splitlines()
    assert len(lines) == 34 and "half_fsc_randomised" in lines[0]
    page = (run / "report.html").read_text()
    assert "Maps at full size" in page and "half-maps of 64 px and 4.000" in page
    assert all((run / f"threed_02_0{m}_full_half{h}.mrc").exists() for m in (1, 2) for h in (1, 2))


@pytest.mark.ranks(1, 2)
def test_full_maps_hold_what_the_working_box_does_not(team, shared_tmp):
    """With true poses the full-size maps are right beyond the Nyquist of the working box, ring 14."""
    run, folder = shared_tmp / "run", shared_tmp / "clear"
    team.from_root(make_set, folder, PARTICLES, 2, 64, 50.0, 4.0)
    team.from_root(add_true_poses, folder)
    posed = dict(input=folder / "posed.star", fixed_poses=True, held_out=0, iter=1, delta=5)
    start(options(folder, path=run, **posed), team)
    if team.is_root:
        for k in range(2):
            full = read_volume(run / f"threed_01_0{k + 1}_full.mrc")[0]
            curve = fsc(full, read_volume(folder / f"truth_{k}.mrc")[0])
            assert curve[1:13].min() > 0.7 and curve[13:20].mean() > 0.5  # 30 views sample these rings thinly


def add_true_poses(folder):
    truth, tables = load_npz(folder / "truth.npz"), read_star(folder / "particles.star")
    rot, tilt, psi = euler_from_rotation(truth["rot"])
    columns = {"rlnAngleRot": rot, "rlnAngleTilt": tilt, "rlnAnglePsi": psi}
    columns |= {f"rlnOrigin{axis}Angst": -4 * truth["shift"][:, i] for i, axis in enumerate("XY")}
    write_star(
        folder / "posed.star",
        [tables["optics"], tables["particles"].with_columns({n: np.char.mod("%.6f", v) for n, v in columns.items()})],
    )


@pytest.mark.ranks(1, 2)
def test_taken_up_in_the_same_box_with_the_same_full_maps(team, shared_tmp, large):
    whole, half = shared_tmp / "whole", shared_tmp / "half"
    start(options(large, path=whole, held_out=0, patience=0), team)
    start(options(large, path=half, held_out=0, patience=0, iter=1), team)
    resume(half, team, {"iter": 2, "verbose": 0})
    if team.is_root:
        for name in ("threed_02_01_full.mrc", "threed_02_02.mrc", "particles.star"):
            assert (whole / name).read_bytes() == (half / name).read_bytes(), name


@pytest.mark.ranks(1)
def test_poses_of_the_file_mask_and_other_full_boxes(team, shared_tmp, large):
    run, again = shared_tmp / "run", shared_tmp / "again"
    start(options(large, path=run, held_out=0, iter=1, no_full_maps=True), team)
    assert not list(run.glob("*full*"))
    y = np.ones((40,) * 3, np.float32)
    write_volume(shared_tmp / "mask.mrc", y, 64 * 4 / 40)
    changes = dict(input=run / "particles.star", fixed_poses=True, mask=shared_tmp / "mask.mrc", full_box=48, delta=20)
    start(options(large, path=again, held_out=0, iter=1, **changes), team)
    assert read_volume(again / "threed_01_01_full.mrc")[0].shape == (48,) * 3
    first, second = particles(run), particles(again)
    assert (first["rlnClassNumber"] == second["rlnClassNumber"]).mean() > 0.9
    np.testing.assert_allclose(second["rlnOriginXAngst"], first["rlnOriginXAngst"], atol=1e-2)


def test_the_box_follows_from_the_target():
    def chosen(nx, apix, **given):
        return defaults.resolve(Options(models="a,b", **given), Grid(nx, apix), 2).options.box

    assert chosen(320, 1.0) == 80 and chosen(320, 1.0, targetres=20.0) == 48 and chosen(64, 6.55) == 64
    assert chosen(320, 1.0, box=100) == 100 and chosen(320, 1.0, simcmp="ccc") == 320
    assert chosen(80, 3.3) == 80  # 70 would gain little
    with pytest.raises(InputError, match="--box 400: the particles have 320 px"):
        chosen(320, 1.0, box=400)
    with pytest.raises(InputError, match="--full-box 400: the particles have 320 px"):
        full_size_grid([Lens("all", Grid(320, 1.0)), Lens("b", Grid(256, 1.3))], 400)
    with pytest.raises(ParameterError, match="--box 33: must be even"):
        validate(Options(input="p", models="a", box=33))
    with pytest.raises(ParameterError, match="--full-box 33: must be even"):
        validate(Options(input="p", models="a", full_box=33))
    with pytest.raises(ParameterError, match="--full-box and --no-full-maps: give one"):
        validate(Options(input="p", models="a", full_box=32, no_full_maps=True))
