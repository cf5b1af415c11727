"""Tubes with helical symmetry, in two states: the right map, twist and rise found from 3 % off, by both ways."""

import json
from dataclasses import replace

import h5py
import mrcfile
import numpy as np
import pytest

from mpirefine.maths.geometry.helical_map import agreement_with_copies
from mpirefine.program.run import resume, start
from mpirefine.storage.star import read_star
from tests.arrays import load_npz
from tests.program.small import alike, basic, command, make_set
from tests.program.test_refine import options

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]
APIX, NX = 5.0, 48
TMV = (10, 1, 360 / 16.33, 1.41 / 5)  # copies, starts, twist in degrees, rise in pixels of 5 Å
TWO_STARTS = (8, 2, 35.0, 4.0)
TUBES = {"tmv": TMV, "two starts": TWO_STARTS}


def text(helix, twist=1.0, rise=1.0):
    """The symmetry, with twist and rise off by a factor."""
    copies, starts, daz, tz = helix
    return f"h{copies}:{starts}:{daz * twist:.5f}:{tz * rise:.5f}"


def tube_set(folder, helix, particles, snr):
    """Tubes in two states."""
    made = dict(helix=text(helix), tube_radius=12, seed_resolution=16)
    return make_set(folder, particles, 2, NX, snr, APIX, **made)


def inner(folder, name):
    """The map within a sphere."""
    values = mrcfile.read(folder / name)
    z, y, x = np.indices(values.shape) - len(values) // 2
    return values[x**2 + y**2 + z**2 < (0.36 * len(values)) ** 2]


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("name, off", [("tmv", (1.03, 0.97)), ("two starts", (0.97, 1.03))])
def test_likelihood_separates_tubes_and_finds_their_helix(team, shared_tmp, name, off):
    """From twist and rise 3 % off: more than 95 % in the right map, both within 1 %, shifts along the axis short of a
    rise, and maps like the truth.
    """
    helix = TUBES[name]
    folder, run = shared_tmp / "set", shared_tmp / "run"
    team.from_root(tube_set, folder, helix, 80, 0.5)
    asked = dict(sym=text(helix, *off), helical_search=True, radius=100, targetres=16, maxshift=4, delta=4, held_out=0)
    start(options(folder, path=run, **asked), team)
    if not team.is_root:
        return
    truth, found = load_npz(folder / "truth.npz"), read_star(run / "particles.star")["particles"]
    right = found.floats("rlnClassNumber") - 1 == truth["label"]
    assert right.mean() >= 0.95
    with h5py.File(run / "iterations/02.h5") as file:
        refined = json.loads(file.attrs["history"])[-1]["helices"]
    assert [own["model"] for own in refined] == [0, 1]
    for m, own in enumerate(refined):
        assert abs(own["twist"] / helix[2] - 1) < 0.01 and abs(own["rise"] / (helix[3] * APIX) - 1) < 0.01, own
        assert alike(inner(run, f"threed_02_{m + 1:02d}.mrc"), inner(folder, f"truth_{m}.mrc")) > 0.9
    shift = np.stack([found.floats("rlnOriginXAngst"), found.floats("rlnOriginYAngst")], -1) / APIX
    axis = truth["rot"][:, :2, 2] / np.linalg.norm(truth["rot"][:, :2, 2], axis=1)[:, None]
    along = np.abs((shift * axis).sum(axis=1))
    assert along.max() <= helix[3] / 2 + 1
    assert np.abs((truth["shift"] * axis).sum(axis=1)).max() > helix[3] / 2 + 1


@pytest.mark.ranks(1)
@pytest.mark.parametrize("name", TUBES)
def test_class_averages_separate_tubes(team, shared_tmp, name):
    """With --preset eman2, from the true helix."""
    helix = TUBES[name]
    folder, run = shared_tmp / "set", shared_tmp / "run"
    tube_set(folder, helix, 60, 1.0)
    asked = dict(preset="eman2", sym=text(helix), radius=100, targetres=16, simcmp="ccc", orientgen="eman:delta=4")
    start(options(folder, path=run, iter=1, **asked), team)
    truth, found = load_npz(folder / "truth.npz"), read_star(run / "particles.star")["particles"]
    assert (found.floats("rlnClassNumber") - 1 == truth["label"]).mean() >= 0.95


@pytest.mark.ranks(1)
def test_a_tube_beside_a_particle_without_symmetry(team, shared_tmp):
    """One symmetry for each map; full-size maps of a tube have its symmetry too."""
    folder, run = shared_tmp / "set", shared_tmp / "run"
    tube_set(folder, TWO_STARTS, 60, 2.0)
    asked = dict(sym=f"{text(TWO_STARTS)},c1", radius=100, targetres=24, maxshift=4, delta=12, held_out=0, box=32)
    start(options(folder, path=run, iter=1, **asked), team)
    full = mrcfile.read(run / "threed_01_01_full.mrc")
    assert agreement_with_copies(full, 35.0, 4.0, 16) > 0.9 > agreement_with_copies(full, 30.0, 4.0, 16) + 0.1
    views = read_star(run / "particles.star")["particles"]
    tilt, of_tube = views.floats("rlnAngleTilt"), views.floats("rlnClassNumber") == 1
    assert of_tube.any() and np.abs(tilt[of_tube] - 90).max() <= 15.01


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"sym": "h10:1:22"}, "h<nsym>:<nstart>:<daz>:<tz>"),
        ({"sym": "h10:1:22:0"}, "rises by more than 0"),
        ({"sym": "h10:1:22:14"}, "--helical-z"),
        ({"sym": "h10:1:22:3", "breaksym": True}, "--breaksym"),
        ({"sym": "c1", "helical-search": True}, "--helical-search"),
        ({"sym": "h10:1:22:3", "helical-tilt": 80}, "--helical-tilt"),
    ],
)
def test_helices_that_cannot_be_are_refused(tmp_path, changes, word):
    folder = make_set(tmp_path / "set")
    done = command(*basic(folder, **changes), "--check", cwd=tmp_path)
    assert done.returncode == 2 and word in done.stderr and "Traceback" not in done.stderr


@pytest.mark.ranks(1)
def test_a_refined_helix_is_taken_up_again(team, shared_tmp):
    """A run that is resumed inserts by the twist and rise that it found before, not by those that were given."""
    folder, names = shared_tmp / "set", ("whole", "parts")
    tube_set(folder, TWO_STARTS, 20, 2.0)
    asked = dict(sym=text(TWO_STARTS, 1.03, 0.97), helical_search=True, radius=100, targetres=40, maxshift=2, delta=24)
    for name, stop in zip(names, (2, 1)):
        start(options(folder, path=shared_tmp / name, iter=stop, held_out=0, **asked), team)
    resume(shared_tmp / "parts", team, {"iter": 2, "verbose": 0})
    whole, parts = (h5py.File(shared_tmp / name / "iterations/02.h5") for name in names)
    with whole, parts:
        assert json.loads(whole.attrs["history"])[1]["helices"] == json.loads(parts.attrs["history"])[1]["helices"]
        np.testing.assert_array_equal(whole["volumes/map"], parts["volumes/map"])
    assert "agrees with its copies by" in (shared_tmp / "parts/report.html").read_text()


@pytest.mark.ranks(1)
def test_tubes_at_known_poses(team, shared_tmp):
    """--fixed-poses finds the maps of tubes from the poses of a run before."""
    folder, run = shared_tmp / "set", shared_tmp / "run"
    tube_set(folder, TWO_STARTS, 30, 0.5)
    common = dict(sym=text(TWO_STARTS), radius=100, targetres=16, maxshift=4, delta=4, held_out=0, iter=1)
    start(options(folder, path=run, **common), team)
    (folder / "posed.star").write_text((run / "particles.star").read_text())
    given = options(folder, path=shared_tmp / "next", **common, fixed_poses=True)
    start(replace(given, input=str(folder / "posed.star")), team)
    truth, found = load_npz(folder / "truth.npz"), read_star(shared_tmp / "next/particles.star")["particles"]
    assert (found.floats("rlnClassNumber") - 1 == truth["label"]).mean() >= 0.93
