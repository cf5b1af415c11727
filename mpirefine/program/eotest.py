"""Even-odd test, as e2eotest does it: refine one map twice, with half of the particles each."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.keys import EVEN_ODD, halves
from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.errors import ParameterError
from mpirefine.maths.fourier.fsc import fsc, resolution_at
from mpirefine.program import logs, run
from mpirefine.program.options import Options
from mpirefine.program.results import run_folder
from mpirefine.program.start.own_particles import read_own
from mpirefine.steps.shared.half_sets import settle_half_sets
from mpirefine.storage.atomic import replacing
from mpirefine.storage.images import read_volumes
from mpirefine.storage.particle_file import CS, LISTS, STAR, ParticleInput, files_of_input, read_particles

log = logging.getLogger(__name__)
HALVES = ("even", "odd")


def refine_halves(options: Options, team: Team) -> None:
    """Collective. Run both refinements, one after the other, and compute the FSC of their maps.

    With --check only the input is read. ParameterError for options that need several maps or runs.
    """
    with team.together("checking the options"):
        if "," in options.models or options.nmodels or options.runs > 1:
            raise ParameterError("eotest refines one map: give one in --models, without --nmodels and --runs")
    if options.check:
        run.start(options, team)
        return
    logs.set_up(team.rank, team.size, options.verbose)
    folder = split_particles(options, team)
    for name in HALVES:
        twins = half_path(folder, name, options.usefilt) if options.usefilt else None
        half = half_path(folder, name, options.input)
        run.start(replace(options, path=str(folder / name), input=half, usefilt=twins), team)
    team.from_root(compare_halves, folder, options.map_suffix)


@dataclass(frozen=True)
class Sources:
    """On rank 0. The folder of both refinements, the particle file, and the file of filtered particles of --usefilt."""

    folder: Path
    particles: ParticleInput
    twins: ParticleInput | None


def read_sources(options: Options) -> Sources:
    """On rank 0. Read the particle files and make the folder; InputError when one of them cannot be used."""
    particles = read_particles(options.input, options.apix, ctf=not options.no_ctf)
    twins = read_particles(options.usefilt, options.apix, ctf=False) if options.usefilt else None
    folder = run_folder.make_with_sets(run_folder.choose_parent(options.path))
    return Sources(folder, particles, twins)


def split_particles(options: Options, team: Team) -> Path:
    """Collective. Write the particles of each half, and their filtered twins, into sets/ and return the folder.

    All copies of an image go to the same half. The half-sets of the particle file are used when every rank finds them
    valid; otherwise halves are drawn independently of those that a refinement draws. InputError when a file cannot be
    read.
    """
    with team.together("reading the particles"):
        sources = read_sources(options) if team.is_root else None
    count, grid = team.bcast(None if sources is None else (len(sources.particles.table), sources.particles.grid))
    partition = Partition.even(count, team.size)
    particles = read_own(team, sources.particles if sources else None, partition, grid)
    settle_half_sets(team, particles, partition, options.seed)
    table = particles.table
    from_file = all(team.allgather(table.subset is not None and np.array_equal(table.subset, table.half)))
    half = reduce.gather_rows(team, table.half if from_file else halves(table.key, EVEN_ODD), partition)
    with team.together("writing the halves"):
        if sources is not None:
            for path, source in ((options.input, sources.particles), (options.usefilt, sources.twins)):
                if path is not None and source is not None:
                    for number, name in enumerate(HALVES):
                        source.unchanged().write(half_path(sources.folder, name, path), np.flatnonzero(half == number))
    return team.bcast(sources.folder if sources is not None else None)


def half_path(folder: Path, name: str, source: str) -> str:
    """The file in sets/ for the particles of `source` that are in one half."""
    path = files_of_input(source)[0]
    suffix = path.suffix.lower() if path.suffix.lower() in (STAR, CS) else LISTS["lst"]
    return str(folder / "sets" / f"{path.stem}_{name}{suffix}")


def compare_halves(folder: Path, suffix: str) -> float:
    """On rank 0. Write fsc_eotest.txt, and return the resolution in Å at FSC 0.143."""
    last = [max((folder / name).glob(f"threed_[0-9][0-9]_01{suffix}")) for name in HALVES]
    (first, apix), (second, _) = (read_volumes(path) for path in last)
    grid, curve = Grid(len(first[0]), apix), fsc(first[0], second[0])
    with replacing(folder / "fsc_eotest.txt") as temporary:
        np.savetxt(
            temporary,
            np.column_stack([np.arange(len(curve)) / grid.length, curve]),
            fmt="%10.6f",
            header="1/A even-odd",
        )
    resolution = resolution_at(curve, 0.143, grid)
    log.info(
        "even against odd particles: FSC 0.5 at %.2f Å, 0.143 at %.2f Å: %s",
        resolution_at(curve, 0.5, grid),
        resolution,
        folder / "fsc_eotest.txt",
    )
    return resolution
