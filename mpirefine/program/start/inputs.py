"""What rank 0 reads before a refinement: the particle table without pixels, starting maps, masks, filtered twins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.errors import InputError, Problems
from mpirefine.maths.fourier.filters import resample
from mpirefine.program.options import Options
from mpirefine.program.results import run_folder
from mpirefine.program.start import defaults
from mpirefine.program.start.polarity import find_inverted
from mpirefine.program.start.sanity import find_field_problems
from mpirefine.storage import particle_file
from mpirefine.storage.images import read_volumes
from mpirefine.storage.particle_file import STAR, ParticleInput, files_of_input
from mpirefine.storage.run import fingerprint


@dataclass(frozen=True)
class Inputs:
    """The input on rank 0: particle table, maps and masks (zyx), and the pixel size `apix` of each map in Å.

    `twins` are the filtered particles of --usefilt.
    """

    particles: ParticleInput
    maps: list[np.ndarray]
    apix: list[float]
    names: list[str]
    masks: list[np.ndarray]
    mask_apix: list[float]
    twins: ParticleInput | None = None

    def on_grid(self, grid: Grid) -> Inputs:
        """With masks, and poses of the particle file, in voxels and pixels of a grid in the particles' field."""
        table = self.particles.table
        if table.shift is not None:
            table = replace(table, shift=table.shift * (grid.nx / self.particles.grid.nx))
        masks = [as_mask(mask, apix, grid) for mask, apix in zip(self.masks, self.mask_apix)]
        return replace(self, particles=self.particles.with_table(table), masks=masks)


def read_inputs(options: Options, *, fresh: bool) -> Inputs:
    """On rank 0. Read the particle table, maps and masks, and check the folder of a `fresh` run.

    All problems are raised together as one InputError.
    """
    problems = Problems()
    particles = None
    with problems.collect():
        particles = particle_file.read_particles(
            options.input, options.apix, ctf=not options.no_ctf, poses=options.fixed_poses
        )
    maps, apix, names = read_maps(options.models, problems)
    masks, mask_apix, _ = read_maps(options.mask or "", problems)
    if particles is not None:
        problems.add(*find_field_problems(options, particles, [len(volume) for volume in maps], apix, names))
    with problems.collect():
        if fresh:
            run_folder.choose_folder(options.path)
    with problems.collect():
        if particles is not None:
            find_inverted(options.invert, particles.table, len(maps))
    if problems and len(maps) >= len(options.models.split(",")):
        problems.add(*defaults.per_map(options, len(maps)).problems)
    problems.raise_if_any()
    assert particles is not None
    count = defaults.count_models(options, len(maps))
    if len(masks) not in (0, 1, count):
        raise InputError(f"--mask: {len(masks)} masks for {count} maps: give one for all, or one for each")
    return Inputs(particles, maps, apix, names, masks, mask_apix)


def read_maps(files: str, problems: Problems) -> tuple[list[np.ndarray], list[float], list[str]]:
    """On rank 0. Maps (zyx), their Å per voxel and their names, from comma separated files of one or more maps.

    Nothing is raised: problems are added to `problems`.
    """
    maps: list[np.ndarray] = []
    apix: list[float] = []
    names: list[str] = []
    for name in (file.strip() for file in files.split(",") if file):
        with problems.collect():
            volumes, pixel = read_volumes(name)
            for volume in volumes:
                if not np.isfinite(volume).all():
                    count = int((~np.isfinite(volume)).sum())
                    problems.add(f"{name}: {count} voxels are NaN or infinite: repair the map first")
            maps += volumes
            apix += [pixel] * len(volumes)
            many = len(volumes) > 1
            names += [f"{name} (map {number})" if many else name for number in range(1, len(volumes) + 1)]
    return maps, apix, names


def as_mask(mask: np.ndarray, apix: float, grid: Grid) -> np.ndarray:
    """A mask (z, y, x) with `apix` Å per voxel on another grid, from 0 to 1."""
    own = grid.of_map(len(mask), apix)
    return mask if own.agrees(grid) else np.clip(resample(mask, own, grid), 0, 1)


def read_twins(options: Options, particles: ParticleInput) -> ParticleInput | None:
    """On rank 0. Read the filtered particles of --usefilt, if given; InputError when they do not fit --input."""
    if not options.usefilt:
        return None
    ctf = not options.no_ctf and Path(options.usefilt).suffix.lower() != STAR
    twins = particle_file.read_particles(options.usefilt, options.apix, ctf=ctf, ctf_required=False)
    if len(twins.table) != len(particles.table) or twins.grid.nx != particles.grid.nx:
        raise InputError(
            f"--usefilt {options.usefilt}: {len(twins.table)} images of {twins.grid.nx} px, --input has "
            f"{len(particles.table)} of {particles.grid.nx} px: they must be the same particles"
        )
    own, theirs = boxes_of_rows(twins), boxes_of_rows(particles)
    other = np.flatnonzero(own != theirs)
    if len(other):
        first = other[0]
        raise InputError(
            f"--usefilt {options.usefilt}: row {first + 1}{f' and {len(other) - 1} more' * (len(other) > 1)}: an image "
            f"of {own[first]} px, --input has {theirs[first]} px there: both must have the same box"
        )
    if twins.table.ctf is None:  # they are filtered copies of the particles, and have their CTF
        table = particles.table
        filtered = replace(twins.table, ctf=table.ctf, eman_ctf=table.eman_ctf, eman_index=table.eman_index)
        return twins.with_table(replace(filtered, lenses=table.lenses, lens=table.lens))
    return twins


def boxes_of_rows(source: ParticleInput) -> np.ndarray:
    """(p,) edge in pixels of each row's image."""
    edges = np.array([lens.grid.nx for lens in source.table.lenses] or [source.grid.nx])
    return edges[source.table.lens_of(slice(None))]


def apply_inversion(inputs: Inputs, options: Options) -> Inputs:
    """On rank 0. The inputs with the contrast inverted that --invert names: maps at once, particles when they are read.

    InputError when --invert names an unknown group or map.
    """
    rows, maps = find_inverted(options.invert, inputs.particles.table, len(inputs.maps))
    inverted = rows if rows.any() else None
    particles, twins = (
        None if source is None else source.with_table(replace(source.table, inverted=turned(source.table, inverted)))
        for source in (inputs.particles, inputs.twins)
    )
    assert particles is not None
    volumes = [-volume if invert else volume for volume, invert in zip(inputs.maps, maps)]
    return replace(inputs, particles=particles, twins=twins, maps=volumes)


def turned(table: ParticleTable, inverted: np.ndarray | None) -> np.ndarray | None:
    """Which images are inverted: those that --invert names, unless the particle file itself inverts them (and the
    reverse).
    """
    if table.inverted is None or inverted is None:
        return inverted if table.inverted is None else table.inverted
    return table.inverted ^ inverted


def input_files(options: Options, inputs: Inputs) -> list[str]:
    """On rank 0. The paths of all files that the run reads: particles, stacks, filtered twins, maps and masks."""
    sources = [source for source in (inputs.particles, inputs.twins) if source is not None]
    stacks = [file for source in sources for file in (str(source.path), *source.table.files)]
    lists = (options.models, options.mask or "", options.usefilt or "")
    named = [name.strip() for names in lists for name in names.split(",")]
    return fingerprint.with_listed_files([*map(str, files_of_input(options.input)), *stacks, *named])
