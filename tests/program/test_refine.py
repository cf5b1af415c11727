"""Whole refinements of a small simulated set: any number of ranks, taken up again, and what lies in the folder
afterwards.
"""

import json
import os
import shutil

import h5py
import mrcfile
import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.fourier.filters import resample
from mpirefine.program import repeated_runs
from mpirefine.program.cli import Parser
from mpirefine.program.options import Options, add_to
from mpirefine.program.results import run_folder
from mpirefine.program.run import resume, start
from mpirefine.storage.mrc import write_volume
from mpirefine.storage.star import read_star
from tests.arrays import load_npz
from tests.program.small import PARTICLES, basic, make_set

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]


@pytest.fixture
def small_set(shared_tmp, team):
    return team.from_root(make_set, shared_tmp / "set")


def options(folder, **changes):
    words = basic(folder, **changes)
    parser = Parser()
    add_to(parser, full=True)
    return Options(**{"verbose": 0, **vars(parser.parse_args(words))})


def table(path):
    return read_star(path)["particles"]


def outcome(folder):
    """Class, angles and origins as written."""
    found = table(folder / "particles.star")
    return np.column_stack(
        [
            found.floats(name)
            for name in ("rlnClassNumber", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst")
        ]
    )


def half_turn(volume, axes):
    """Correlation of a map with itself turned by 180 degrees in the plane of two axes."""
    turned = np.roll(np.flip(volume, axes), 1, axis=axes)
    return np.corrcoef(turned.ravel(), volume.ravel())[0, 1]


@pytest.fixture
def check_same(one_rank, tmp_path_factory):
    """`check_same(run)`: on rank 0, the run found what a plain run of one rank finds."""

    def plain(particles, iterations, alone):
        folder = tmp_path_factory.mktemp("one_rank")
        make_set(folder / "set", particles)
        start(options(folder / "set", path=folder / "run", iter=iterations), alone)
        return outcome(folder / "run")

    def check(run, particles=PARTICLES, iterations=2, poses=True):
        wanted = one_rank(f"refined {particles} {iterations}", lambda alone: plain(particles, iterations, alone))
        found = outcome(run)
        np.testing.assert_array_equal(found[:, 0], wanted[:, 0])
        if poses:
            np.testing.assert_allclose(found[:, 1:], wanted[:, 1:], atol=0.01)

    return check


def test_any_number_of_ranks_gives_the_same_labels(team, shared_tmp, small_set, check_same):
    start(options(small_set, path=shared_tmp / "run"), team)
    if team.is_root:
        check_same(shared_tmp / "run")
        truth = load_npz(small_set / "truth.npz")["label"]
        assert (outcome(shared_tmp / "run")[:, 0] == truth + 1).mean() > 0.8


@pytest.mark.ranks(1, 4)
def test_more_ranks_than_blocks_of_particles(team, shared_tmp, check_same):
    folder = team.from_root(make_set, shared_tmp / "set", 3)
    start(options(folder, path=shared_tmp / "run", iter=1), team)
    if team.is_root:
        assert len(outcome(shared_tmp / "run")) == 3
        check_same(shared_tmp / "run", 3, 1)


@pytest.mark.ranks(1, 2, 3)
def test_taken_up_again_is_as_if_never_interrupted(team, shared_tmp, small_set, check_same):
    run = shared_tmp / "run"
    start(options(small_set, path=run, patience=0, iter=1), team)
    if team.is_root:
        (run / "iterations" / "02.h5.tmp").write_bytes(b"half an iteration")
    team.barrier()
    resume(run, team, {"iter": 2, "verbose": 0})
    if team.is_root:
        check_same(run)
        timing = json.loads((run / "timing.json").read_text())
        assert [one["iteration"] for one in timing["iterations"]] == [0, 1, 2]
        assert sorted(h5py.File(run / "run.h5")["iterations"]) == ["01", "02"]
        with h5py.File(run / "iterations" / "02.h5") as file:
            assert len(json.loads(file.attrs["history"])) == 2


@pytest.mark.ranks(2, 4)
def test_taken_up_on_another_number_of_ranks(team, shared_tmp, small_set, check_same):
    run = shared_tmp / "run"
    start(options(small_set, path=run, patience=0, iter=1), team)
    fewer = team.first(team.size - 1)
    if fewer is not None:
        resume(run, fewer, {"iter": 2, "verbose": 0})
        fewer.close()
        fewer.comm.Free()
    team.barrier()
    if team.is_root:
        check_same(run)


@pytest.mark.ranks(1, 2)
def test_a_start_that_was_interrupted_is_taken_up(team, shared_tmp, small_set, check_same):
    run = shared_tmp / "run"
    start(options(small_set, path=run, patience=0), team)
    if team.is_root:
        shutil.rmtree(run / "iterations")
        (run / "iterations").mkdir()
        (run / "particles.star").unlink()
    team.barrier()
    resume(run, team, {"verbose": 0})
    if team.is_root:
        check_same(run)


@pytest.mark.ranks(1, 2)
def test_another_particle_file_is_not_taken_up(team, shared_tmp, small_set):
    run = shared_tmp / "run"
    start(options(small_set, path=run, iter=1), team)
    if team.is_root:
        star = small_set / "particles.star"
        star.write_text(star.read_text().replace("000003@", "000004@"))
    team.barrier()
    with pytest.raises(InputError, match="not the file"):
        resume(run, team, {"iter": 2, "verbose": 0})


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("changes", [dict(lowmem=True), dict(block_mb=1)], ids=str)
def test_how_it_is_computed_changes_nothing(team, shared_tmp, small_set, changes, check_same):
    start(options(small_set, path=shared_tmp / "run", **changes), team)
    if team.is_root:
        check_same(shared_tmp / "run")


@pytest.mark.ranks(1)
def test_threads_change_nothing(team, shared_tmp, small_set, check_same):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    start(options(small_set, path=shared_tmp / "run", threads=2), team)
    check_same(shared_tmp / "run")


@pytest.mark.ranks(1, 2, 4)
def test_more_threads_than_cores_are_refused(team, shared_tmp, small_set):
    with pytest.raises(
        ParameterError, match=f"{team.size} ranks of a node x 4096 threads = {4096 * team.size}, but they may use"
    ):
        start(options(small_set, path=shared_tmp / "run", threads=4096), team)


@pytest.mark.ranks(1, 2)
def test_what_lies_in_the_folder(team, shared_tmp, small_set):
    run = shared_tmp / "run"
    start(options(small_set, path=run, mass="300", keep_simmx=True, held_out=0.4, verbose=1), team)
    if not team.is_root:
        return
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names == {
        "0_refine_parms.json",
        "run.h5",
        "iterations/01.h5",
        "iterations/02.h5",
        "run.log",
        "timing.json",
        "report.html",
        "differences.json",
        "particles.star",
        "sets/particles_m01.star",
        "sets/particles_m02.star",
        *(f"threed_{i:02d}_{m:02d}.mrc" for i in (0, 1, 2) for m in (1, 2)),
        *(f"threed_02_{m:02d}_{kind}.mrc" for m in (1, 2) for kind in ("half1", "half2", "hard")),
        "set_aside.txt",
        *(f"fsc_{kind}_{i:02d}.txt" for kind in ("halves", "previous", "between") for i in (1, 2)),
    }
    with mrcfile.open(run / "threed_02_01.mrc") as volume:
        assert volume.data.shape == (32, 32, 32)
        assert volume.voxel_size.x == pytest.approx(8.0)
        enclosed = (volume.data >= 1).sum() * 8.0**3 * 0.81 / 1000
        assert enclosed == pytest.approx(300, rel=0.01)
    source, found = table(small_set / "particles.star"), table(run / "particles.star")
    for column in source.columns:
        if column != "rlnImageName":
            assert found.column(column) == source.column(column)
    sizes = [len(table(run / f"sets/particles_m{m:02d}.star")) for m in (1, 2)]
    assert sizes == [int((found.floats("rlnClassNumber") == m).sum()) for m in (1, 2)] and sum(sizes) == PARTICLES
    frequency, *curves = np.loadtxt(run / "fsc_halves_02.txt").T
    assert len(curves) == 2 and frequency[1] == pytest.approx(1 / 256, rel=1e-3)
    assert "--maxshift" not in (run / "run.log").read_text() and "mpirefine" in (run / "run.log").read_text()
    (pair,) = json.loads((run / "differences.json").read_text())
    assert pair["maps"] == [1, 2] and 10 <= pair["particles"] <= 38 and 0 <= pair["p_value"] <= 1 and pair["verdict"]
    page = (run / "report.html").read_text()
    assert page.count("data:image/png") == 4 and f"<td>{sizes[1]}</td>" in page and "{{" not in page


@pytest.mark.ranks(1, 3)
def test_the_run_file_explains_itself(team, shared_tmp, small_set):
    run = shared_tmp / "run"
    start(options(small_set, path=run, keep_simmx=True, held_out=0, iter=1), team)
    if not team.is_root:
        return
    with h5py.File(run / "run.h5") as file:
        assert (
            json.loads(file.attrs["asked"])["keep_simmx"]
            and json.loads(file.attrs["versions"])["numpy"] == np.__version__
        )
        one = file["iterations/01"]
        model = one["orientations/model"][:]
        classes = len(model)
        assert (np.diff(model) >= 0).all() and set(model) == {0, 1}
        assert one["classes/average"].shape == (classes, 32, 32)
        np.testing.assert_array_equal(one["classes/model_id"][:], model + 1)
        assert one["classes/count"][:].sum() == pytest.approx(PARTICLES, rel=1e-4)
        assert one["simmx"].shape[0] == PARTICLES and 2 < one["simmx"].shape[1] < classes
        best = one["candidates/class"][:, 0]
        assert (one["candidates/score"][:, 0] < 0).all() and best.min() >= 0 and best.max() < classes
        posterior = one["assignments/posterior"][:]
        np.testing.assert_allclose(posterior.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(one["assignments/weight"][:].sum(axis=1), 1, atol=1e-5)
        items = [
            item for group in one.values() for item in (group.values() if isinstance(group, h5py.Group) else [group])
        ]
        assert len(items) > 20 and all("unit" in item.attrs and len(item.attrs["text"]) > 8 for item in items)


@pytest.mark.ranks(1, 2)
def test_each_map_has_its_symmetry(team, shared_tmp, small_set):
    run = shared_tmp / "run"
    start(options(small_set, path=run, sym="c2,d3", iter=1), team)
    if team.is_root:
        maps = [mrcfile.read(run / f"threed_01_{m:02d}.mrc") for m in (1, 2)]
        about_z = [half_turn(volume, (1, 2)) for volume in maps]
        about_x = [half_turn(volume, (0, 1)) for volume in maps]
        assert about_z[0] > 0.99 > about_z[1] and about_x[1] > 0.99 > about_x[0]
        with h5py.File(run / "run.h5") as file:
            counts = np.bincount(file["iterations/01/orientations/model"][:])
        assert counts[1] < 0.5 * counts[0]  # d3 needs a third of c2's directions


@pytest.mark.ranks(1, 2)
def test_seeds_from_one_map(team, shared_tmp, small_set):
    run = shared_tmp / "run"
    start(options(small_set, path=run, models=str(small_set / "seed_0.mrc"), nmodels=3, iter=1), team)
    if team.is_root:
        seeds = [mrcfile.read(run / f"threed_00_{m:02d}.mrc") for m in (1, 2, 3)]
        source = mrcfile.read(small_set / "seed_0.mrc")
        for seed in seeds:
            assert 0.5 < np.corrcoef(seed.ravel(), source.ravel())[0, 1] < 0.999
        assert np.corrcoef(seeds[0].ravel(), seeds[1].ravel())[0, 1] < 0.999
        assert (run / "threed_01_03.mrc").exists()


@pytest.mark.ranks(1, 2)
def test_hard_assignment_and_automask(team, shared_tmp, small_set):
    run = shared_tmp / "run"
    start(options(small_set, path=run, assign="hard", sep=1, automask3d="0.2,4,1,2,1", held_out=0, iter=1), team)
    if team.is_root:
        with h5py.File(run / "run.h5") as file:
            weight = file["iterations/01/assignments/weight"][:]
        assert weight.shape == (PARTICLES, 1) and (weight == 1).all()
        volume = mrcfile.read(run / "threed_01_01.mrc")
        assert (volume == 0).mean() > 0.3
        hard = mrcfile.read(run / "threed_01_01_hard.mrc")  # nothing was soft: the same but for newer noise weights
        assert np.corrcoef(hard.ravel(), volume.ravel())[0, 1] > 0.995


@pytest.mark.ranks(1, 3)
def test_the_hard_map_is_of_its_own_particles(team, shared_tmp, small_set):
    run = shared_tmp / "run"
    start(options(small_set, path=run, iter=1, temperature=50), team)
    if team.is_root:
        soft, hard = (
            [mrcfile.read(run / f"threed_01_{m:02d}{kind}.mrc").ravel() for m in (1, 2)] for kind in ("", "_hard")
        )
        assert (
            np.corrcoef(*hard)[0, 1] < np.corrcoef(*soft)[0, 1] - 0.002
        )  # hot particles blur the soft maps into each other


@pytest.mark.ranks(1, 2)
def test_maps_of_another_box_and_pixel(team, shared_tmp, small_set, check_same):
    run = shared_tmp / "run"
    if team.is_root:
        for k in (0, 1):
            volume = mrcfile.read(small_set / f"seed_{k}.mrc")
            write_volume(small_set / f"fine_{k}.mrc", resample(volume, Grid(32, 8.0), Grid(48, 6.0)), 6.0)
    team.barrier()
    start(options(small_set, path=run, models=f"{small_set}/fine_0.mrc,{small_set}/fine_1.mrc", verbose=1), team)
    if team.is_root:
        check_same(run, poses=False)
        assert "fine_0.mrc: resampled from 48 voxels of 6.000 Å to 32 of 8.000 Å" in (run / "run.log").read_text()


@pytest.mark.ranks(1, 2)
def test_check_does_nothing(team, shared_tmp, small_set):
    start(options(small_set, path=shared_tmp / "run", check=True), team)
    team.barrier()
    assert not (shared_tmp / "run").exists()


@pytest.mark.ranks(1, 2)
def test_fixed_poses_of_a_particle_file(team, shared_tmp, small_set):
    start(options(small_set, path=shared_tmp / "run"), team)
    with pytest.raises(InputError, match="--fixed-poses needs the columns _rlnAngleRot"):
        start(options(small_set, path=shared_tmp / "none", fixed_poses=True), team)
    start(
        options(small_set, path=shared_tmp / "fixed", fixed_poses=True, input=shared_tmp / "run" / "particles.star"),
        team,
    )
    if team.is_root:
        first, again = (read_star(shared_tmp / name / "particles.star")["particles"] for name in ("run", "fixed"))
        for column in ("rlnOriginXAngst", "rlnOriginYAngst"):
            np.testing.assert_allclose(again.floats(column), first.floats(column), atol=1e-4)
        assert (again.floats("rlnClassNumber") == first.floats("rlnClassNumber")).mean() > 0.85


@pytest.mark.ranks(1, 2)
def test_repeated_runs_and_what_they_agree_on(team, shared_tmp, small_set):
    runs = shared_tmp / "runs"
    asked = options(small_set, path=runs, runs=2, iter=1)
    repeated_runs.repeat(asked, team)
    if team.is_root:
        (runs / "runs.json").unlink()
    repeated_runs.repeat(asked, team)  # what is there is taken up, not done again
    if team.is_root:
        told = json.loads((runs / "runs.json").read_text())
        labels = [table(runs / name / "particles.star").floats("rlnClassNumber") for name in ("run_01", "run_02")]
        names = np.array(told["map_of_central_run"])
        same = names[0][labels[0].astype(int) - 1] == names[1][labels[1].astype(int) - 1]
        found = table(runs / "consensus.star").floats("rlnClassNumber")
        np.testing.assert_array_equal(found, np.where(same, names[0][labels[0].astype(int) - 1], 0))
        assert told["undecided"] == (~same).sum() and sum(told["consensus"]) == same.sum() > PARTICLES / 2
        assert len(table(runs / "sets" / "consensus_m01.star")) == told["consensus"][0]
        assert len(json.loads((runs / "run_01" / "timing.json").read_text())["iterations"]) == 2  # the pilot, and one
        with pytest.raises(InputError, match="holds a single run"):
            run_folder.choose_parent(str(runs / "run_01"))
