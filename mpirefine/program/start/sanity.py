"""Whether particles, maps and options can belong together: what is looked at before any pixel is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpirefine.data.aberrations import Aberrations
from mpirefine.data.grid import Grid
from mpirefine.maths.image.aberrations import magnification_phase, stretch, tilt_phase, zernike_phase
from mpirefine.maths.image.masks import estimate_radius
from mpirefine.program.options import Options
from mpirefine.storage.particle_file import ParticleInput

PIXELS = (0.2, 20.0)  # Å, of particles
FIELDS = 4.0  # the field of a map and that of the particles differ by no more than this factor
LARGER = 1.5  # ... and is worth a word from this factor on
LEAST_RADIUS = 3.0  # pixels
NO_MATTER = 1.0  # degrees of phase


def field_complaints(
    options: Options, particles: ParticleInput, sizes: Sequence[int], apix: Sequence[float], names: Sequence[str]
) -> list[str]:
    """What is wrong with the pixel size of the particles, with maps of `sizes` voxels and `apix` Å beside it, and with
    --radius.
    """
    grid, problems = particles.grid, []
    told = f"{grid.nx} px of {grid.apix:g} Å, from {particles.pixel_source}"
    if not PIXELS[0] <= grid.apix <= PIXELS[1]:
        problems.append(
            f"{particles.path}: {grid.apix:g} Å per pixel, from {particles.pixel_source}: particles have "
            f"{PIXELS[0]:g} to "
            f"{PIXELS[1]:g} Å: correct it, or decide with --apix"
        )
    for size, pixel, name in zip(sizes, apix, names):
        field = field_of(size, pixel, grid)
        if not grid.length / FIELDS <= field <= grid.length * FIELDS:
            problems.append(
                f"{name}: a field of {field:.4g} Å ({size} voxels of {pixel:.4g} Å), but the particles' is "
                f"{grid.length:.4g} Å ({told}): "
                "correct the pixel size of one of them, or decide with --apix"
            )
    return problems + radius_complaints(options.radius, grid)


def field_of(size: int, pixel: float, grid: Grid) -> float:
    """Edge in Å of a map; a header without pixel size is taken to agree with the particles."""
    return size * pixel if pixel > 0 and abs(pixel - 1) > 1e-3 else grid.length


def field_warnings(grid: Grid, maps: Sequence[np.ndarray], apix: Sequence[float], names: Sequence[str]) -> list[str]:
    """What looks like a pixel size that is wrong by a factor of two or three, as after binning."""
    found = []
    for volume, pixel, name in zip(maps, apix, names):
        field = field_of(len(volume), pixel, grid)
        own = estimate_radius(volume, Grid(len(volume), field / len(volume))) if field > LARGER * grid.length else 0.0
        if own > grid.length / 2:
            found.append(
                f"warning: the density of {name} reaches {own:.0f} Å from its centre, the particles' field "
                f"{grid.length / 2:.0f} Å: is the "
                "pixel size of both right (--apix)?"
            )
        elif field < grid.length / LARGER:
            found.append(
                f"warning: the field of {name} is {field:.0f} Å, that of the particles {grid.length:.0f} Å: is the "
                "pixel size of both right "
                "(--apix)?"
            )
    return found


def radius_complaints(radius: float | None, grid: Grid) -> list[str]:
    """What is wrong with --radius in this box."""
    if radius is None or LEAST_RADIUS * grid.apix <= radius <= grid.length / 2:
        return []
    large = radius > grid.length / 2
    limit = (
        f"more than half of the box, {grid.length / 2:.4g} Å"
        if large
        else f"less than {LEAST_RADIUS:g} px of {grid.apix:.4g} Å"
    )
    return [f"--radius {radius:g} Å: {limit}: give the particle's radius in Å"]


def uncorrected(found: Aberrations | None, resolution: float, radius: float) -> tuple[str, ...]:
    """The lens errors of the particle file and the phase errors they leave at `resolution`, for a particle of `radius`
    (both Å), in words.
    """
    if found is None:
        return ()
    tilts, stretches = np.hypot(*found.tilt.T), stretch(found.magnification)
    kinds = [
        _worst(
            found.names,
            tilt_phase(found.tilt, found.cs, found.voltage, resolution),
            [f"beam tilt of {x:.2g} mrad" if x else "" for x in tilts],
        )
    ]
    for name, cases, odd in (("odd", found.odd, True), ("even", found.even, False)):
        phases = np.array([zernike_phase(one, resolution, odd=odd) for one in cases])
        kinds.append(
            _worst(
                found.names,
                phases,
                [f"{name} aberrations (_rln{name.title()}Zernike)" if any(one) else "" for one in cases],
            )
        )
    kinds.append(
        _worst(
            found.names,
            magnification_phase(found.magnification, radius, resolution),
            [f"anisotropic magnification of {100 * x:.2g} %" if x else "" for x in stretches],
        )
    )
    return (f"not corrected at {resolution:.1f} Å: " + "; ".join(filter(None, kinds)),) if any(kinds) else ()


def _worst(names: Sequence[str], phases: np.ndarray, words: Sequence[str]) -> str:
    """The case with the largest phase error, in words; nothing when no case has `words` for it."""
    present = [k for k in range(len(names)) if words[k]]
    if not present:
        return ""
    worst = max(present, key=lambda k: np.nan_to_num(phases[k], nan=np.inf))
    told = (
        f"phases are wrong by up to {phases[worst]:.2g}°"
        + (", which does not matter" if phases[worst] < NO_MATTER else "")
        if np.isfinite(phases[worst])
        else "of unknown effect without _rlnVoltage and _rlnSphericalAberration"
    )
    return f"{words[worst]} ({names[worst]}), {told}"
