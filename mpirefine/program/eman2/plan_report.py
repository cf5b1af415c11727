"""What a refinement by class averages will need, in words."""

from __future__ import annotations

from mpirefine.program.eman2.cost_model import ClassJob
from mpirefine.program.performance.machine import Machine
from mpirefine.program.performance.plan_report import memory, messages


def describe_class_plan(job: ClassJob, profile: Machine | None) -> str:
    """Sizes, memory and messages; there is no model of its seconds."""
    lines = [
        f"{job.particles} particles of {job.grid.nx} px, {job.grid.apix:g} Å/px, {len(job.symmetries)} maps, on "
        f"{job.ranks} ranks, {job.per_node} per node, by comparators and class averages (--preset eman2)",
        f"search      directions every {job.step:.2f}°: {job.projections} projections",
        *memory(job, profile),
        "            every rank holds the whole padded Fourier volume of one map at a time: fewer ranks per node, or "
        "the likelihood, whose volumes are cut into slabs, where that is too much",
        *messages(job),
        "seconds     are not foreseen for this way",
    ]
    return "\n".join(lines)
