"""What this installation and this job use: MPI, parallel HDF5, FFTW, BLAS and threads, nodes, shared memory."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections import Counter

import mpirefine
from mpirefine.storage.run.runfile import has_parallel_hdf5


def python_rows() -> list[tuple[str, str]]:
    """Rows (name, text) about Python and its packages."""
    import finufft
    import numpy
    import scipy

    return [
        ("mpirefine", mpirefine.__version__),
        ("Python", f"{platform.python_version()} ({sys.executable})"),
        ("numpy, scipy", f"{numpy.__version__}, {scipy.__version__}"),
        ("finufft", finufft.__version__),
    ]


def mpi_rows(size: int, nodes: Counter[str]) -> list[tuple[str, str]]:
    """Rows about MPI, ranks on nodes, and shared memory. `nodes` counts the ranks of each node."""
    import mpi4py
    from mpi4py import MPI

    thread_support = {
        MPI.THREAD_SINGLE: "single",
        MPI.THREAD_FUNNELED: "funneled",
        MPI.THREAD_SERIALIZED: "serialized",
        MPI.THREAD_MULTIPLE: "multiple",
    }
    vendor, version = MPI.get_vendor()
    per_node = sorted(set(nodes.values()))
    shm = shutil.disk_usage("/dev/shm") if os.path.isdir("/dev/shm") else None
    return [
        (
            "MPI",
            f"{vendor} {'.'.join(map(str, version))}, standard {'.'.join(map(str, MPI.Get_version()))}, mpi4py "
            f"{mpi4py.__version__}",
        ),
        ("MPI thread level", thread_support[MPI.Query_thread()]),
        (
            "ranks",
            f"{size} on {len(nodes)} node{'s' * (len(nodes) > 1)}, {' or '.join(map(str, per_node))} per node, "
            f"{len(os.sched_getaffinity(0))} cores for rank 0",
        ),
        ("shared memory", f"{shm.free / 2**30:.1f} GiB free in /dev/shm" if shm else "no /dev/shm"),
    ]


def library_rows() -> list[tuple[str, str]]:
    """Rows about HDF5, FFTW and BLAS."""
    import h5py
    import pyfftw
    import threadpoolctl

    blas = sorted(
        {
            f"{pool['internal_api']} {pool.get('version') or ''} ({pool['num_threads']} threads)"
            for pool in threadpoolctl.threadpool_info()
            if pool["user_api"] == "blas"
        }
    )
    parallel = (
        "parallel: all ranks write"
        if has_parallel_hdf5()
        else "serial: rank 0 writes for all ranks (tools/setup builds a parallel one)"
    )
    return [
        ("HDF5", f"{h5py.version.hdf5_version}, h5py {h5py.__version__}, {parallel}"),
        ("FFTW", f"{getattr(pyfftw, 'fftw_version', 'version unknown')}, pyfftw {pyfftw.__version__}"),
        ("BLAS", ", ".join(blas) or "unknown"),
    ]
