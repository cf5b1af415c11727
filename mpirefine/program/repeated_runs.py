"""--runs n: repeat a refinement with different random seeds, and compare the classes that the runs find."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

import mpirefine
from mpirefine.distribution.team import Team
from mpirefine.maths.statistics.agreement import Consensus, consensus
from mpirefine.program import logs, run
from mpirefine.program.options import Options
from mpirefine.program.results import run_folder
from mpirefine.program.start.inputs import turned
from mpirefine.program.start.polarity import find_inverted
from mpirefine.storage.atomic import write_text
from mpirefine.storage.particle_file import in_format, read_particles
from mpirefine.storage.run.runfile import RunFile

log = logging.getLogger(__name__)


def repeat(options: Options, team: Team) -> None:
    """Collective. Run in run_01, run_02, ... of one folder, each with its own seed, and compare the results.

    Runs that exist already are continued. InputError or ParameterError for options or files that cannot be used,
    StorageFailure or RankFailure when the disk is full.
    """
    folder = team.from_root(run_folder.choose_parent, options.path)
    for number in range(options.runs):
        run_path = run_folder.repeat_path(folder, number)
        if team.bcast((run_path / "run.h5").exists() if team.is_root else None):
            run.resume(run_path, team, {})
        else:
            run.start(replace(options, runs=1, seed=options.seed + number, path=str(run_path)), team)
    compare_runs(folder, options, team)


def compare_runs(folder: Path, options: Options, team: Team) -> None:
    """Collective. Log and write the agreement of finished runs, their consensus and the undecided particles."""
    logs.set_up(team.rank, team.size, options.verbose)
    log.info("mpirefine %s: comparing %d runs", mpirefine.__version__, options.runs)
    files = [RunFile.open(run_folder.repeat_path(folder, number), team) for number in range(options.runs)]
    last = [file.iterations()[-1] for file in files]
    with team.together("comparing the runs"):
        if team.is_root:
            logs.log_to(run_folder.make_with_sets(folder))
            labels = [file.read_array(iteration, "assignments/model") for file, iteration in zip(files, last)]
            maps = files[0].read_array(last[0], "assignments/posterior").shape[1]
            agreed = consensus(labels, maps)
            log.info("%s", agreement_report(agreed, maps))
            write_text(
                folder / "runs.json",
                json.dumps(
                    dict(
                        adjusted_rand_index=agreed.ari.tolist(),
                        central_run=agreed.central + 1,
                        map_of_central_run=(agreed.numbering + 1).tolist(),
                        consensus=np.bincount(agreed.label[agreed.label >= 0], minlength=maps).tolist(),
                        undecided=int((agreed.label < 0).sum()),
                    ),
                    indent=1,
                ),
            )
            name = write_sets(folder, options, agreed, files[agreed.central], last[agreed.central], maps)
            log.info("runs.json, %s, and sets of each map and of undecided particles in %s", name, folder)


def agreement_report(agreed: Consensus, maps: int) -> str:
    """The text about the agreement between runs and the particles of each map."""
    runs = len(agreed.ari)
    rows = [
        [
            f"run {a + 1}",
            *(f"{agreed.ari[a, b]:.3f}" if a != b else "-" for b in range(runs)),
            " ".join(f"{m + 1}={agreed.numbering[a, m] + 1}" for m in range(maps)),
        ]
        for a in range(runs)
    ]
    sizes = [int((agreed.label == m).sum()) for m in range(maps)]
    undecided = len(agreed.label) - sum(sizes)
    between_runs = agreed.ari[np.triu_indices(runs, 1)]
    return "\n".join(
        [
            "adjusted Rand index between runs (1: the same classes, 0: as by chance); last column: each run's map = "
            f"map of run {agreed.central + 1}",
            logs.table(["", *(f"run {b + 1}" for b in range(runs)), "maps"], rows),
            f"mean agreement {between_runs.mean():.3f}, smallest {between_runs.min():.3f}; run {agreed.central + 1} "
            "agrees best with the other runs",
            f"more than half of the runs agree on {sum(sizes)} of {len(agreed.label)} particles: "
            + ", ".join(f"map {m + 1} {size}" for m, size in enumerate(sizes))
            + f"; {undecided} are undecided",
        ]
    )


def write_sets(folder: Path, options: Options, agreed: Consensus, central: RunFile, iteration: int, maps: int) -> str:
    """On rank 0. Write the consensus particles, a set for each map, and the undecided particles; the name of the first.

    Poses are those of the central run; the probability column holds the share of runs that agree.
    """
    read = read_particles(options.input, options.apix, ctf=not options.no_ctf)
    inverted = turned(read.table, find_inverted(options.invert, read.table, maps)[0])
    source = in_format(read.with_table(replace(read.table, inverted=inverted)), options.setformat)
    box = Options.from_json(central.header["options"]).box or source.grid.nx
    to_file = source.grid.nx / box  # pixels of the run to pixels of the file
    particles = source.with_results(
        model=agreed.label,
        posterior=agreed.votes,
        rotation=central.read_array(iteration, "assignments/rotation"),
        shift_xy=central.read_array(iteration, "assignments/shift") * to_file,
    )
    particles.write(folder / f"consensus{source.suffix}")
    for m in range(maps):
        particles.write(run_folder.set_path(folder, "consensus", m, source.suffix), np.flatnonzero(agreed.label == m))
    particles.write(folder / "sets" / f"undecided{source.suffix}", np.flatnonzero(agreed.label < 0))
    return f"consensus{source.suffix}"
