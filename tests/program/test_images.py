"""Particles as they come: raw counts, repeated, in any order, dark; whole runs of a small set."""

import re
import shutil

import mrcfile
import numpy as np
import pytest

from mpirefine.program.cli import Parser
from mpirefine.program.options import Options, add_to
from mpirefine.program.run import start
from mpirefine.storage.mrc import read_volume, write_stack, write_volume
from mpirefine.storage.star import read_star, write_star
from tests.arrays import load_npz
from tests.program.small import basic, command, make_set

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("images") / "set", 40, snr=1.0)


@pytest.fixture
def changed(original, tmp_path):
    """A copy to change."""
    return shutil.copytree(original, tmp_path / "set")


def pixels(folder):
    with mrcfile.open(folder / "particles.mrcs", permissive=True) as file:
        return np.array(file.data)


def refined(folder, team_of_one, **changes):
    """Labels, from 0, and the folder of a run of one iteration."""
    parser = Parser()
    add_to(parser, full=True)
    run = folder.parent / f"run_{len(list(folder.parent.glob('run_*')))}"
    words = basic(folder, **{"iter": 1, "path": run, "held_out": 0, **changes})
    start(Options.typed({"verbose": 1, **vars(parser.parse_args(words))}), team_of_one)
    found = read_star(run / "particles.star")["particles"]
    return found.floats("rlnClassNumber").astype(int) - 1, run


def with_rows(folder, rows):
    """The particle file with the given rows of it, in that order."""
    tables = read_star(folder / "particles.star")
    write_star(folder / "particles.star", [tables["optics"], tables["particles"].take(rows)])


@pytest.fixture(scope="module")
def known(original, tmp_path_factory):
    """Labels of the untouched set, which are right."""
    from mpi4py import MPI

    from mpirefine.distribution.team import Team

    folder = shutil.copytree(original, tmp_path_factory.mktemp("known") / "set")
    labels, run = refined(folder, Team(MPI.COMM_SELF))
    assert (labels == load_npz(original / "truth.npz")["label"]).mean() > 0.9
    return labels, run


@pytest.mark.ranks(1)
def test_raw_counts_give_the_labels_of_normalised_images(team, changed, known, rng):
    images = pixels(changed)
    count, axis = len(images), np.arange(32) - 16
    gain, level, slope = (
        37 * np.exp(0.3 * rng.standard_normal(count)),
        rng.normal(1200, 200, count),
        rng.normal(0, 2, (count, 2)),
    )
    ramp = slope[:, :1, None] * axis[None, None] + slope[:, 1:, None] * axis[None, :, None]
    raw = images * gain[:, None, None] + level[:, None, None] + ramp
    raw[: count // 4] = images[: count // 4]  # some were normalised before
    write_stack(changed / "particles.mrcs", raw, 8.0)
    labels, run = refined(changed, team)
    assert (labels == known[0]).mean() >= 0.99
    said = (run / "run.log").read_text()
    assert "raw counts: background 1" in said and "--no-normalise" in said
    untouched, _ = refined(changed, team, no_normalise=True)
    assert (untouched == known[0]).mean() < 0.9


@pytest.mark.ranks(1)
def test_masses_scale_what_is_written_and_nothing_else(team, changed, known):
    for way in ({}, {"simcmp": "ccc", "classiter": 1}):
        plain, first = (known[0], known[1]) if not way else refined(changed, team, **way)
        labels, second = refined(changed, team, mass="900,150", **way)
        np.testing.assert_array_equal(labels, plain)
        for m in ("01", "02"):
            maps = [read_volume(run / f"threed_01_{m}.mrc")[0].ravel() for run in (first, second)]
            factor = (maps[0] @ maps[1]) / (maps[0] @ maps[0])
            assert factor != pytest.approx(1, rel=0.01)
            np.testing.assert_allclose(maps[1], factor * maps[0], atol=1e-4 * np.abs(maps[1]).max())


@pytest.mark.ranks(1)
def test_halves_follow_the_image_and_are_written_back(team, changed, known, rng):
    first = read_star(known[1] / "particles.star")["particles"].column("rlnRandomSubset")
    assert set(first) == {"1", "2"}
    order = rng.permutation(len(first))
    with_rows(changed, order)
    labels, run = refined(changed, team)
    again = read_star(run / "particles.star")["particles"].column("rlnRandomSubset")
    assert again == [first[row] for row in order]
    np.testing.assert_array_equal(labels, known[0][order])


@pytest.mark.ranks(1)
def test_states_that_take_turns_have_both_halves(team, changed):
    label = load_npz(changed / "truth.npz")["label"]
    pairs = min(np.bincount(label))
    with_rows(changed, np.stack([np.flatnonzero(label == k)[:pairs] for k in (0, 1)], 1).ravel())
    _, run = refined(changed, team)
    assert "its resolution is not known" not in (run / "run.log").read_text()
    for m in ("01", "02"):
        assert all(read_volume(run / f"threed_01_{m}_half{h}.mrc")[0].any() for h in (1, 2))


@pytest.mark.ranks(1)
def test_half_sets_of_the_file_are_used_or_it_is_said_why_not(team, changed, known):
    tables = read_star(changed / "particles.star")
    count = len(known[0])
    for subset, used in (
        (["1", "2"] * (count // 2), True),
        (["1"] * count, False),
        ([str(k + 1) for k in known[0]], None),
    ):
        write_star(
            changed / "particles.star",
            [tables["optics"], tables["particles"].with_columns({"rlnRandomSubset": subset})],
        )
        _, run = refined(changed, team)
        written = read_star(run / "particles.star")["particles"].column("rlnRandomSubset")
        said = (run / "run.log").read_text()
        if used:
            assert written == subset and "are not used" not in said
        elif used is False:
            assert "are not used: all 40 particles have the same value" in said and set(written) == {"1", "2"}
        else:  # states parted as halves are: each map would have one of them
            assert re.search("are not used: .* tried in map", said) or "its resolution is not known" in said


@pytest.mark.ranks(1)
def test_rows_that_repeat_an_image_are_counted_and_share_a_half(team, changed):
    count = len(read_star(changed / "particles.star")["particles"])
    with_rows(changed, np.tile(np.arange(count), 2))
    shutil.copy(changed / "particles.mrcs", changed / "copy.mrcs")
    tables = read_star(changed / "particles.star")
    names = tables["particles"].column("rlnImageName")
    names[count:] = [name.replace("particles.mrcs", "copy.mrcs") for name in names[count:]]
    write_star(
        changed / "particles.star", [tables["optics"], tables["particles"].with_columns({"rlnImageName": names})]
    )
    labels, run = refined(changed, team)
    half = read_star(run / "particles.star")["particles"].column("rlnRandomSubset")
    assert half[:count] == half[count:] and set(half) == {"1", "2"}
    assert "40 of 80 rows repeat an image" in (run / "run.log").read_text()


def test_dark_particles_are_refused_and_turned_when_asked(changed, known):
    write_stack(changed / "particles.mrcs", -pixels(changed), 8.0)
    run = changed.parent / "run"
    done = command(*basic(changed, iter=1, path=run, held_out=0), ranks=2)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(
        "error: --input: particles of optics group 'opticsGroup1' fit the maps with their contrast turned.*--invert",
        done.stderr,
    )
    assert not run.exists()
    done = command(*basic(changed, iter=1, path=run, held_out=0, invert=True), ranks=2)
    assert done.returncode == 0, done.stderr
    labels = read_star(run / "particles.star")["particles"].floats("rlnClassNumber").astype(int) - 1
    np.testing.assert_array_equal(labels, known[0])
    done = command(*basic(changed, invert="nobody", check=True))
    assert done.returncode == 2 and "--invert nobody: unknown: give an optics group (opticsGroup1)" in done.stderr


def test_dark_maps_are_refused_too(changed):
    for k in (0, 1):
        volume, apix = read_volume(changed / f"seed_{k}.mrc")
        write_volume(changed / f"seed_{k}.mrc", -volume, apix)
    done = command(*basic(changed, check=True, simcmp="ccc"))
    assert done.returncode == 2 and done.stderr.count("--invert map") == 2, done.stderr
    done = command(*basic(changed, check=True, invert="maps"))
    assert done.returncode == 0, done.stderr
