"""From options to a context and a first state: everything between the command line and the loop."""
from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.errors import InputError
from mpirefine.program import auto, logs
from mpirefine.program.launcher import check_threads
from mpirefine.program.options import Options
from mpirefine.program.timing import Clock
from mpirefine.steps.base import Context, Noise, State
from mpirefine.steps.particles import OUTLIER, REASONS, OwnParticles
from mpirefine.steps.plan import SearchPlan
from mpirefine.steps.seed import Seeds, prepare
from mpirefine.steps.simmx import CHUNK
from mpirefine.storage import mrc, relion
from mpirefine.storage.stack import ParticleStack

log = logging.getLogger(__name__)
LEAST_RESOLUTION = 60.0    # Å; matching never falls back to fewer rings than this


@dataclass(frozen=True)
class Inputs:
    """What rank 0 read: particles without pixels, maps, masks."""

    particles: relion.ParticleInput
    maps: list[np.ndarray]
    apix: list[float]
    names: list[str]
    masks: list[np.ndarray]


def read_inputs(options: Options) -> Inputs:
    """On rank 0. Reads everything but pixels; every complaint is collected and raised as one InputError."""
    problems: list[str] = []
    particles, maps, apix = None, [], []
    names, masks = ([name.strip() for name in text.split(",")] if text else [] for text in (options.models, options.mask))
    try:
        particles = relion.read_particles(options.input, options.apix, ctf=not options.no_ctf, poses=options.fixed_poses)
    except InputError as error:
        problems += error.problems
    for name in names + masks:
        try:
            volume, pixel = mrc.read_volume(name)
            if not np.isfinite(volume).all():
                raise InputError(f"{name}: {int((~np.isfinite(volume)).sum())} voxels are not finite: repair the map first")
            maps.append(volume)
            apix.append(pixel)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    maps, solvent = maps[:len(names)], maps[len(names):]
    for name, mask in zip(masks, solvent):
        if mask.shape[0] != particles.grid.nx:
            raise InputError(f"--mask {name} has {mask.shape[0]} voxels, the particles {particles.grid.nx}: give it on the particles' grid")
    if len(masks) not in (0, 1, auto.count_models(options)):
        raise InputError(f"--mask names {len(masks)} files for {auto.count_models(options)} maps: give one for all, or one for each")
    return Inputs(particles, maps, apix[:len(names)], names, solvent)


def own_particles(team: Team, inputs: Inputs | None, partition: Partition, box: int, options: Options) -> OwnParticles:
    """Collective. Rows of the table go to their owners; each reads its own pixels."""
    tables = [inputs.particles.table.take(block.as_slice) for block in partition] if inputs is not None else None
    table = team.scatter(tables)
    with team.together("reading particles"):
        particles = OwnParticles(table, ParticleStack(table), box, keep_pixels=not options.lowmem)
    reason = reduce.gather_rows(team, particles.reason, partition)
    if team.is_root:
        for code, text in enumerate(REASONS[1:OUTLIER], 1):
            rows = np.flatnonzero(reason == code)
            if len(rows):
                log.warning("%d of %d particles are set aside because %s: rows %s%s", len(rows), len(reason), text,
                            ", ".join(str(r + 1) for r in rows[:10]), " ..." if len(rows) > 10 else "")
    return particles


@dataclass(frozen=True)
class Session:
    """A refinement ready to loop."""

    context: Context
    state: State
    inputs: Inputs | None
    seeds: Seeds | None
    resolved: auto.Resolved
    notes: tuple[str, ...]       # rank 0: every automatic choice, in words


def open_session(options: Options, team: Team) -> Session:
    """Collective. Reads, checks, decides and says so; raises InputError on all ranks with every complaint."""
    inputs = None
    check_threads(team, options.threads)
    with team.together("reading the input"):
        if team.is_root:
            inputs = read_inputs(options)
            resolved = auto.resolve(options, inputs.particles.grid)
    grid, count, resolved = team.bcast((inputs.particles.grid, len(inputs.particles.table), resolved) if team.is_root else None)
    options = resolved.options
    if team.is_root:
        log.info("%d particles of %d px, %.3f Å/px; %d maps", count, grid.nx, grid.apix, len(resolved.symmetries))
    partition = Partition.even(count, team.size, quantum=CHUNK)
    particles = own_particles(team, inputs, partition, grid.nx, options)
    seeds = None
    with team.together("preparing the starting maps"):
        if team.is_root:
            seeds = prepare(inputs.maps, inputs.apix, inputs.names, grid, copies=options.nmodels if options.nmodels and len(inputs.maps) == 1 else 1,
                            mass=resolved.mass, targetres=options.targetres, radius=options.radius, masks=inputs.masks, seed=options.seed,
                            method=options.seeds_from)
    radius, resolution = team.bcast((seeds.radius, seeds.resolution) if team.is_root else None)
    context = make_context(options, team, grid, resolved, partition, particles, radius, resolution, seeds)
    notes = (*resolved.reasons, *seeds.notes, describe(context)) if team.is_root else ()
    for note in notes:
        log.info("%s", note)
    shells = grid.nx // 2 + 1
    groups = len(particles.table.group_names)
    blank = Noise(np.ones((groups, shells)), np.ones(groups))
    state = State(0, blank, (context.first_rings or context.target_rings,) * context.models, volumes=seeds.volumes if team.is_root else None)
    return Session(context, state, inputs, seeds, resolved, notes)


def make_context(options: Options, team: Team, grid: Grid, resolved: auto.Resolved, partition: Partition, particles: OwnParticles,
                 radius: float, resolution: float, seeds: Seeds | None) -> Context:
    """The context of a run; `radius` and the `resolution` it starts with in Å."""
    plan = SearchPlan(grid.nx, radius / grid.apix, options.maxshift, options.delta)
    target = int(min(round(grid.ring(options.targetres)), grid.nx // 2 - 1))
    least = int(min(target, max(auto.LEAST_RINGS, round(grid.ring(LEAST_RESOLUTION)))))
    first = int(np.clip(round(grid.ring(resolution)), min(auto.LEAST_RINGS, target), target))
    return Context(team=team, options=options, grid=grid, symmetries=resolved.symmetries, partition=partition, particles=particles, plan=plan,
                   clock=Clock(team), target_rings=target, least_rings=least,
                   first_rings=first if first < target else 0, masks=seeds.masks if seeds is not None else None,
                   progress=logs.progress)


def describe(ctx: Context) -> str:
    """The first iteration's search, in words."""
    if ctx.options.fixed_poses:
        return "poses: angles and shifts of the particle file; only the map is chosen"
    levels = ctx.plan.levels(ctx.first_rings or ctx.target_rings)
    return (f"search: directions every {levels.coarse_delta:.2f}° then {levels.fine_delta:.2f}°, rings 1-{levels.coarse_grid.n_rings} then "
            f"1-{levels.fine_grid.n_rings} ({ctx.grid.resolution(levels.fine_grid.n_rings):.1f} Å), {levels.fine_angles} in-plane angles, "
            f"shifts to {ctx.plan.maxshift:g} px every {levels.coarse_step:g} then {levels.fine_step:g} px, the best poses again at "
            f"{levels.refined_angles} angles and {levels.refined_step:g} px: steps follow from the particle radius and the resolution in use")
