"""Compute the Fourier shell correlation of two maps, and the resolution where it falls below 0.5 and 0.143."""

from __future__ import annotations

import argparse
from pathlib import Path

from mpirefine.program.launcher import launched_rank
from mpirefine.program.map_fsc import compare_maps


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare maps, mask and output file."""
    parser.add_argument("first", help="map")
    parser.add_argument("second", help="map of the same box")
    parser.add_argument("--mask", help="map that both are multiplied by first")
    parser.add_argument("--apix", type=float, help="Å per voxel, instead of the value in the first map")
    parser.add_argument("--out", type=Path, help="output text file: 1/Å and FSC (default: the terminal)")


def main(args: argparse.Namespace) -> int:
    """On the first rank, without MPI. InputError for files that cannot be used."""
    if launched_rank() == 0:
        compare_maps(args.first, args.second, args.mask, args.apix, args.out)
    return 0
