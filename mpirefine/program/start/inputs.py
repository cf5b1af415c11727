"""What rank 0 reads before a refinement: particles without pixels, starting maps, masks, filtered twins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpirefine.errors import InputError, Problems
from mpirefine.program.options import Options
from mpirefine.program.results import run_folder
from mpirefine.program.start import defaults
from mpirefine.program.start.polarity import turned
from mpirefine.program.start.sanity import field_complaints
from mpirefine.storage import particle_file
from mpirefine.storage.images import read_volumes
from mpirefine.storage.particle_file import STAR, ParticleInput
from mpirefine.storage.run import fingerprint


@dataclass(frozen=True)
class Inputs:
    """What rank 0 read; maps and masks (z, y, x), `apix` of the maps in Å."""

    particles: ParticleInput
    maps: list[np.ndarray]
    apix: list[float]
    names: list[str]
    masks: list[np.ndarray]
    twins: ParticleInput | None = None  # of --usefilt


def read_inputs(options: Options, *, fresh: bool) -> Inputs:
    """On rank 0. Everything but pixels; a `fresh` run needs a folder of its own.

    Every complaint is collected and raised as one InputError.
    """
    problems = Problems()
    particles = None
    with problems.collect():
        particles = particle_file.read_particles(
            options.input, options.apix, ctf=not options.no_ctf, poses=options.fixed_poses
        )
    maps, apix, names = read_maps(options.models, problems)
    masks, _, mask_names = read_maps(options.mask or "", problems)
    if particles is not None:
        problems.add(*field_complaints(options, particles, [len(volume) for volume in maps], apix, names))
        nx = particles.grid.nx
        for name, mask in zip(mask_names, masks):
            if mask.shape[0] != nx:
                problems.add(
                    f"--mask {name} has {mask.shape[0]} voxels, the particles {nx}: give it on the particles' grid"
                )
    with problems.collect():
        if fresh:
            run_folder.free(options.path)
    with problems.collect():
        if particles is not None:
            turned(options.invert, particles.table, len(maps))
    if problems and len(maps) >= len(options.models.split(",")):
        problems.add(*defaults.per_map(options, len(maps)).problems)
    problems.raise_if_any()
    assert particles is not None
    count = defaults.count_models(options, len(maps))
    if len(masks) not in (0, 1, count):
        raise InputError(f"--mask names {len(masks)} maps for {count} models: give one for all, or one for each")
    return Inputs(particles, maps, apix, names, masks)


def read_maps(files: str, problems: Problems) -> tuple[list[np.ndarray], list[float], list[str]]:
    """On rank 0. Maps (z, y, x), their Å per voxel and their names, of comma separated files, each with one or more.

    Complaints are added to `problems`.
    """
    maps: list[np.ndarray] = []
    apix: list[float] = []
    names: list[str] = []
    for name in (file.strip() for file in files.split(",") if file):
        with problems.collect():
            found, pixel = read_volumes(name)
            for volume in found:
                if not np.isfinite(volume).all():
                    count = int((~np.isfinite(volume)).sum())
                    problems.add(f"{name}: {count} voxels are not finite: repair the map first")
            maps += found
            apix += [pixel] * len(found)
            many = len(found) > 1
            names += [f"{name} (map {number})" if many else name for number in range(1, len(found) + 1)]
    return maps, apix, names


def read_twins(options: Options, particles: ParticleInput) -> ParticleInput | None:
    """On rank 0. The filtered twins of --usefilt, if any; InputError when they do not go with the particles."""
    if not options.usefilt:
        return None
    ctf = not options.no_ctf and Path(options.usefilt).suffix.lower() != STAR
    twins = particle_file.read_particles(options.usefilt, options.apix, ctf=ctf, ctf_needed=False)
    if len(twins.table) != len(particles.table) or twins.grid.nx != particles.grid.nx:
        raise InputError(
            f"--usefilt {options.usefilt}: {len(twins.table)} images of {twins.grid.nx} px, --input has "
            f"{len(particles.table)} of {particles.grid.nx} px: they must be the same particles"
        )
    if twins.table.ctf is None:  # they are filtered, so their contrast transfer is that of the particles
        own = particles.table
        return twins.with_table(replace(twins.table, ctf=own.ctf, eman_ctf=own.eman_ctf, eman_index=own.eman_index))
    return twins


def with_signs(inputs: Inputs, options: Options) -> Inputs:
    """On rank 0. The inputs with what --invert names turned: particles when they are read, maps at once.

    InputError when --invert names what is not there.
    """
    rows, maps = turned(options.invert, inputs.particles.table, len(inputs.maps))
    inverted = rows if rows.any() else None
    particles, twins = (
        None if source is None else source.with_table(replace(source.table, inverted=inverted))
        for source in (inputs.particles, inputs.twins)
    )
    assert particles is not None
    turned_maps = [-v if turn else v for v, turn in zip(inputs.maps, maps)]
    return replace(inputs, particles=particles, twins=twins, maps=turned_maps)


def input_files(options: Options, inputs: Inputs) -> list[str]:
    """On rank 0. Every file that the run reads: particles and their stacks, filtered twins, maps and masks."""
    sources = [source for source in (inputs.particles, inputs.twins) if source is not None]
    stacks = [file for source in sources for file in (str(source.path), *source.table.files)]
    lists = (options.models, options.mask or "", options.usefilt or "")
    named = [name.strip() for names in lists for name in names.split(",")]
    return fingerprint.with_listed_files([options.input, *stacks, *named])
