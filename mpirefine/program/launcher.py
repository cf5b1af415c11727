"""Rank and number of ranks from the environment that the launcher (mpirun, srun) sets, and checks of both."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mpirefine.errors import ParameterError, RankFailure

if TYPE_CHECKING:
    from mpirefine.distribution.team import Team

RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")
SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
SRUN_TASKS, SRUN_TASK, SRUN_TERMINAL = "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_PTY_PORT"


def launched_rank() -> int:
    """The rank that the launcher gave this process; 0 without a launcher."""
    return next((int(os.environ[name]) for name in RANK_VARIABLES if os.environ.get(name, "").isdigit()), 0)


def check_launcher(size: int) -> None:
    """RankFailure when the launcher started another number of ranks than the `size` that MPI sees.

    The mpirun of another MPI would start that many separate runs.
    """
    for name in SIZE_VARIABLES:
        launched = os.environ.get(name, "")
        if launched.isdigit() and int(launched) != size:
            raise RankFailure(
                f"the launcher started {launched} ranks ({name}), but MPI sees {size}: this mpirun belongs to another "
                "MPI than mpi4py: use the mpirun of the MPI that 'python -m mpirefine selfcheck' names"
            )
    if not any(os.environ.get(name) for name in SIZE_VARIABLES):
        check_srun(size)


def check_srun(size: int) -> None:
    """RankFailure when srun started several tasks but MPI sees one rank: this MPI does not support srun's PMI.

    Only srun sets the number of tasks: neither a batch script nor what mpirun starts in it has the variable. In a shell
    opened by `srun --pty` the other tasks run nothing, so it is no error there.
    """
    tasks = os.environ.get(SRUN_TASKS, "")
    if (
        size == 1
        and tasks.isdigit()
        and int(tasks) > 1
        and os.environ.get(SRUN_TASK)
        and not os.environ.get(SRUN_TERMINAL)
    ):
        raise RankFailure(
            f"srun started {tasks} tasks ({SRUN_TASKS}), but MPI sees 1 rank: this MPI does not support srun, and "
            "each task would do the whole run: use srun --mpi=pmix ('srun --mpi=list' shows the choices), or mpirun in "
            "the batch script"
        )


def check_threads(team: Team, threads: int) -> None:
    """Collective. ParameterError when --threads is above 1 and a node has too few cores for its ranks."""
    ranks = team.node.allgather(os.sched_getaffinity(0))
    cores = len(set().union(*ranks))
    worst = max(team.allgather((len(ranks) * threads - cores, len(ranks), cores)))
    if threads > 1 and worst[0] > 0:
        raise ParameterError(
            f"--threads {threads}: {worst[1]} ranks of a node x {threads} threads = {worst[1] * threads}, but they "
            f"may use {worst[2]} cores: start fewer ranks, or reserve cores for each rank (mpirun --map-by "
            f"slot:PE={threads}, srun --cpus-per-task={threads})"
        )
