"""Two refinements of one map, each with half of the particles, and the FSC of what they give: what e2eotest does.

They have nothing in common but the start. Takes the options of a refinement; --path is the folder of both.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.keys import EVEN_ODD, halves
from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.errors import ParameterError
from mpirefine.maths.fourier.fsc import fsc, resolution_at
from mpirefine.program import logs, run_folder
from mpirefine.program.commands import refine
from mpirefine.program.launcher import check_launcher
from mpirefine.program.options import Options, add_to, validate
from mpirefine.program.setup import dealt
from mpirefine.steps.shared.half_sets import settle
from mpirefine.storage.atomic import replacing
from mpirefine.storage.images import read_volumes
from mpirefine.storage.particle_file import LISTS, STAR, read_particles

log = logging.getLogger(__name__)
HALVES = ("even", "odd")


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Every option of a refinement."""
    add_to(parser, full=full)


def main(args: argparse.Namespace) -> int:
    """Collective."""
    options = Options.typed(vars(args))
    validate(options)
    if "," in options.models or options.nmodels or options.runs > 1:
        raise ParameterError("eotest refines one map: give one in --models, without --nmodels and --runs")
    with Team.world() as team:
        check_launcher(team.size)
        if options.check:
            return refine.run(options, team)
        logs.start(team.rank, team.size, options.verbose)
        folder = split(options, team)
        for name in HALVES:
            twins = half_path(folder, name, options.usefilt) if options.usefilt else None
            refine.run(
                replace(options, path=str(folder / name), input=half_path(folder, name, options.input), usefilt=twins),
                team,
            )
        team.from_root(compare, folder, options.map_suffix)
    return 0


def split(options: Options, team: Team) -> Path:
    """Collective. The folder, with the particles of each half in its sets, and their filtered twins. Copies of an image
    are in one half.

    Halves are those of the particle file where they are sound, else drawn apart from those that a refinement draws.
    """
    source = twins = folder = None
    with team.together("reading the particles"):
        if team.is_root:
            source = read_particles(options.input, options.apix, ctf=not options.no_ctf)
            twins = read_particles(options.usefilt, options.apix, ctf=False) if options.usefilt else None
            folder = run_folder.of_many(options.path)
            run_folder.made(folder)
    count, box = team.bcast((len(source.table), source.grid.nx) if source is not None else None)
    partition = Partition.even(count, team.size)
    particles = dealt(team, source, partition, box, keep_pixels=False)
    settle(team, particles, partition, options.seed)
    table = particles.table
    own = all(team.allgather(table.subset is not None and np.array_equal(table.subset, table.half)))
    half = reduce.gather_rows(team, table.half if own else halves(table.key, EVEN_ODD), partition)
    with team.together("writing the halves"):
        if team.is_root:
            for path, stack in [(options.input, source), *([(options.usefilt, twins)] if twins is not None else [])]:
                for number, name in enumerate(HALVES):
                    stack.unchanged().write(half_path(folder, name, path), np.flatnonzero(half == number))
    return team.bcast(folder)


def half_path(folder: Path, name: str, source: str) -> str:
    """The particles of one half of a file."""
    suffix = STAR if Path(source).suffix.lower() == STAR else LISTS["lst"]
    return str(folder / "sets" / f"{Path(source).stem}_{name}{suffix}")


def compare(folder: Path, suffix: str) -> float:
    """On rank 0. Write fsc_eotest.txt; the resolution at 0.143, in Å."""
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
    found = resolution_at(curve, 0.143, grid)
    log.info(
        "even against odd particles: FSC 0.5 at %.2f Å, 0.143 at %.2f Å: %s",
        resolution_at(curve, 0.5, grid),
        found,
        folder / "fsc_eotest.txt",
    )
    return found
