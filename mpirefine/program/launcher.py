"""What the launcher (mpirun, srun) tells in the environment, before MPI starts."""

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
    """The rank the launcher gave this process, 0 without one."""
    return next((int(os.environ[name]) for name in RANK_VARIABLES if os.environ.get(name, "").isdigit()), 0)


def check_launcher(size: int) -> None:
    """RankFailure when the launcher started more ranks than MPI sees: the mpirun of another MPI would make that many
    separate runs.
    """
    for name in SIZE_VARIABLES:
        told = os.environ.get(name, "")
        if told.isdigit() and int(told) != size:
            raise RankFailure(
                f"the launcher started {told} ranks ({name}), but MPI sees {size}: this mpirun belongs to another "
                "MPI than mpi4py; "
                "use the mpirun of the MPI that 'python -m mpirefine selfcheck' names"
            )
    if not any(os.environ.get(name) for name in SIZE_VARIABLES):
        check_srun(size)


def check_srun(size: int) -> None:
    """RankFailure when srun started several tasks and none knows of the others: MPI does not speak srun's PMI.

    Only a job step that srun made has a number of tasks: a batch script itself has none, nor has what mpirun starts
    from it, which tells its own
    size. In a shell that `srun --pty` opened, the other tasks run nothing.
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
            f"srun started {tasks} tasks ({SRUN_TASKS}), but MPI sees 1 rank: this MPI does not understand srun, and "
            "each "
            "task would do the whole run: use srun --mpi=pmix (srun --mpi=list names what there is), or mpirun in "
            "the batch script"
        )


def check_threads(team: Team, threads: int) -> None:
    """Collective. ParameterError when more than one thread per rank were asked for and a node has not that many cores
    for its ranks.
    """
    ranks = team.node.allgather(os.sched_getaffinity(0))
    cores = len(set().union(*ranks))
    worst = max(team.allgather((len(ranks) * threads - cores, len(ranks), cores)))
    if threads > 1 and worst[0] > 0:
        raise ParameterError(
            f"--threads {threads}: {worst[1]} ranks of a node x {threads} threads = {worst[1] * threads}, but they "
            "may use "
            f"{worst[2]} cores: start fewer ranks, or give each its cores (mpirun --map-by slot:PE={threads}, srun "
            f"--cpus-per-task={threads})"
        )
