"""What a refinement will need, in words."""

from __future__ import annotations

from typing import Protocol

from mpirefine.program.performance.cost_model import Job, Memory
from mpirefine.program.performance.machine import Machine

BASE_MB = 190.0  # of a rank before it holds anything, where no profile tells it


def describe_plan(job: Job, profile: Machine | None) -> str:
    """Sizes, memory, messages and, with a profile of the machine, seconds."""
    return "\n".join([*sizes(job), *memory(job, profile), *messages(job), *seconds(job, profile)])


def mb(count: float) -> str:
    """Bytes in MB or GB."""
    return f"{count / 2**20:,.1f} MB" if count < 2**30 else f"{count / 2**30:,.2f} GB"


def sizes(job: Job) -> list[str]:
    """What the job consists of."""
    levels, (coarse, fine) = job.sampling, job.references
    return [
        f"{job.particles} particles of {job.grid.nx} px, {job.grid.apix:g} Å/px, {len(job.symmetries)} maps, on "
        f"{job.ranks} ranks, "
        f"{job.per_node} per node",
        f"search      directions every {levels.coarse_delta:.2f}° then {levels.fine_delta:.2f}°: {coarse} then "
        f"{fine} projections; rings to "
        f"{job.grid.resolution(levels.fine_grid.n_rings):.1f} Å, {levels.fine_angles} in-plane angles",
        f"blocks      {job.own_particles} particles per rank, {job.classes_per_block} classes per block of sums",
    ]


class Sized(Protocol):
    """What a cost model of either way tells."""

    @property
    def ranks(self) -> int:
        """Of the job."""

    def memory(self, base_mb: float) -> Memory:
        """Bytes of the busiest rank and of a node."""

    def bytes_sent(self) -> dict[str, float]:
        """Bytes that all ranks hand to MPI in an iteration, by step."""


def memory(job: Sized, profile: Machine | None) -> list[str]:
    """Bytes per rank and node."""
    found = job.memory(profile.base_mb if profile else BASE_MB)
    parts = ", ".join(f"{name} {mb(size)}" for name, size in found.private.items() if size)
    return [
        f"memory      {mb(found.rank + found.shared)} seen by a rank: {mb(found.rank)} its own ({parts})",
        f"            and {mb(found.shared)} of references, once per node: {mb(found.node)} per node",
    ]


def messages(job: Sized) -> list[str]:
    """Bytes between ranks."""
    sent = job.bytes_sent()
    total = sum(sent.values())
    return [
        f"messages    {mb(total)} per iteration over all ranks, {mb(total / job.ranks)} per rank: "
        + ", ".join(f"{name} {mb(size)}" for name, size in sent.items())
    ]


def seconds(job: Job, profile: Machine | None) -> list[str]:
    """Seconds per iteration, when a profile is given."""
    if profile is None:
        return [
            "seconds     give --machine profile.json, made by 'mpirun -n N python -m mpirefine bench --out "
            "profile.json'"
        ]
    steps = {name: amount * profile.seconds_per_unit[name] for name, amount in job.work().items()}
    if job.ranks > 1 and profile.allreduce_gb_s:
        steps["Allreduce"] = job.bytes_sent()["average"] / job.ranks / 1e9 / profile.allreduce_gb_s
    return [
        f"seconds     {sum(steps.values()):.1f} per iteration: "
        + ", ".join(f"{name} {value:.1f}" for name, value in steps.items())
    ]
