"""The result files: maps, half-maps, FSC curves, particles with their classes, and a particle set for each map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.distribution import reduce
from mpirefine.maths.image.grey_scale import by_mass
from mpirefine.program.options import Options
from mpirefine.program.results import run_folder
from mpirefine.program.start.defaults import Resolved
from mpirefine.program.start.inputs import Inputs
from mpirefine.steps.shared.particles import OUTLIER, REASONS
from mpirefine.steps.state import Context, FullMap, State
from mpirefine.storage.atomic import write_text
from mpirefine.storage.images import write_images
from mpirefine.storage.particle_file import ParticleInput, in_format


def write_maps(folder: Path, state: State, resolved: Resolved, grid: Grid) -> None:
    """On rank 0. Write the maps of an iteration, `threed_II_MM` with the suffix of the format.

    With --mass each map is scaled so that the density above 1 encloses its mass.
    """
    headers = state.map_headers or ({},) * len(state.root_volumes)
    for m, (volume, header) in enumerate(zip(state.root_volumes, headers)):
        path = run_folder.map_path(folder, state.iteration, m, resolved.options.map_suffix)
        write_map(path, volume, grid, resolved.mass[m] if resolved.mass else None, header)


def write_hard_maps(folder: Path, iteration: int, volumes: np.ndarray, resolved: Resolved, grid: Grid) -> None:
    """On rank 0. Write `threed_II_MM_hard`: maps (mzyx) from each particle in its best projection only."""
    for m, volume in enumerate(volumes):
        path = run_folder.hard_map_path(folder, iteration, m, resolved.options.map_suffix)
        write_map(path, volume, grid, resolved.mass[m] if resolved.mass else None, {})


def write_full_map(folder: Path, iteration: int, found: FullMap, resolved: Resolved, grid: Grid) -> None:
    """On rank 0. `threed_II_MM_full`, its half-maps, and their FSC as `fsc_full_II_MM.txt`."""
    assert found.volume is not None and found.halves is not None
    suffix, m = resolved.options.map_suffix, found.model
    path = run_folder.full_map_path(folder, iteration, m, suffix)
    write_map(path, found.volume, grid, resolved.mass[m] if resolved.mass else None, {})
    for h, volume in enumerate(found.halves):
        write_images(run_folder.full_half_map_path(folder, iteration, m, h, suffix), [volume], grid.apix)
    path = run_folder.full_fsc_path(folder, iteration, m)
    write_curve_table(path, grid, list(found.curves), list(found.curves.values()))


def write_map(path: Path, volume: np.ndarray, grid: Grid, mass: float | None, header: Mapping[str, object]) -> None:
    """On rank 0. Write a map (zyx); with a `mass` in kDa it is scaled so that the density above 1 encloses it.

    HDF files keep the header values.
    """
    write_images(path, [by_mass(volume, grid, mass) if mass and np.any(volume) else volume], grid.apix, [header])


def write_halves(folder: Path, iteration: int, halves: np.ndarray, grid: Grid, suffix: str) -> None:
    """On rank 0. Write the unmasked, unfiltered half-maps (m, half, zyx)."""
    for m, pair in enumerate(halves):
        for h, volume in enumerate(pair):
            write_images(run_folder.half_map_path(folder, iteration, m, h, suffix), [volume], grid.apix)


def write_curves(folder: Path, state: State, grid: Grid) -> None:
    """On rank 0. Write the FSC files of an iteration: between half-maps, to the iteration before, and between maps.

    Column 1 is the frequency in 1/Å; each further column is a map or a pair of maps.
    """
    maps = len(state.curves["half_fsc"])
    names = [f"map_{m + 1:02d}" for m in range(maps)]
    tables = {"halves": (state.curves["half_fsc"], names), "previous": (state.curves["previous_fsc"], names)}
    pairs = [(a, b) for a in range(maps) for b in range(a + 1, maps)]
    if pairs:
        tables["between"] = (
            np.array([state.curves["between_fsc"][a, b] for a, b in pairs]),
            [f"map_{a + 1:02d}-map_{b + 1:02d}" for a, b in pairs],
        )
    for kind, (curves, labels) in tables.items():
        write_curve_table(run_folder.fsc_path(folder, kind, state.iteration), grid, labels, list(curves))


def write_curve_table(path: Path, grid: Grid, labels: Sequence[str], curves: Sequence[np.ndarray]) -> None:
    """On rank 0. Write curves (shell,) as columns of text; column 1 is the frequency in 1/Å of shells 0 .. nx // 2."""
    frequency = np.arange(grid.nx // 2 + 1) / grid.length
    rows = np.column_stack([frequency, *(curve[: len(frequency)] for curve in curves)])
    lines = ["# 1/A " + " ".join(labels), *(" ".join(f"{value:10.6f}" for value in row) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def find_reasons(state: State, ctx: Context) -> np.ndarray:
    """Why each own particle is set aside: (p,) int8 indices of REASONS, 0 for particles that are used."""
    return np.where((ctx.particles.reason == 0) & (state.trust == 0), OUTLIER, ctx.particles.reason).astype(np.int8)


def write_set_aside(folder: Path, source: ParticleInput, reason: np.ndarray, trust: np.ndarray) -> None:
    """On rank 0. Write `set_aside.txt`: each particle with a weight below 1, its weight and the reason."""
    rows = np.flatnonzero((reason > 0) | (trust < 1))
    lines = [
        f"{row + 1} {image} {0 if reason[row] else trust[row]:.2f} {REASONS[reason[row] or OUTLIER]}\n"
        for row, image in zip(rows, source.image_names(rows))
    ]
    write_text(folder / "set_aside.txt", "# row image weight reason\n" + "".join(lines))


def write_particles(
    folder: Path, inputs: Inputs | None, options: Options, state: State, ctx: Context
) -> tuple[int, ...]:
    """Collective. Write `particles.star` with every input row, a set `sets/<name>_mMM.star` per map, `set_aside.txt`.

    `inputs` are on rank 0. Returns the number of particles in each set. RankFailure when the disk is full.
    """
    to_file = ctx.team.bcast(inputs.particles.grid.nx / ctx.grid.nx if inputs is not None else None)
    top, reason = state.assignments.posterior.max(axis=1, initial=0), find_reasons(state, ctx)
    assert state.last is not None
    own = {
        "reason": reason,
        "trust": state.trust,
        "model": np.where(reason > 0, -1, state.last.model),
        "posterior": top,
        "rotation": state.last.rotation,
        "shift_xy": state.last.shift * to_file,
        "half": state.half,
    }
    gathered = {
        name: reduce.gather_rows(ctx.team, np.ascontiguousarray(values), ctx.partition) for name, values in own.items()
    }
    columns = {name: values for name, values in gathered.items() if values is not None}  # on rank 0
    sizes: tuple[int, ...] = ()
    with ctx.team.together("writing particles.star"):
        if inputs is not None:
            write_set_aside(folder, inputs.particles, columns.pop("reason"), columns.pop("trust"))
            source = in_format(inputs.particles, options.setformat)
            particles = source.with_results(**columns)
            particles.write(folder / f"particles{source.suffix}")
            name = inputs.particles.path.stem
            for m in range(ctx.models):
                rows = np.flatnonzero(columns["model"] == m)
                particles.write(run_folder.set_path(folder, name, m, source.suffix), rows)
                sizes += (len(rows),)
    return ctx.team.bcast(sizes)


def list_results(folder: Path, iteration: int) -> str:
    """On rank 0. The result files in the folder, in words, for the last line of a run."""
    stem, digits = f"threed_{iteration:02d}_", "[0-9]" * 2
    kinds = {
        "maps": f"{stem}{digits}.*",
        "hard maps": f"{stem}{digits}_hard.*",
        "full-size maps": f"{stem}{digits}_full.*",
        "half-maps": f"{stem}{digits}_half[12].*",
        "sets": "sets/*_m[0-9]*.*",
    }
    numbers = {kind: sum(path.suffix != ".tmp" for path in folder.glob(pattern)) for kind, pattern in kinds.items()}
    counts = [f"{number} {kind}" for kind, number in numbers.items() if number]
    single = [
        path.name
        for name in ("particles.*", "set_aside.txt", "differences.json", "report.html")
        for path in sorted(folder.glob(name))
        if path.suffix != ".tmp"
    ]
    return ", ".join([*counts, *single]) or "nothing"
