"""Fourier shell correlation of two maps, and the resolution where it falls below 0.5 and 0.143."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.errors import InputError
from mpirefine.maths.fourier.fsc import fsc, resolution_at
from mpirefine.program import logs
from mpirefine.program.launcher import launched_rank
from mpirefine.storage.images import read_volumes


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Two maps."""
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--mask", help="map that both are multiplied by first")
    parser.add_argument("--apix", type=float, help="Å per voxel, instead of what the first map says")
    parser.add_argument("--out", type=Path, help="text file that is written: 1/Å and FSC (default: on the terminal)")


def main(args: argparse.Namespace) -> int:
    """No MPI; by the first rank. InputError for maps of different boxes."""
    if launched_rank() > 0:
        return 0
    maps = [read_volumes(name) for name in (args.first, args.second, *([args.mask] if args.mask else []))]
    for name, (volumes, _) in zip((args.first, args.second, args.mask), maps):
        if len(volumes) != 1 or volumes[0].shape != maps[0][0][0].shape:
            raise InputError(
                f"{name}: {len(volumes)} maps of {len(volumes[0])} voxels, but one of {len(maps[0][0][0])} is "
                "needed, as the first has"
            )
    first, second = (volumes[0] * (maps[2][0][0] if args.mask else 1) for volumes, _ in maps[:2])
    grid = Grid(len(first), args.apix or maps[0][1] or 1.0)
    curve = fsc(first, second)
    rows = np.column_stack([np.arange(len(curve)) / grid.length, curve])
    lines = [f"{frequency:.6f} {value:.6f}" for frequency, value in rows]
    if args.out:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        logs.say("\n".join(lines))
    logs.say(
        f"# FSC 0.5 at {resolution_at(curve, 0.5, grid):.2f} A, 0.143 at {resolution_at(curve, 0.143, grid):.2f} A"
    )
    return 0
