"""A map of which one half is empty, and particles that nothing separates: both are said, and neither is taken for
something else.
"""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.program.reports.terminal import iteration_table, nothing_separates
from mpirefine.steps.likelihood.average import Average
from mpirefine.steps.likelihood.classify import Classify
from mpirefine.steps.likelihood.noise import Reestimate
from mpirefine.steps.likelihood.postprocess import Postprocess
from mpirefine.steps.likelihood.project import Project
from mpirefine.steps.likelihood.reconstruct import Reconstruct
from mpirefine.steps.likelihood.simmx import Simmx
from mpirefine.steps.shared.converge import Converge
from mpirefine.steps.shared.empty_classes import EmptyClasses
from mpirefine.steps.summary import Coarse, Summary
from mpirefine.steps.workspace import Workspace
from tests.steps.small import context, simulate

STEPS = (Simmx(), Classify(), Average(None), Reestimate(), Reconstruct(), Postprocess(), EmptyClasses(), Converge())


def iterated(team, half):
    """One iteration with the given half-sets (p,)."""
    truth, made = simulate(n=60, snr=1.0)
    ctx, state = context(team, truth, made)
    state = replace(state, half=half(made)[ctx.block.as_slice].astype(np.int8))
    with Workspace() as work:
        for step in (Project(work), *STEPS):
            state = step.run(state, ctx)
    return state


@pytest.mark.ranks(1, 3)
def test_a_map_with_lone_halves_has_no_resolution_but_keeps_its_rings(team):
    whole = iterated(team, lambda made: np.arange(60) % 2)
    assert whole.summary.lone_halves == () and np.isfinite(whole.summary.resolution).all()
    # now map 2 has particles of one half only: matching is the same, so they are those of the first time
    in_map_2 = np.concatenate(team.allgather(whole.assignments.model == 1))
    assert 5 < in_map_2.sum() < 55
    state = iterated(team, lambda made: np.where(in_map_2, 0, np.arange(60) % 2))
    assert state.summary.lone_halves == ((1, 1),)
    assert (
        np.isfinite(state.summary.resolution[0]) and np.isnan(state.summary.resolution[1]) and state.last_rings[1] == 9
    )
    assert state.summary.same == ()
    text = iteration_table(state.summary, 1, 8, 1.0)
    assert (
        "no particle of half 2 is in map 2: its resolution is not known" in text and "-" in text.splitlines()[3].split()
    )
    if team.is_root:
        assert np.isnan(state.curves["half_fsc"][1]).all() and np.isfinite(state.volumes).all()
        likeness = np.corrcoef(state.volumes[1].ravel(), whole.volumes[1].ravel())[0, 1]
        assert likeness > 0.9  # filtered by what was matched, not taken for noise


def test_nothing_separates_is_said_in_words():
    summary = Summary(soft=(0.3, 0.4, 0.3, 0.0), maps_per_particle=2.99)
    assert (
        "nothing separates the maps: nearly every particle is undecided between all 3" in nothing_separates(summary)[0]
    )
    assert (
        "--invert" in nothing_separates(summary)[0]
        and "later iterations with finer rings" in nothing_separates(replace(summary, coarse=Coarse("coarse")))[0]
    )
    assert nothing_separates(replace(summary, maps_per_particle=2.5)) == []
    assert nothing_separates(Summary(soft=(1.0,))) == []
