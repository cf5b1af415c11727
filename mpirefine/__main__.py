"""`python -m mpirefine`: set the number of threads before numpy loads, and end all ranks when one fails."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Any

from mpirefine.errors import RefineError
from mpirefine.program.launcher import launched_rank

BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
PATIENCE = 1.0  # seconds that other ranks wait while rank 0 prints: the launcher kills all ranks when one exits


def set_threads(argv: list[str]) -> None:
    """Set one BLAS thread, and --threads for OpenMP, in the environment.

    Libraries read these variables when they load. BLAS has one thread because the program's own threads call it.
    """
    values = [argv[i + 1] for i, word in enumerate(argv[:-1]) if word == "--threads"] + [
        w[10:] for w in argv if w.startswith("--threads=")
    ]
    for name in BLAS_VARIABLES:
        os.environ.setdefault(name, "1")
    if values and values[-1].isdigit():
        os.environ["OMP_NUM_THREADS"] = values[-1]
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def print_error(error: BaseException) -> None:
    """Print one line per problem on the terminal."""
    for line in str(error).splitlines():
        sys.stderr.write(f"mpirefine: error: {line}\n")
    sys.stderr.flush()


def end_in_error(error: BaseException, status: int) -> int:
    """Print an error once, end every rank, and return the exit status.

    Rank 0 prints an error that all ranks raised together, the failing rank any other.
    """
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None:
        if launched_rank() == 0:
            print_error(error)
        else:
            time.sleep(PATIENCE)
        return status
    world = mpi.COMM_WORLD
    if getattr(error, "on_all_ranks", False):
        if world.Get_rank() == 0:
            print_error(error)
        if getattr(error, "at_once", False):
            end_at_once(world, status)
        world.Barrier()
        return status
    print_error(error)
    world.Abort(status)
    return status


def end_at_once(world: Any, status: int) -> None:
    """End all ranks without closing files."""
    logging.shutdown()
    sys.stdout.flush()
    if world.Get_size() == 1:
        os._exit(status)  # Abort would print lines of its own
    if world.Get_rank() == 0:
        world.Abort(status)


def report_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an unexpected error, each line with the rank, and end all ranks."""
    mpi = sys.modules.get("mpi4py.MPI")
    rank = mpi.COMM_WORLD.Get_rank() if mpi else launched_rank()
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write("".join(f"[rank {rank}] {line}\n" for line in text.splitlines()))
    sys.stderr.flush()
    if mpi is not None:
        mpi.COMM_WORLD.Abort(1)


def run(argv: list[str]) -> int:
    """Run a command line and return its exit status; does not return when MPI has to end other ranks."""
    set_threads(argv)
    threading.excepthook = lambda hook: report_crash(
        hook.exc_type, hook.exc_value or hook.exc_type(), hook.exc_traceback
    )
    try:
        # numpy loads here, after the threads are set
        return importlib.import_module("mpirefine.program.cli").main(argv)
    except RefineError as error:
        return end_in_error(error, error.exit_status)
    except KeyboardInterrupt as error:
        return end_in_error(type(error)("interrupted"), 130)
    except SystemExit as error:
        if error.code not in (None, 0) and "mpi4py.MPI" in sys.modules:
            sys.modules["mpi4py.MPI"].COMM_WORLD.Abort(error.code if isinstance(error.code, int) else 1)
        raise
    except BaseException:
        report_crash(*sys.exc_info())
        return 1


def main() -> None:
    """Run the command line of this process: entry point of the console script and of `python -m mpirefine`."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
