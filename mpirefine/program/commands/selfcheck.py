"""Show what this installation and this job use: MPI, parallel HDF5, FFTW, BLAS, threads, nodes, shared memory."""

from __future__ import annotations

import argparse
import platform
from collections import Counter

from mpirefine.distribution.team import Team
from mpirefine.program import logs
from mpirefine.program.performance.installation import library_rows, mpi_rows, python_rows


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Declare no options."""


def main(args: argparse.Namespace, team: Team) -> int:
    """Collective. Print the table on rank 0."""
    nodes = Counter(team.allgather(platform.node()))
    if team.is_root:
        rows = [*python_rows(), *mpi_rows(team.size, nodes), *library_rows()]
        width = max(len(name) for name, _ in rows)
        logs.say("\n".join(f"{name.ljust(width)}  {value}" for name, value in rows))
    return 0
