"""Step before the first: starting maps on the particles' grid, masked and low-passed; what is chosen from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.maths.fourier.filters import lowpass_cosine, resample
from mpirefine.maths.fourier.fsc import randomise_phases
from mpirefine.maths.image.masks import estimate_radius, soft_sphere
from mpirefine.maths.likelihood.initial_maps import fragment_seeds, noise_seeds
from mpirefine.steps.shared.symmetry import aligned

COARSE_PARTS = (
    6  # seeds made from one map separate on features of this part of the particle's diameter: finer ones fit noise
)
RANDOM_FROM = 3.0  # phase-randomised seeds agree up to this many times the resolution they start with
FRAGMENT_SIGMA = 2.0  # voxels this far above the mean are parted into fragments
NOISE_STRENGTH = 0.5  # seeds made from one map differ from it by this share of its standard deviation


@dataclass(frozen=True)
class Seeds:
    """Starting maps (m, z, y, x) float32, their solvent masks (1 or m, z, y, x), the particle radius in Å, and what was
    done, in words.
    """

    volumes: np.ndarray
    masks: np.ndarray
    radius: float
    resolution: float  # Å; what the seeds hold, and what matching starts with
    notes: tuple[str, ...]


def on_grid(volume: np.ndarray, apix: float, grid: Grid, name: str, note: Callable[[str], None]) -> np.ndarray:
    """A map on the particles' grid: resampled when its box or its pixel differ (a header without pixel size is taken to
    agree).
    """
    own = apix if apix > 0 and abs(apix - 1) > 1e-3 else grid.length / len(volume)
    if len(volume) == grid.nx and abs(own / grid.apix - 1) < 1e-3:
        return volume
    note(f"{name}: resampled from {len(volume)} voxels of {own:.3f} Å to {grid.nx} of {grid.apix:.3f} Å")
    return resample(volume, Grid(len(volume), own), grid)


def prepare(
    volumes: list[np.ndarray],
    apix: list[float],
    names: list[str],
    grid: Grid,
    *,
    copies: int,
    targetres: float,
    radius: float | None,
    masks: list[np.ndarray],
    seed: int,
    method: str = "noise",
    coarse: bool = True,
    symmetries: tuple[str, ...] = (),
    align: bool = False,
) -> Seeds:
    """On rank 0. `copies` > 1 makes that many seeds from one map by `method`; `masks`: none, one for all maps, or one
    each.

    `coarse`: seeds of one map hold coarse features only, which matching starts with. `align` turns maps whose axes are
    not where those of their
    symmetry are (see `symmetric.aligned`); one map that seeds are made of is looked at by its first symmetry.
    """
    notes: list[str] = []
    maps = [on_grid(v, a, grid, n, notes.append) for v, a, n in zip(volumes, apix, names)]
    if radius is None:
        radius = max(estimate_radius(v, grid) for v in maps)
        notes.append(f"particle radius {radius:.0f} Å, from the starting maps")
    maps = aligned(maps, names, symmetries, grid, radius, targetres, notes.append, align) if symmetries else maps
    resolution = max(targetres, 2 * radius / COARSE_PARTS) if copies > 1 and coarse else targetres
    solvent = np.stack(masks or [soft_sphere(grid.nx, radius / grid.apix + 2, 4.0, 3)]).astype(np.float32)
    if copies > 1:
        maps, how = several(maps[0], grid, copies, method, resolution, np.random.default_rng([seed, 0]))
        notes.append(f"{copies} seeds made from {names[0]} {how}, seed {seed}")
    maps = [
        (lowpass_cosine(v, grid, resolution) * solvent[m if len(solvent) > 1 else 0]).astype(np.float32)
        for m, v in enumerate(maps)
    ]
    notes.append(
        f"starting maps low-passed to {resolution:.1f} Å and masked"
        + (
            f"; matching stays there until few particles move, then uses {targetres:.1f} Å"
            if resolution > targetres
            else ""
        )
    )
    return Seeds(np.stack(maps), solvent, radius, resolution, tuple(notes))


def several(
    volume: np.ndarray, grid: Grid, copies: int, method: str, resolution: float, rng: np.random.Generator
) -> tuple[list[np.ndarray], str]:
    """Seeds from one map, and how, in words. Those of random-subsets are alike: particles are handed out at random in
    the first iteration.
    """
    if method == "random-subsets":
        return [volume] * copies, "alike; the first iteration hands the particles out at random"
    if method == "phase-randomised":
        first = max(2, round(grid.ring(RANDOM_FROM * resolution)))
        return [
            randomise_phases(volume, first, rng) for _ in range(copies)
        ], f"by random phases beyond {grid.resolution(first):.0f} Å"
    if method == "fragments":
        threshold = float(volume.mean() + FRAGMENT_SIGMA * volume.std())
        return fragment_seeds(
            volume, copies, threshold=threshold, rng=rng
        ), f"by leaving out one of {copies + 2} parts (none of the first)"
    made = noise_seeds(volume, grid, copies, rng=rng, resolution=resolution, strength=NOISE_STRENGTH)
    return list(made), f"by noise of {NOISE_STRENGTH:g} x its standard deviation"
