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
from mpirefine.distribution.team import Team
from mpirefine.errors import ParameterError
from mpirefine.maths.fsc import fsc, resolution_at
from mpirefine.maths.halves import unsound
from mpirefine.program import rundir
from mpirefine.program.commands import refine
from mpirefine.program.launcher import check_launcher
from mpirefine.program.options import Options, add_to, validate
from mpirefine.storage.images import read_volumes
from mpirefine.storage.particlefile import LISTS, STAR, read_particles

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
        options = replace(options, no_ctf=options.no_ctf or not team.from_root(has_ctf, options))
        if options.check:
            return refine.run(options, team)
        folder = team.from_root(split, options)
        for name in HALVES:
            twins = half_path(folder, name, options.usefilt) if options.usefilt else None
            refine.run(replace(options, path=str(folder / name), input=half_path(folder, name, options.input), usefilt=twins), team)
        team.from_root(compare, folder, options.map_suffix)
    return 0


def has_ctf(options: Options) -> bool:
    """On rank 0. Whether the particles carry a CTF; EMAN2's files need not, as in EMAN2, a STAR file must say --no-ctf."""
    needed = Path(options.input).suffix.lower() == STAR
    return options.no_ctf or read_particles(options.input, options.apix, ctf_needed=needed).table.ctf is not None


def split(options: Options) -> Path:
    """On rank 0. The folder, with the particles of each half in its sets, and their filtered twins."""
    source = read_particles(options.input, options.apix, ctf=not options.no_ctf)
    folder = rundir.of_many(options.path)
    rundir.made(folder)
    table = source.table
    own = table.subset is not None and not unsound(table.subset, table.key)
    rows = [np.flatnonzero((table.subset if own else table.half) == half) for half in (0, 1)]
    twins = [(options.usefilt, read_particles(options.usefilt, options.apix, ctf=False))] if options.usefilt else []
    for path, particles in [(options.input, source), *twins]:
        for name, half in zip(HALVES, rows):
            particles.subset(half_path(folder, name, path), half)
    return folder


def half_path(folder: Path, name: str, source: str) -> str:
    """The particles of one half of a file."""
    suffix = STAR if Path(source).suffix.lower() == STAR else LISTS["lst"]
    return str(folder / "sets" / f"{Path(source).stem}_{name}{suffix}")


def compare(folder: Path, suffix: str) -> float:
    """On rank 0. Write fsc_eotest.txt; the resolution at 0.143, in Å."""
    last = [max((folder / name).glob(f"threed_[0-9][0-9]_01{suffix}")) for name in HALVES]
    (first, apix), (second, _) = (read_volumes(path) for path in last)
    grid, curve = Grid(len(first[0]), apix), fsc(first[0], second[0])
    np.savetxt(folder / "fsc_eotest.txt", np.column_stack([np.arange(len(curve)) / grid.length, curve]), fmt="%10.6f", header="1/A even-odd")
    found = resolution_at(curve, 0.143, grid)
    log.info("even against odd particles: FSC 0.5 at %.2f Å, 0.143 at %.2f Å: %s", resolution_at(curve, 0.5, grid), found, folder / "fsc_eotest.txt")
    return found
