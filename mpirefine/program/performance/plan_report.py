"""The text of `plan`: sizes, memory, messages and seconds of a refinement by likelihood."""

from __future__ import annotations

from typing import Protocol

from mpirefine.program.performance.cost_model import Job, Memory
from mpirefine.program.performance.machine import Machine

BASE_MB = 140.0  # memory of a rank without data, when no profile is given


def describe_plan(job: Job, profile: Machine | None) -> str:
    """The whole text; seconds need a profile of the machine."""
    return "\n".join(
        [
            *size_lines(job),
            *memory_lines(job, profile),
            *scratch_lines(job),
            *message_lines(job),
            *second_lines(job, profile),
            *full_size_lines(job, profile),
        ]
    )


def mb(count: float) -> str:
    """A number of bytes in MB or GB."""
    return f"{count / 2**20:,.1f} MB" if count < 2**30 else f"{count / 2**30:,.2f} GB"


def size_lines(job: Job) -> list[str]:
    """Lines about particles, maps, ranks, the search and blocks."""
    sampling, (coarse, fine) = job.sampling, job.references
    grids = [f"{grid.nx} px, {grid.apix:.4g} Å/px" for grid in (job.full, job.grid) if grid is not None]
    return [
        f"{job.particles} particles of {' matched as '.join(grids)}, {len(job.symmetries)} maps, on "
        f"{job.ranks} ranks, {job.per_node} per node",
        f"search      directions every {sampling.coarse_delta:.2f}° then {sampling.fine_delta:.2f}°: {coarse} then "
        f"{fine} projections; rings to {job.grid.resolution(sampling.fine_grid.n_rings):.1f} Å, "
        f"{sampling.fine_angles} in-plane angles",
        f"blocks      {job.own_particles} particles per rank, {job.classes_per_block} classes per block of class sums",
    ]


class CostModel(Protocol):
    """What the cost models of both ways have in common."""

    @property
    def ranks(self) -> int:
        """Ranks of the job."""

    def memory(self, base_mb: float) -> Memory:
        """Bytes of rank 0 and of a node."""

    def bytes_sent(self) -> dict[str, float]:
        """Bytes that all ranks together send by MPI in an iteration, by step."""


def memory_lines(job: CostModel, profile: Machine | None) -> list[str]:
    """Lines about the memory of a rank and of a node."""
    memory = job.memory(profile.base_mb if profile else BASE_MB)
    parts = ", ".join(f"{name} {mb(size)}" for name, size in memory.private.items() if size)
    return [
        f"memory      {mb(memory.rank + memory.shared)} used by rank 0: {mb(memory.rank)} of its own ({parts})",
        f"            and {mb(memory.shared)} of references, once per node: {mb(memory.node)} per node",
    ]


def scratch_lines(job: Job) -> list[str]:
    """A line about the files of --lowmem."""
    if not job.lowmem:
        return []
    size = job.scratch_bytes
    return [f"scratch     {mb(size)} of each rank, {mb(size * job.per_node)} of a node, in the folder of --scratch"]


def message_lines(job: CostModel) -> list[str]:
    """A line about the bytes that ranks send."""
    sent = job.bytes_sent()
    total = sum(sent.values())
    return [
        f"messages    {mb(total)} per iteration over all ranks, {mb(total / job.ranks)} per rank: "
        + ", ".join(f"{name} {mb(size)}" for name, size in sent.items())
    ]


def full_size_lines(job: Job, profile: Machine | None) -> list[str]:
    """A line about the maps at the particles' own size, which are made after the last iteration."""
    if job.full is None:
        return []
    used, sent = job.full_size_bytes(profile.base_mb if profile else BASE_MB)
    when = f"maps of {job.full.nx} px at the end"
    return [f"full size   {when}: {mb(used)} used by rank 0, {mb(sent)} sent over all ranks"]


def second_lines(job: Job, profile: Machine | None) -> list[str]:
    """A line about the seconds per iteration; without a profile it says how to make one."""
    if profile is None:
        return [
            "seconds     need a profile: give --machine profile.json, made by 'mpirun -n N python -m mpirefine bench "
            "--out profile.json'"
        ]
    steps = {name: amount * profile.seconds_per_unit[name] for name, amount in job.work().items()}
    if job.ranks > 1 and profile.allreduce_gb_s:
        steps["Allreduce"] = job.bytes_sent()["average"] / job.ranks / 1e9 / profile.allreduce_gb_s
    return [
        f"seconds     {sum(steps.values()):.1f} per iteration: "
        + ", ".join(f"{name} {value:.1f}" for name, value in steps.items())
    ]
