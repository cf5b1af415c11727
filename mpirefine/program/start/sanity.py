"""Checks that particles, maps and options fit together, before any particle image is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpirefine.data.aberrations import Aberrations
from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.maths.image.aberrations import (
    magnification_phase,
    stretch,
    with_tilt,
    worst_even_phase,
    worst_odd_phase,
)
from mpirefine.maths.image.masks import estimate_radius
from mpirefine.program.options import Options
from mpirefine.storage.particle_file import ParticleInput

PIXELS = (0.2, 20.0)  # plausible pixel sizes of particles, Å
FIELDS = 4.0  # largest factor between the edge of a map and that of the particle images
LARGER = 1.5  # factor above which the user is warned
LEAST_RADIUS = 3.0  # smallest particle radius, pixels
NO_ERRORS = Lens("", Grid(2, 1.0))
NO_MATTER = 1.0  # phase errors below it are called harmless, degrees


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


def describe_uncorrected(lens: Aberrations | None, resolution: float, radius: float) -> tuple[str, ...]:
    """Name the aberrations of the particle file that are not corrected, and the largest phase error of each kind.

    Phase errors are those at `resolution`, for magnification at the edge of a particle of `radius` (both Å). Returns
    no line, or one.
    """
    if lens is None:
        return ()
    tilts = np.hypot(*lens.tilt.T)
    scopes = zip(lens.tilt.tolist(), lens.cs.tolist(), lens.voltage.tolist())
    coma = [Lens("", Grid(2, 1.0), odd=with_tilt((), *scope)) if any(scope[0]) else NO_ERRORS for scope in scopes]
    cases = [
        Lens(name, Grid(2, 1.0), matrix, odd, even)
        for name, matrix, odd, even in zip(lens.names, lens.magnification.tolist(), lens.odd, lens.even)
    ]
    stretches = [stretch(case) for case in cases]
    kinds = [
        describe_worst(
            lens.names,
            np.array([worst_odd_phase(case, resolution) for case in coma]),
            [f"beam tilt of {x:.2g} mrad" if x else "" for x in tilts],
        ),
        describe_worst(
            lens.names,
            np.array([worst_odd_phase(case, resolution) for case in cases]),
            ["odd aberrations (_rlnOddZernike)" if any(case.odd) else "" for case in cases],
        ),
        describe_worst(
            lens.names,
            np.array([worst_even_phase(case, resolution) for case in cases]),
            ["even aberrations (_rlnEvenZernike)" if any(case.even) else "" for case in cases],
        ),
        describe_worst(
            lens.names,
            np.array([magnification_phase(case, radius, resolution) for case in cases]),
            [f"anisotropic magnification of {100 * x:.2g} %" if x else "" for x in stretches],
        ),
    ]
    return (f"not corrected at {resolution:.1f} Å: " + "; ".join(filter(None, kinds)),) if any(kinds) else ()


def describe_worst(names: Sequence[str], phases: np.ndarray, words: Sequence[str]) -> str:
    """Describe the optics group with the largest phase error; an empty text when `words` has none."""
    groups = [k for k in range(len(names)) if words[k]]
    if not groups:
        return ""
    worst = max(groups, key=lambda k: np.nan_to_num(phases[k], nan=np.inf))
    effect = (
        f"phases are wrong by up to {phases[worst]:.2g}°" + (", which is harmless" if phases[worst] < NO_MATTER else "")
        if np.isfinite(phases[worst])
        else "phase error unknown without _rlnVoltage and _rlnSphericalAberration"
    )
    return f"{words[worst]} ({names[worst]}), {effect}"
