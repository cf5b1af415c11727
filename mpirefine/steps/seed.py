"""Step before the first: starting maps on the particles' grid and scale, masked and low-passed; what is chosen from them."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.maths.filters import lowpass_cosine, resample
from mpirefine.maths.masks import estimate_radius, soft_sphere
from mpirefine.maths.normalize import by_mass
from mpirefine.maths.seeds import noise_seeds

SCALE_LEVEL = 99.0         # percentile of a map that stands for its density level
SCALE_RATIO = 2.0          # maps whose levels differ by more than this are brought to one level
NOISE_STRENGTH = 0.5       # seeds made from one map differ from it by this share of its standard deviation


@dataclass(frozen=True)
class Seeds:
    """Starting maps (m, z, y, x) float32, their common solvent mask (z, y, x), the particle radius in Å, and what was done, in words."""

    volumes: np.ndarray
    mask: np.ndarray
    radius: float
    notes: tuple[str, ...]


def on_grid(volume: np.ndarray, apix: float, grid: Grid, name: str, note: Callable[[str], None]) -> np.ndarray:
    """A map on the particles' grid: resampled when its box or its pixel differ (a header without pixel size is taken to agree)."""
    own = apix if apix > 0 and abs(apix - 1) > 1e-3 else grid.length / len(volume)
    if len(volume) == grid.nx and abs(own / grid.apix - 1) < 1e-3:
        return volume
    note(f"{name}: resampled from {len(volume)} voxels of {own:.3f} Å to {grid.nx} of {grid.apix:.3f} Å")
    return resample(volume, Grid(len(volume), own), grid)


def common_level(volumes: list[np.ndarray], mass: tuple[float, ...] | None, grid: Grid, note: Callable[[str], None]) -> list[np.ndarray]:
    """Maps on one grey scale: by their masses when given, else by density level when those differ much."""
    if mass:
        note("starting maps scaled by their masses: density above level 1 encloses " + ", ".join(f"{m:g}" for m in mass) + " kDa")
        return [by_mass(v, grid, m) for v, m in zip(volumes, mass)]
    level = np.array([np.percentile(v, SCALE_LEVEL) for v in volumes])
    if (level > 0).all() and level.max() / level.min() > SCALE_RATIO:
        note("starting maps brought to one density level (" + ", ".join(f"{x:.3g}" for x in level) + ")")
        return [v * (level[0] / x) for v, x in zip(volumes, level)]
    return volumes


def prepare(volumes: list[np.ndarray], apix: list[float], names: list[str], grid: Grid, *, copies: int, mass: tuple[float, ...] | None,
            targetres: float, radius: float | None, mask: np.ndarray | None, seed: int) -> Seeds:
    """On rank 0. `copies` > 1 makes that many seeds from one map by seeded noise."""
    notes: list[str] = []
    maps = [on_grid(v, a, grid, n, notes.append) for v, a, n in zip(volumes, apix, names)]
    maps = common_level(maps, mass if copies == 1 else None, grid, notes.append)
    if radius is None:
        radius = max(estimate_radius(v, grid) for v in maps)
        notes.append(f"particle radius {radius:.0f} Å, from the starting maps")
    if mask is None:
        mask = soft_sphere(grid.nx, radius / grid.apix + 2, 4.0, 3)
    if copies > 1:
        maps = list(noise_seeds(maps[0], grid, copies, rng=np.random.default_rng([seed, 0]), resolution=targetres, strength=NOISE_STRENGTH))
        notes.append(f"{copies} seeds made from {names[0]} by noise of {NOISE_STRENGTH:g} x its standard deviation, seed {seed}")
    maps = [(lowpass_cosine(v, grid, targetres) * mask).astype(np.float32) for v in maps]
    notes.append(f"starting maps low-passed to {targetres:.1f} Å and masked")
    return Seeds(np.stack(maps), mask.astype(np.float32), radius, tuple(notes))
