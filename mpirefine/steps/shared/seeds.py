"""Before the first iteration: starting maps on the particles' grid, masked and low-passed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.maths.fourier.filters import lowpass_cosine, resample
from mpirefine.maths.fourier.fsc import randomise_phases
from mpirefine.maths.image.initial_maps import fragment_seeds, noise_seeds
from mpirefine.maths.image.masks import estimate_radius, soft_sphere
from mpirefine.steps.shared.symmetry import SymmetryCheck, align_to_symmetry

# seeds made from one map start at a resolution of the particle's diameter divided by this: finer features fit noise
COARSE_PARTS = 6
RANDOM_FROM = 3.0  # phase-randomised seeds agree up to this many times the resolution they start with
FRAGMENT_SIGMA = 2.0  # standard deviations above the mean from which voxels are divided into fragments
NOISE_STRENGTH = 0.5  # seeds made from one map differ from it by this share of its standard deviation


@dataclass(frozen=True)
class Seeds:
    """Starting maps (m, z, y, x) and solvent masks (1 or m, z, y, x), float32; particle radius in Å.

    `notes` say in words what was done.
    """

    volumes: np.ndarray
    masks: np.ndarray
    radius: float
    resolution: float  # Å, to which the seeds are low-passed, and which matching starts with
    notes: tuple[str, ...]


def resample_to_grid(volume: np.ndarray, apix: float, grid: Grid, name: str, note: Callable[[str], None]) -> np.ndarray:
    """A map (z, y, x) on the particles' grid, resampled where its box or voxel size differs."""
    own = grid.of_map(len(volume), apix)
    if own.agrees(grid):
        return volume
    note(f"{name}: resampled from {own.nx} voxels of {own.apix:.3f} Å to {grid.nx} of {grid.apix:.3f} Å")
    return resample(volume, own, grid)


@dataclass(frozen=True)
class SeedPlan:
    """How starting maps are prepared; lengths in Å.

    With `copies` > 1 that many seeds are made from one map by `method`; with `coarse` they hold coarse features only,
    which matching starts with. `align` turns maps whose axes are not those of their symmetry; a map that several seeds
    are made from is judged by the first symmetry. With `radius` None the radius is estimated from the maps.
    """

    copies: int
    method: str
    targetres: float
    radius: float | None
    seed: int
    symmetries: tuple[str, ...]
    coarse: bool = True
    align: bool = False


def prepare_seeds(
    volumes: Sequence[np.ndarray],
    apix: Sequence[float],
    names: Sequence[str],
    masks: Sequence[np.ndarray],
    grid: Grid,
    plan: SeedPlan,
) -> Seeds:
    """On rank 0. Low-pass and mask starting maps on the particles' grid.

    `volumes` are maps (z, y, x) of any box with `apix` Å per voxel. `masks` (z, y, x) are on the particles' grid: none,
    one for all maps, or one each.
    """
    notes: list[str] = []
    maps = [resample_to_grid(v, a, grid, n, notes.append) for v, a, n in zip(volumes, apix, names)]
    radius = plan.radius
    if radius is None:
        radius = max(estimate_radius(v, grid) for v in maps)
        notes.append(f"particle radius {radius:.0f} Å, from the starting maps")
    check = SymmetryCheck(grid, radius, plan.targetres, plan.align, notes.append)
    maps = align_to_symmetry(maps, names, plan.symmetries, check)
    resolution = plan.targetres
    if plan.copies > 1 and plan.coarse:
        resolution = max(resolution, 2 * radius / COARSE_PARTS)
    solvent = np.stack(list(masks) or [soft_sphere(grid.nx, radius / grid.apix + 2, 4.0, 3)]).astype(np.float32)
    if plan.copies > 1:
        maps, how = seeds_of_one_map(maps[0], grid, plan, resolution)
        notes.append(f"{plan.copies} seeds made from {names[0]} {how}, seed {plan.seed}")
    maps = [
        (lowpass_cosine(v, grid, resolution) * solvent[m if len(solvent) > 1 else 0]).astype(np.float32)
        for m, v in enumerate(maps)
    ]
    later = f"; matching uses this resolution until few particles move, then {plan.targetres:.1f} Å"
    notes.append(
        f"starting maps low-passed to {resolution:.1f} Å and masked" + (later if resolution > plan.targetres else "")
    )
    return Seeds(np.stack(maps), solvent, radius, resolution, tuple(notes))


def seeds_of_one_map(volume: np.ndarray, grid: Grid, plan: SeedPlan, resolution: float) -> tuple[list[np.ndarray], str]:
    """Seeds (z, y, x) from one map by the plan's method, and in words how they were made.

    `resolution` in Å is what matching starts with. Seeds for random-subsets are equal: in the first iteration a map is
    drawn for every particle.
    """
    rng = np.random.default_rng([plan.seed, 0])
    if plan.method == "random-subsets":
        return [volume] * plan.copies, "equal; the first iteration draws a map at random for every particle"
    if plan.method == "phase-randomised":
        first = max(2, round(grid.ring(RANDOM_FROM * resolution)))
        seeds = [randomise_phases(volume, first, rng) for _ in range(plan.copies)]
        return seeds, f"by random phases beyond {grid.resolution(first):.0f} Å"
    if plan.method == "fragments":
        threshold = float(volume.mean() + FRAGMENT_SIGMA * volume.std())
        seeds = fragment_seeds(volume, plan.copies, threshold=threshold, rng=rng)
        return seeds, f"by leaving out one of {plan.copies + 2} parts (none of the first)"
    seeds = noise_seeds(volume, grid, plan.copies, rng=rng, resolution=resolution, strength=NOISE_STRENGTH)
    return list(seeds), f"by noise of {NOISE_STRENGTH:g} x its standard deviation"
