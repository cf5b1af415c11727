"""What the launcher (mpirun, srun) tells in the environment, before MPI starts."""
from __future__ import annotations

import os

from mpirefine.errors import RankFailure

RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")
SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def launched_rank() -> int:
    """The rank the launcher gave this process, 0 without one."""
    return next((int(os.environ[name]) for name in RANK_VARIABLES if os.environ.get(name, "").isdigit()), 0)


def check_launcher(size: int) -> None:
    """RankFailure when the launcher started more ranks than MPI sees: the mpirun of another MPI would make that many separate runs."""
    for name in SIZE_VARIABLES:
        told = os.environ.get(name, "")
        if told.isdigit() and int(told) != size:
            raise RankFailure(f"the launcher started {told} ranks ({name}), but MPI sees {size}: this mpirun belongs to another MPI than mpi4py; "
                              "use the mpirun of the MPI that 'python -m mpirefine selfcheck' names")
