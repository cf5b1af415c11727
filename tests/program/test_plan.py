"""What `plan` and `bench` say, and that a run does what `plan` foresaw."""

import json
import re

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.errors import InputError
from mpirefine.program.cli import Parser
from mpirefine.program.eman2.cost_model import ClassJob
from mpirefine.program.options import Options, add_to
from mpirefine.program.performance.cost_model import Job
from mpirefine.program.performance.machine import Machine
from mpirefine.program.run import start
from mpirefine.steps.shared.seeds import estimate_radius
from mpirefine.storage.mrc import read_volume
from tests.program.small import command, make_set
from tests.program.test_refine import options

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]
UNITS = dict.fromkeys(("project", "simmx", "average", "insert", "store averages", "noise", "reconstruct"), 1e-9)


def job(**changes):
    return Job(
        **{
            **dict(
                particles=10000,
                grid=Grid(128, 2.0),
                symmetries=("c1", "c1"),
                radius=90.0,
                targetres=12.0,
                maxshift=8.0,
                ranks=16,
                per_node=8,
            ),
            **changes,
        }
    )


def test_work_scales_as_it_should():
    one, more = job().work(), job(particles=20000).work()
    assert more["simmx"] == pytest.approx(2 * one["simmx"], rel=0.01) and more["insert"] == one["insert"]
    twice = job(ranks=32).work()
    assert twice["simmx"] == pytest.approx(0.5 * one["simmx"], rel=0.05) and twice["insert"] < 0.6 * one["insert"]
    assert job(symmetries=("c1", "d7")).references[1] < 0.6 * job().references[1]
    assert job(ranks=1, per_node=1).bytes_sent()["average"] == 0
    assert job(ranks=64).bytes_sent()["average"] == 4 * job().bytes_sent()["average"]


def test_memory_does_not_grow_with_ranks_or_classes():
    few, many = job().memory(100), job(ranks=512, per_node=128).memory(100)
    assert many.rank < few.rank and many.shared == few.shared
    assert few.node == pytest.approx(8 * few.rank - 7 * few.private["maps on rank 0"] + few.shared)
    fine = job(targetres=8.0).memory(100)
    assert (
        fine.private["averaging"] == pytest.approx(few.private["averaging"], rel=0.05) and fine.shared > 2 * few.shared
    )
    assert job(lowmem=True).memory(100).private["particles"] == 0


def test_plan_needs_no_mpi_and_no_profile(tmp_path):
    words = ("plan", "--particles", 100000, "--box", 128, "--models", 4, "--ranks", 512, "--per-node", 128, "--apix", 2)
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert "196 particles per rank" in done.stdout or "200 particles per rank" in done.stdout
    assert "once per node" in done.stdout and "give --machine" in done.stdout
    profile = tmp_path / "machine.json"
    machine = Machine(1, 100.0, 40.0, 20.0, 2.0, UNITS, 150.0)
    profile.write_text(json.dumps({"machine": machine.to_json()}))
    assert Machine.read(profile) == machine
    assert "per iteration: project" in command(*words, "--machine", profile).stdout
    assert command("plan", "--particles", 0, "--box", 64).returncode == 2
    with pytest.raises(InputError, match="bench"):
        Machine.read(tmp_path / "none.json")


def test_the_working_box_is_in_the_plan():
    """Particles of 320 px cost what the same ones binned to 80 px do; full-size maps have a line of their own."""
    words = ("plan", "--particles", 200000, "--models", 5, "--ranks", 128, "--targetres", 12)
    large = command(*words, "--box", 320, "--apix", 1, "--maxshift", 24).stdout.splitlines()
    binned = command(*words, "--box", 80, "--apix", 4, "--maxshift", 6).stdout.splitlines()
    assert "320 px, 1 Å/px matched as 80 px, 4 Å/px" in large[0]
    assert large[1:-1] == binned[1:]
    assert re.match(r"full size +maps of 320 px at the end: [\d.]+ [MG]B used by", large[-1])
    assert not any("matched as" in line or "full size" in line for line in binned)


@pytest.mark.ranks(1, 2, 4)
def test_a_run_sends_what_was_planned(team, shared_tmp):
    """Bytes of class sums to the byte; the exchange of slabs, which skips a rank's own part, closely."""
    folder = team.from_root(make_set, shared_tmp / "set")
    start(options(folder, path=shared_tmp / "run", iter=1), team)
    if not team.is_root:
        return
    grid = Grid(32, 8.0)
    radius = max(estimate_radius(read_volume(folder / f"seed_{k}.mrc")[0], grid) for k in (0, 1))
    asked = options(folder)
    planned = job(
        particles=60,
        grid=grid,
        radius=radius,
        targetres=asked.targetres,
        maxshift=asked.maxshift,
        ranks=team.size,
        per_node=team.size,
    )
    steps = json.loads((shared_tmp / "run/timing.json").read_text())["iterations"][1]["steps"]
    sent = planned.bytes_sent()
    import h5py

    with h5py.File(shared_tmp / "run/run.h5") as file:
        classes = len(file["iterations/01/orientations/model"])
    assert steps["average"]["bytes_sent"] == pytest.approx(sent["average"] * classes / planned.references[1], rel=1e-9)
    assert steps["reconstruct"]["bytes_sent"] == pytest.approx(sent["reconstruct"], rel=0.1)
    assert steps["project"]["bytes_sent"] == sent["project"]
    assert steps["simmx"]["bytes_sent"] == 0 and steps["simmx"]["gflop"] > 0 and 0 < steps["simmx"]["share_of_peak"] < 1


def test_bench_prints_a_profile(tmp_path):
    done = command("bench", "--out", tmp_path / "machine.json", "--history", tmp_path / "history.jsonl")
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "history.jsonl").read_text().splitlines()
    assert json.loads(line)["figures"] == json.loads(done.stdout)
    assert {"date", "version", "git", "machine", "processor"} <= json.loads(line).keys()
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "machine.json").read_text())
    assert [(m["rings"], m["angles"], m["shifts"]) for m in found["matching"]][0] == (28, 160, 21)
    assert set(found["machine"]["seconds_per_unit"]) == set(UNITS)
    assert all(np.isfinite(v) and v > 0 for v in found["machine"]["seconds_per_unit"].values())


@pytest.mark.ranks(1, 3)
def test_a_run_by_class_averages_sends_what_was_planned(team, shared_tmp):
    folder = team.from_root(make_set, shared_tmp / "set", 24)
    start(eman_options(folder, shared_tmp / "run"), team)
    if not team.is_root:
        return
    timing = json.loads((shared_tmp / "run/timing.json").read_text())
    steps = timing["iterations"][1]["steps"]
    sent = class_job(particles=24, grid=Grid(32, 8.0), ranks=team.size).bytes_sent()
    assert steps["project"]["bytes_sent"] == sent["project"]
    assert steps["reconstruct"]["bytes_sent"] == pytest.approx(sent["reconstruct"], rel=0.1)
    assert steps["average"]["bytes_sent"] == pytest.approx(sent["average"], rel=0.6)  # beside images: CTFs, few here


def eman_options(folder, path):
    parser = Parser()
    add_to(parser, full=True)
    words = f"--preset eman2 --input {folder}/particles.star --models {folder}/seed_0.mrc,{folder}/seed_1.mrc --iter 1"
    given = vars(parser.parse_args(f"{words} --targetres 30 --path {path} --orientgen eman:delta=30".split()))
    return Options.typed({**given, "verbose": 0})


def class_job(**changes):
    values = dict(particles=100000, grid=Grid(256, 1.1), symmetries=("c1",) * 2, targetres=12.0, ranks=64, per_node=32)
    return ClassJob(**{**values, **changes})


def test_whole_volumes_on_every_rank_are_in_the_plan_of_class_averages():
    few, many = class_job(ranks=8, per_node=8).memory(100), class_job(ranks=512, per_node=128).memory(100)
    assert few.private["Fourier volumes"] == many.private["Fourier volumes"] == 72 * 320 * 320 * 161
    assert class_job(symmetries=("c1", "d7")).projections < 0.6 * class_job().projections
    words = ("plan", "--particles", 1000, "--box", 64, "--preset", "eman2", "--ranks", 4)
    done = command(*words)
    assert done.returncode == 0 and "every rank holds the whole padded Fourier volume" in done.stdout
