"""--runs n: the same refinement with several seeds, and what the runs agree on."""

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
from mpirefine.storage.atomic import write_text
from mpirefine.storage.particle_file import in_format, read_particles
from mpirefine.storage.run.runfile import RunFile

log = logging.getLogger(__name__)


def repeat(options: Options, team: Team) -> None:
    """Collective. Runs in run_01, run_02, ... of one folder, each with a seed of its own; those that are there already
    are taken up again.
    """
    folder = team.from_root(run_folder.of_many, options.path)
    for number in range(options.runs):
        own = run_folder.repeat_path(folder, number)
        if team.bcast((own / "run.h5").exists() if team.is_root else None):
            run.take_up(own, team, {})
        else:
            run.start(replace(options, runs=1, seed=options.seed + number, path=str(own)), team)
    compare_runs(folder, options, team)


def compare_runs(folder: Path, options: Options, team: Team) -> None:
    """Collective. Agreement, consensus and undecided particles of finished runs, said and written."""
    logs.set_up(team.rank, team.size, options.verbose)
    log.info("mpirefine %s: what %d runs agree on", mpirefine.__version__, options.runs)
    files = [RunFile.open(run_folder.repeat_path(folder, number), team) for number in range(options.runs)]
    last = [file.iterations()[-1] for file in files]
    with team.together("comparing the runs"):
        if team.is_root:
            logs.into(run_folder.make_with_sets(folder))
            labels = [file.read_array(iteration, "assignments/model") for file, iteration in zip(files, last)]
            maps = files[0].read_array(last[0], "assignments/posterior").shape[1]
            found = consensus(labels, maps)
            log.info("%s", agreement_report(found, maps))
            write_text(
                folder / "runs.json",
                json.dumps(
                    dict(
                        adjusted_rand_index=found.ari.tolist(),
                        central_run=found.central + 1,
                        map_of_central_run=(found.numbering + 1).tolist(),
                        consensus=np.bincount(found.label[found.label >= 0], minlength=maps).tolist(),
                        undecided=int((found.label < 0).sum()),
                    ),
                    indent=1,
                ),
            )
            write_sets(folder, options, found, files[found.central], last[found.central], maps)
            log.info("runs.json, consensus.star and sets of every map and of the undecided in %s", folder)


def agreement_report(found: Consensus, maps: int) -> str:
    """Agreement between runs, and the particles of each map, in words."""
    runs = len(found.ari)
    rows = [
        [
            f"run {a + 1}",
            *(f"{found.ari[a, b]:.3f}" if a != b else "-" for b in range(runs)),
            " ".join(f"{m + 1}={found.numbering[a, m] + 1}" for m in range(maps)),
        ]
        for a in range(runs)
    ]
    sizes = [int((found.label == m).sum()) for m in range(maps)]
    undecided = len(found.label) - sum(sizes)
    different = found.ari[np.triu_indices(runs, 1)]
    return "\n".join(
        [
            "adjusted Rand index between runs (1: the same classes, 0: as by chance), and each run's maps as those "
            "of run " + str(found.central + 1),
            logs.table(["", *(f"run {b + 1}" for b in range(runs)), "maps"], rows),
            f"mean agreement {different.mean():.3f}, least {different.min():.3f}; run {found.central + 1} agrees "
            "best with "
            "the others",
            f"more than half of the runs agree on {sum(sizes)} of {len(found.label)} particles: "
            + ", ".join(f"map {m + 1} {size}" for m, size in enumerate(sizes))
            + f"; {undecided} are undecided",
        ]
    )


def write_sets(folder: Path, options: Options, found: Consensus, central: RunFile, iteration: int, maps: int) -> None:
    """On rank 0. Poses are those of the central run; the probability column holds the share of runs that agree."""
    source = in_format(read_particles(options.input, options.apix, ctf=not options.no_ctf), options.setformat)
    particles = source.with_results(
        model=found.label,
        posterior=found.votes,
        rotation=central.read_array(iteration, "assignments/rotation"),
        shift_xy=central.read_array(iteration, "assignments/shift"),
    )
    particles.write(folder / f"consensus{source.suffix}")
    for m in range(maps):
        particles.write(run_folder.set_path(folder, "consensus", m, source.suffix), np.flatnonzero(found.label == m))
    particles.write(folder / "sets" / f"undecided{source.suffix}", np.flatnonzero(found.label < 0))
