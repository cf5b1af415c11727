"""The text of `plan --preset eman2`: sizes, memory and messages of a refinement by class averages."""

from __future__ import annotations

from mpirefine.program.eman2.cost_model import ClassJob
from mpirefine.program.performance.machine import Machine
from mpirefine.program.performance.plan_report import memory_lines, message_lines


def describe_class_plan(job: ClassJob, profile: Machine | None) -> str:
    """The whole text; seconds are not estimated for this way."""
    lines = [
        f"{job.particles} particles of {job.grid.nx} px, {job.grid.apix:g} Å/px, {len(job.symmetries)} maps, on "
        f"{job.ranks} ranks, {job.per_node} per node, by comparators and class averages (--preset eman2)",
        f"search      directions every {job.step:.2f}°: {job.projections} projections",
        *memory_lines(job, profile),
        "            every rank holds the whole padded Fourier volume of one map at a time: if that is too much, use "
        "fewer ranks per node, or the likelihood, which divides volumes into slabs",
        *message_lines(job),
        "seconds     are not estimated for this way",
    ]
    return "\n".join(lines)
