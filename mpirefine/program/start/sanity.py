"""Checks that particles, maps and options fit together, before any particle image is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.lens import NO_DISTORTION, Lens
from mpirefine.maths.image.aberrations import (
    COSINE,
    SINE,
    magnification_phase,
    stretch,
    worst_even_phase,
    worst_odd_phase,
)
from mpirefine.maths.image.masks import estimate_radius
from mpirefine.maths.image.resampling import Resampler
from mpirefine.program.options import Options
from mpirefine.storage.particle_file import ParticleInput

PIXELS = (0.2, 20.0)  # plausible pixel sizes of particles, Å
FIELDS = 4.0  # largest factor between the edge of a map and that of the particle images
LARGER = 1.5  # factor above which the user is warned
LEAST_RADIUS = 3.0  # smallest particle radius, pixels
TREATMENTS = (  # of lens errors
    "lens errors that are corrected",
    "lens errors too small to be corrected in matching",
    "warning: lens errors that this way to refine does not correct",
)


def find_field_problems(
    options: Options, particles: ParticleInput, sizes: Sequence[int], apix: Sequence[float], names: Sequence[str]
) -> list[str]:
    """Problems of the particles' pixel size, of the maps' edges (`sizes` voxels of `apix` Å), and of --radius."""
    grid, problems = particles.grid, []
    pixels = f"{grid.nx} px of {grid.apix:g} Å, from {particles.pixel_source}"
    if not PIXELS[0] <= grid.apix <= PIXELS[1]:
        problems.append(
            f"{particles.path}: {grid.apix:g} Å per pixel, from {particles.pixel_source}: must be {PIXELS[0]:g} to "
            f"{PIXELS[1]:g} Å: correct the file, or give --apix"
        )
    for size, pixel, name in zip(sizes, apix, names):
        field = grid.of_map(size, pixel).length
        if not grid.length / FIELDS <= field <= grid.length * FIELDS:
            problems.append(
                f"{name}: its edge is {field:.4g} Å ({size} voxels of {pixel:.4g} Å), that of the particle images "
                f"{grid.length:.4g} Å ({pixels}): correct the pixel size of one of them, or give --apix"
            )
    return problems + find_radius_problems(options.radius, grid)


def find_field_warnings(
    grid: Grid, maps: Sequence[np.ndarray], apix: Sequence[float], names: Sequence[str]
) -> list[str]:
    """Warnings of pixel sizes that look wrong by a factor of two or three, as after binning."""
    warnings = []
    for volume, pixel, name in zip(maps, apix, names):
        own = grid.of_map(len(volume), pixel)
        extent = estimate_radius(volume, own) if own.length > LARGER * grid.length else 0.0
        if extent > grid.length / 2:
            warnings.append(
                f"warning: the density of {name} reaches {extent:.0f} Å from its centre, the particle images only "
                f"{grid.length / 2:.0f} Å: check the pixel sizes of both (--apix)"
            )
        elif own.length < grid.length / LARGER:
            warnings.append(
                f"warning: the edge of {name} is {own.length:.0f} Å, that of the particle images {grid.length:.0f} Å: "
                "check the pixel sizes of both (--apix)"
            )
    return warnings


def find_radius_problems(radius: float | None, grid: Grid) -> list[str]:
    """Problems of --radius (Å) in the box of the particle images."""
    if radius is None or LEAST_RADIUS * grid.apix <= radius <= grid.length / 2:
        return []
    large = radius > grid.length / 2
    limit = (
        f"more than half of the box, {grid.length / 2:.4g} Å"
        if large
        else f"less than {LEAST_RADIUS:g} px of {grid.apix:.4g} Å"
    )
    return [f"--radius {radius:g} Å: {limit}: give the particle's radius in Å"]


class LensError(NamedTuple):
    """An error of a lens, its largest phase in degrees, and what is done about it, as index of TREATMENTS."""

    kind: str
    lens: str
    phase: float
    treatment: int


def find_lens_errors(lens: Lens, grid: Grid, resolution: float, radius: float, *, even: bool) -> list[LensError]:
    """The errors of one lens; arguments as of `describe_lenses`."""
    found, used = [], Resampler(lens, grid)
    if lens.odd:
        coma = all(k in (0, 1, SINE, COSINE) for k, coefficient in enumerate(lens.odd) if coefficient)
        kind, phase = "beam tilt" if coma else "odd aberrations", worst_odd_phase(lens, resolution)
        found.append(LensError(kind, lens.name, phase, 0 if used.aberrant else 1))
    if lens.even:
        found.append(LensError("even aberrations", lens.name, worst_even_phase(lens, resolution), 0 if even else 2))
    if lens.magnification != NO_DISTORTION:
        kind, phase = f"magnification by {100 * stretch(lens):.2g} %", magnification_phase(lens, radius, resolution)
        found.append(LensError(kind, lens.name, phase, 0 if used.distorted else 1))
    return found


def describe_lenses(
    lenses: Sequence[Lens], grid: Grid, resolution: float, radius: float, *, even: bool
) -> tuple[str, ...]:
    """Name the lens errors of the particle file, and say which are corrected on the working `grid`.

    Phases are the largest up to `resolution`, for magnification at the edge of a particle of `radius` (both Å). Even
    aberrations are corrected where the CTF holds them (`even`). Returns a line for each of TREATMENTS that occurs.
    """
    errors = [error for lens in lenses for error in find_lens_errors(lens, grid, resolution, radius, even=even)]
    lines = []
    for treatment, text in enumerate(TREATMENTS):
        kinds: dict[str, list[LensError]] = {}
        for error in errors:
            if error.treatment == treatment:
                kinds.setdefault(error.kind.partition(" by ")[0], []).append(error)
        if kinds:
            worst = "; ".join(describe_worst(of_kind) for of_kind in kinds.values())
            lines.append(f"{text}: {worst}, phases at {resolution:.1f} Å")
    return tuple(lines)


def describe_worst(errors: Sequence[LensError]) -> str:
    """The largest error of one kind, and how many other lenses have it."""
    worst = max(errors, key=lambda error: error.phase)
    others = f" and {len(errors) - 1} more" * (len(errors) > 1)
    return f"{worst.kind} of {worst.lens}{others} ({'up to ' * (len(errors) > 1)}{worst.phase:.2g}°)"
