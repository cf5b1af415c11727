"""Set up a refinement: read the input, decide automatic values, and make context, method and first state."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.data.partition import Partition
from mpirefine.distribution.team import Team
from mpirefine.maths.likelihood.search_plan import SearchPlan
from mpirefine.program import logs
from mpirefine.program.eman2 import components
from mpirefine.program.launcher import check_threads
from mpirefine.program.options import Options
from mpirefine.program.performance.timing import Clock
from mpirefine.program.settings import settings_of
from mpirefine.program.start import defaults
from mpirefine.program.start.full_size import full_size_grid
from mpirefine.program.start.inputs import Inputs, apply_inversion, read_inputs, read_twins
from mpirefine.program.start.own_particles import read_normalised
from mpirefine.program.start.sanity import describe_lenses, find_field_warnings
from mpirefine.steps.eman2.choices import Choices
from mpirefine.steps.eman2.class_averages import ParticleSet
from mpirefine.steps.eman2.method import Eman2
from mpirefine.steps.eman2.scores import FlippedParticles
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.eman2.twins import check_twins
from mpirefine.steps.likelihood.method import Likelihood
from mpirefine.steps.likelihood.search.particle_side import CHUNK
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.shared.half_sets import settle_half_sets
from mpirefine.steps.shared.particles import OwnParticles
from mpirefine.steps.shared.seeds import SeedPlan, Seeds, prepare_seeds
from mpirefine.steps.state import Context, Method, Noise, RingLimits, State

log = logging.getLogger(__name__)
LEAST_RESOLUTION = 60.0  # Å; matching always uses at least the rings up to here


@dataclass(frozen=True)
class Session:
    """A refinement that is ready for its first iteration; inputs and notes are on rank 0."""

    context: Context
    method: Method[Any]  # its state type is that of `state`
    state: State
    clock: Clock
    resolved: defaults.Resolved
    inputs: Inputs | None
    notes: tuple[str, ...]  # automatic values and warnings, as logged


@dataclass(frozen=True)
class Decisions:
    """What rank 0 decides from options and inputs, and broadcasts."""

    source: Grid  # of the particles as they are in their file
    particles: int
    sizes: str  # how many particles of which box and pixel size, in words
    resolved: defaults.Resolved
    choices: Choices | None  # components of EMAN2's way; None: the likelihood is used


def open_session(options: Options, team: Team, typed: Options | None = None) -> Session:
    """Collective. Read and check the input, decide automatic values, and log them.

    `typed` are the options of the first start, when a run is resumed. InputError or ParameterError on all ranks, with
    every problem.
    """
    check_threads(team, options.threads)
    with team.together("reading the input"):
        inputs, decisions = read_and_decide(options, typed) if team.is_root else (None, None)
    decisions = team.bcast(decisions)
    options, source_grid, resolved = decisions.resolved.options, decisions.source, decisions.resolved
    grid = resolved.working_grid(source_grid)
    log.info("%s; %d maps", decisions.sizes, len(resolved.symmetries))
    seeds = None
    with team.together("preparing the starting maps"):
        if inputs is not None:
            inputs = apply_inversion(inputs, options).on_grid(grid)
            seeds = prepare_starting_maps(inputs, resolved, grid)
    radius, resolution = team.bcast((seeds.radius, seeds.resolution) if seeds is not None else None)
    partition = Partition.even(decisions.particles, team.size, quantum=CHUNK)
    maxshift = resolved.working_shift(source_grid)
    source = inputs.particles if inputs is not None else None
    particles = read_normalised(team, source, partition, grid, radius / grid.apix + maxshift, options)
    settle_half_sets(team, particles, partition, options.seed)
    clock = Clock(team)
    plan = SearchPlan(grid.nx, radius / grid.apix, maxshift, options.delta)
    context = Context(
        team=team,
        settings=settings_of(options, resolved.mass),
        grid=grid,
        symmetries=resolved.symmetries,
        partition=partition,
        particles=particles,
        plan=plan,
        limits=choose_ring_limits(grid, resolved, resolution),
        clock=clock,
        masks=seeds.masks if seeds is not None else None,
        progress=logs.progress,
    )
    method, state = make_method_and_state(options, decisions.choices, context, seeds, inputs)
    notes: tuple[str, ...] = ()
    if inputs is not None and seeds is not None:
        notes = log_choices(inputs, resolved, seeds, grid, method.describe(context))
    return Session(context, method, state, clock, resolved, inputs, notes)


def read_and_decide(options: Options, typed: Options | None) -> tuple[Inputs, Decisions]:
    """On rank 0. The input and every automatic value; InputError or ParameterError with every problem."""
    inputs = read_inputs(options, fresh=typed is None)
    grid, table = inputs.particles.grid, inputs.particles.table
    resolved, choices = defaults.resolve(options, grid, len(inputs.maps)), None
    full_size_grid(table.lenses, options.full_box)  # refused here rather than after the last iteration
    if options.by_classes:
        resolved, choices = components.choose_components(resolved, grid, table.ctf, typed or options)
    inputs = replace(inputs, twins=read_twins(resolved.options, inputs.particles))
    return inputs, Decisions(grid, len(table), describe_sizes(table), resolved, choices)


def describe_sizes(table: ParticleTable) -> str:
    """How many particles have which box and pixel size."""
    counts: dict[Grid, int] = {}
    for lens, count in zip(table.lenses, np.bincount(table.lens_of(slice(None)), minlength=len(table.lenses))):
        counts[lens.grid] = counts.get(lens.grid, 0) + int(count)
    sizes = [f"{count} particles of {grid.nx} px, {grid.apix:.3f} Å/px" for grid, count in counts.items() if count]
    return ", ".join(sizes)


def prepare_starting_maps(inputs: Inputs, resolved: defaults.Resolved, grid: Grid) -> Seeds:
    """On rank 0. The starting maps, prepared on the grid of the particles."""
    options = resolved.options
    plan = SeedPlan(
        copies=options.nmodels if options.nmodels and len(inputs.maps) == 1 else 1,
        method=options.seeds_from,
        targetres=resolved.targetres,
        radius=options.radius,
        seed=options.seed,
        symmetries=resolved.symmetries,
        coarse=not options.by_classes,
        align=options.align_sym,
    )
    return prepare_seeds(inputs.maps, inputs.apix, inputs.names, inputs.masks, grid, plan)


def choose_ring_limits(grid: Grid, resolved: defaults.Resolved, resolution: float) -> RingLimits:
    """Rings for matching when the starting maps have a `resolution` in Å; only the likelihood starts with fewer."""
    target = int(min(round(grid.ring(resolved.targetres)), grid.nx // 2 - 1))
    least = int(min(target, max(defaults.LEAST_RINGS, round(grid.ring(LEAST_RESOLUTION)))))
    first = int(np.clip(round(grid.ring(resolution)), min(defaults.LEAST_RINGS, target), target))
    return RingLimits(target, least, first if first < target and not resolved.options.by_classes else 0)


def make_method_and_state(
    options: Options, choices: Choices | None, ctx: Context, seeds: Seeds | None, inputs: Inputs | None
) -> tuple[Method[Any], State]:
    """Collective. The way to refine, and the state before its pilot; InputError when filtered twins do not fit."""
    table, shells = ctx.particles.table, ctx.grid.nx // 2 + 1
    groups, count = len(table.group_names), len(table)
    noise = Noise(np.ones((groups, shells)), np.ones(groups))
    rings = (ctx.limits.first or ctx.limits.target,) * ctx.models
    names = tuple(inputs.names) if inputs is not None else ()
    kind: type[State] = LikelihoodState if choices is None else Eman2State
    state = kind(
        0,
        noise,
        rings,
        table.half,
        np.ones(count, np.float32),
        np.ones(count),
        volumes=seeds.volumes if seeds is not None else None,
    )
    if choices is None:
        return Likelihood(names), state
    flipped = FlippedParticles(ctx.particles, ctx.grid.apix)
    twins = read_own_twins(options, ctx, inputs) if options.usefilt else None
    images = ParticleSet(flipped, None if twins is None else FlippedParticles(twins, ctx.grid.apix))
    return Eman2(choices, images, options.input, options.map_suffix, names), state


def read_own_twins(options: Options, ctx: Context, inputs: Inputs | None) -> OwnParticles:
    """Collective. The own filtered particles of --usefilt; InputError when they are not those of --input."""
    source = inputs.twins if inputs is not None else None
    twins = read_normalised(ctx.team, source, ctx.partition, ctx.grid, ctx.plan.radius + ctx.plan.maxshift, options)
    check_twins(ctx, twins, options.usefilt or "")
    return twins


def log_choices(inputs: Inputs, resolved: defaults.Resolved, seeds: Seeds, grid: Grid, search: str) -> tuple[str, ...]:
    """On rank 0. Log every automatic value and warning, and return them."""
    fields = find_field_warnings(grid, inputs.maps, inputs.apix, inputs.names)
    lenses, even = inputs.particles.table.lenses, not resolved.options.by_classes
    lens = describe_lenses(lenses, grid, resolved.targetres, seeds.radius, even=even)
    several = len({lens.grid for lens in inputs.particles.table.lenses}) > 1
    brought = [f"images of different boxes and pixel sizes are brought to {grid.nx} px of {grid.apix:.3f} Å"]
    notes = (
        *resolved.options.idle,
        *(brought if several else []),
        *resolved.reasons,
        *seeds.notes,
        *fields,
        *lens,
        search,
    )
    for note in notes:
        log.log(logging.WARNING if note.startswith("warning:") else logging.INFO, "%s", note)
    return notes
