"""From options to a context and a first state: everything between the command line and the loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.distribution.scatter import scatter_table
from mpirefine.distribution.team import Team
from mpirefine.errors import InputError
from mpirefine.maths.image.background import outside_circle
from mpirefine.program import defaults, logs, run_folder
from mpirefine.program.eman2 import components
from mpirefine.program.launcher import check_threads
from mpirefine.program.options import Options, flag_of
from mpirefine.program.performance.timing import Clock
from mpirefine.program.polarity import turned
from mpirefine.program.reports import image_report
from mpirefine.program.sanity import field_complaints, field_warnings, uncorrected
from mpirefine.steps.eman2.choices import ClassMethod
from mpirefine.steps.eman2.scores import FlippedParticles
from mpirefine.steps.eman2.twins import check as check_twins
from mpirefine.steps.likelihood.search_plan import SearchPlan
from mpirefine.steps.likelihood.simmx import CHUNK
from mpirefine.steps.shared.half_sets import settle
from mpirefine.steps.shared.particles import OUTLIER, REASONS, OwnParticles
from mpirefine.steps.shared.seeds import Seeds, prepare
from mpirefine.steps.state import Context, Noise, State
from mpirefine.storage.images import read_volumes
from mpirefine.storage.particle_file import STAR, ParticleInput, read_particles
from mpirefine.storage.stack import ParticleStack

log = logging.getLogger(__name__)
LEAST_RESOLUTION = 60.0  # Å; matching never falls back to fewer rings than this


@dataclass(frozen=True)
class Inputs:
    """What rank 0 read: particles without pixels, maps, masks."""

    particles: ParticleInput
    maps: list[np.ndarray]
    apix: list[float]
    names: list[str]
    masks: list[np.ndarray]


def read_inputs(options: Options, *, fresh: bool = False) -> Inputs:
    """On rank 0. Reads everything but pixels; every complaint is collected and raised as one InputError. A `fresh` run
    needs a folder of its own.
    """
    problems: list[str] = []
    particles = None
    try:
        particles = read_particles(options.input, options.apix, ctf=not options.no_ctf, poses=options.fixed_poses)
    except InputError as error:
        problems += error.problems
    maps, apix, names = read_maps(options.models, problems)
    masks, _, mask_names = read_maps(options.mask or "", problems)
    if particles is not None:
        problems += field_complaints(options, particles, [len(volume) for volume in maps], apix, names)
        problems += [
            f"--mask {name} has {mask.shape[0]} voxels, the particles {particles.grid.nx}: give it on the particles' "
            "grid"
            for name, mask in zip(mask_names, masks)
            if mask.shape[0] != particles.grid.nx
        ]
    checks: list[Callable[[], object]] = [lambda: run_folder.free(options.path)] if fresh else []
    if particles is not None:
        checks.append(lambda: turned(options.invert, particles.table, len(maps)))
    for check in checks:
        try:
            check()
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(
            *problems,
            *(defaults.per_map(options, len(maps)).problems if len(maps) >= len(options.models.split(",")) else ()),
        )
    count = defaults.count_models(options, len(maps))
    if len(masks) not in (0, 1, count):
        raise InputError(f"--mask names {len(masks)} maps for {count} models: give one for all, or one for each")
    return Inputs(particles, maps, apix, names, masks)


def read_maps(files: str, problems: list[str]) -> tuple[list[np.ndarray], list[float], list[str]]:
    """Maps, their Å per voxel and their names, of comma separated files; a file may hold several maps. Complaints are
    added to `problems`.
    """
    maps: list[np.ndarray] = []
    apix: list[float] = []
    names: list[str] = []
    for name in (file.strip() for file in files.split(",") if file):
        try:
            found, pixel = read_volumes(name)
        except InputError as error:
            problems += error.problems
            continue
        problems += [
            f"{name}: {int((~np.isfinite(v)).sum())} voxels are not finite: repair the map first"
            for v in found
            if not np.isfinite(v).all()
        ]
        maps += found
        apix += [pixel] * len(found)
        names += [name if len(found) == 1 else f"{name} (map {number})" for number in range(1, len(found) + 1)]
    return maps, apix, names


def dealt(
    team: Team,
    source: ParticleInput | None,
    partition: Partition,
    box: int,
    *,
    keep_pixels: bool,
    outside: np.ndarray | None = None,
) -> OwnParticles:
    """Collective. The own rows of a particle file that rank 0 has read, and their pixels; `outside` as in
    OwnParticles.
    """
    table = scatter_table(team, source.table if source is not None else None, partition)
    with team.together("reading particles"):
        return OwnParticles(table, ParticleStack(table), box, keep_pixels=keep_pixels, outside=outside)


def own_particles(
    team: Team, source: ParticleInput | None, partition: Partition, box: int, radius: float, options: Options
) -> OwnParticles:
    """Collective. As `dealt`, with backgrounds outside of `radius` (pixels) brought to one level; rank 0 says what was
    found.
    """
    outside = None if options.no_normalise else outside_circle(box, radius)
    particles = dealt(team, source, partition, box, keep_pixels=not options.lowmem, outside=outside)
    if outside is not None:
        found = particles.background
        values = reduce.gather_rows(
            team, np.column_stack([found.level, found.slope, found.scale, particles.set_aside]), partition
        )
        if team.is_root:
            log.info("%s", image_report.told(values[values[:, 4] == 0], box))
    reason = reduce.gather_rows(team, particles.reason, partition)
    if team.is_root:
        for code, text in enumerate(REASONS[1:OUTLIER], 1):
            rows = np.flatnonzero(reason == code)
            if len(rows):
                log.warning(
                    "%d of %d particles are set aside because %s: rows %s%s",
                    len(rows),
                    len(reason),
                    text,
                    ", ".join(str(r + 1) for r in rows[:10]),
                    " ..." if len(rows) > 10 else "",
                )
    return particles


def by_classes(resolved: defaults.Resolved, inputs: Inputs, typed: Options) -> tuple[defaults.Resolved, ClassMethod]:
    """On rank 0. The choices and components of scores by comparators and class averages, which some option asks for."""
    asked = "--preset" if typed.preset else ", ".join(flag_of(name) for name in typed.by_classes)
    ctf = inputs.particles.table.ctf is not None
    options, told = components.resolve(resolved.options, inputs.particles.grid, ctf)
    why = (
        f"particles are scored by comparators and averaged in classes, as e2refinemulti does ({asked}); the split "
        "is not tested"
    )
    if ctf and inputs.particles.table.ctf.premultiplied is not None:
        told = (
            *told,
            "images multiplied by their CTF are taken as images with flipped phases: the likelihood does better with "
            "them",
        )
    told = (
        *told,
        *typed.useless,
        *(f"{flag_of(name)} does nothing: it steers the likelihood" for name in typed.not_by_classes),
    )
    return replace(resolved, options=options, reasons=(*resolved.reasons, why, *told)), components.method(
        options, inputs.particles.grid, ctf
    )


def read_twins(options: Options, particles: ParticleInput) -> ParticleInput:
    """On rank 0. The filtered twins of --usefilt; InputError when they do not go with the particles."""
    twins = read_particles(
        options.usefilt,
        options.apix,
        ctf=not options.no_ctf and Path(options.usefilt).suffix.lower() != STAR,
        ctf_needed=False,
    )
    if len(twins.table) != len(particles.table) or twins.grid.nx != particles.grid.nx:
        raise InputError(
            f"--usefilt {options.usefilt}: {len(twins.table)} images of {twins.grid.nx} px, --input has "
            f"{len(particles.table)} of "
            f"{particles.grid.nx} px: they must be the same particles"
        )
    if twins.table.ctf is None:  # they are filtered, so their contrast transfer is that of the particles
        own = particles.table
        return twins.with_table(replace(twins.table, ctf=own.ctf, eman_ctf=own.eman_ctf, eman_index=own.eman_index))
    return twins


def with_signs(inputs: Inputs, options: Options) -> Inputs:
    """On rank 0. The inputs with what --invert names turned: particles when they are read, maps at once."""
    rows, maps = turned(options.invert, inputs.particles.table, len(inputs.maps))
    table = replace(inputs.particles.table, inverted=rows if rows.any() else None)
    return replace(
        inputs, particles=inputs.particles.with_table(table), maps=[-v if t else v for v, t in zip(inputs.maps, maps)]
    )


@dataclass(frozen=True)
class Session:
    """A refinement ready to loop."""

    context: Context
    state: State
    inputs: Inputs | None
    seeds: Seeds | None
    resolved: defaults.Resolved
    notes: tuple[str, ...]  # rank 0: every automatic choice, in words


def open_session(options: Options, team: Team, asked: Options | None = None) -> Session:
    """Collective. Reads, checks, decides and says so; raises InputError on all ranks with every complaint. `asked`:
    what was typed, if not options.
    """
    inputs = twins = method = None
    check_threads(team, options.threads)
    with team.together("reading the input"):
        if team.is_root:
            inputs = read_inputs(options, fresh=asked is None)
            resolved = defaults.resolve(options, inputs.particles.grid, len(inputs.maps))
            if options.by_classes:
                resolved, method = by_classes(resolved, inputs, asked or options)
            twins = read_twins(resolved.options, inputs.particles) if options.usefilt else None
    grid, count, resolved, method = team.bcast(
        (inputs.particles.grid, len(inputs.particles.table), resolved, method) if team.is_root else None
    )
    options = resolved.options
    if team.is_root:
        log.info("%d particles of %d px, %.3f Å/px; %d maps", count, grid.nx, grid.apix, len(resolved.symmetries))
    seeds = None
    with team.together("preparing the starting maps"):
        if team.is_root:
            inputs = with_signs(inputs, options)
            if twins is not None:
                twins = twins.with_table(replace(twins.table, inverted=inputs.particles.table.inverted))
            seeds = prepare(
                inputs.maps,
                inputs.apix,
                inputs.names,
                grid,
                copies=options.nmodels if options.nmodels and len(inputs.maps) == 1 else 1,
                targetres=options.targetres,
                radius=options.radius,
                masks=inputs.masks,
                seed=options.seed,
                method=options.seeds_from,
                coarse=not options.by_classes,
                symmetries=resolved.symmetries,
                align=options.align_sym,
            )
    radius, resolution = team.bcast((seeds.radius, seeds.resolution) if team.is_root else None)
    partition, extent = Partition.even(count, team.size, quantum=CHUNK), radius / grid.apix + options.maxshift
    particles = own_particles(team, inputs.particles if inputs else None, partition, grid.nx, extent, options)
    settle(team, particles, partition, options.seed)
    context = make_context(options, team, grid, resolved, partition, particles, radius, resolution, seeds)
    if method is not None:
        context.method, context.flipped = method, FlippedParticles(particles, grid.apix)
        if options.usefilt:
            filtered = own_particles(team, twins, partition, grid.nx, extent, options)
            check_twins(context, filtered, options.usefilt)
            context.twins = FlippedParticles(filtered, grid.apix)
    notes = told(inputs, resolved, seeds, context) if team.is_root else ()
    groups = len(particles.table.group_names)
    blank = Noise(np.ones((groups, grid.nx // 2 + 1)), np.ones(groups))
    state = State(
        0,
        blank,
        (context.first_rings or context.target_rings,) * context.models,
        volumes=seeds.volumes if team.is_root else None,
    )
    return Session(context, state, inputs, seeds, resolved, notes)


def told(inputs: Inputs, resolved: defaults.Resolved, seeds: Seeds, context: Context) -> tuple[str, ...]:
    """On rank 0. Every automatic choice and what looks wrong, in words, which are said."""
    grid, options = context.grid, resolved.options
    fields = field_warnings(grid, inputs.maps, inputs.apix, inputs.names)
    lens = uncorrected(inputs.particles.aberrations, options.targetres, seeds.radius)
    notes = (*options.idle, *resolved.reasons, *seeds.notes, *fields, *lens, describe(context))
    for note in notes:
        log.log(logging.WARNING if note.startswith("warning:") else logging.INFO, "%s", note)
    return notes


def make_context(
    options: Options,
    team: Team,
    grid: Grid,
    resolved: defaults.Resolved,
    partition: Partition,
    particles: OwnParticles,
    radius: float,
    resolution: float,
    seeds: Seeds | None,
) -> Context:
    """The context of a run; `radius` and the `resolution` it starts with in Å."""
    plan = SearchPlan(grid.nx, radius / grid.apix, options.maxshift, options.delta)
    target = int(min(round(grid.ring(options.targetres)), grid.nx // 2 - 1))
    least = int(min(target, max(defaults.LEAST_RINGS, round(grid.ring(LEAST_RESOLUTION)))))
    first = int(np.clip(round(grid.ring(resolution)), min(defaults.LEAST_RINGS, target), target))
    coarse_first = first < target and not options.by_classes
    return Context(
        team=team,
        options=options,
        grid=grid,
        symmetries=resolved.symmetries,
        partition=partition,
        particles=particles,
        plan=plan,
        clock=Clock(team),
        target_rings=target,
        least_rings=least,
        first_rings=first if coarse_first else 0,
        mass=resolved.mass,
        masks=seeds.masks if seeds is not None else None,
        progress=logs.progress,
    )


def describe(ctx: Context) -> str:
    """The first iteration's search, in words."""
    if ctx.method is not None:
        search = ctx.method.search
        first = f"all projections by correlation first, the best {search.kept} by " if search.first else ""
        return f"search: {first}{search.matching.align.name} and {search.matching.cmp.name}"
    if ctx.options.fixed_poses:
        return "poses: angles and shifts of the particle file; only the map is chosen"
    levels = ctx.plan.levels(ctx.first_rings or ctx.target_rings)
    return (
        f"search: directions every {levels.coarse_delta:.2f}° then {levels.fine_delta:.2f}°, rings "
        f"1-{levels.coarse_grid.n_rings} then "
        f"1-{levels.fine_grid.n_rings} ({ctx.grid.resolution(levels.fine_grid.n_rings):.1f} Å), {levels.fine_angles} "
        "in-plane angles, "
        f"shifts to {ctx.plan.maxshift:g} px every {levels.coarse_step:g} then {levels.fine_step:g} px, the best "
        "poses again at "
        f"{levels.refined_angles} angles and {levels.refined_step:g} px: steps follow from the particle radius and "
        "the resolution in use"
    )
