"""Posteriors and weights of assignments."""

import numpy as np

from mpirefine.data.poses import Candidates
from mpirefine.maths.likelihood.posterior import assign, log_sum_exp


def candidates(reference, evidence, model_evidence):
    reference, evidence = np.array(reference, np.int32), np.array(evidence, float)
    blank = np.zeros(reference.shape, np.float32)
    return Candidates(
        reference,
        -evidence.astype(np.float32),
        evidence,
        blank,
        np.zeros((*reference.shape, 2), np.float32),
        blank.astype(bool),
        np.array(model_evidence, float),
        np.zeros((len(reference), 2)),
    )


MODEL = np.array([0, 0, 1, 1])


def test_log_sum_exp_of_extremes():
    np.testing.assert_allclose(log_sum_exp(np.array([[-1e6, -1e6 + np.log(3)]]), 1), -1e6 + np.log(4), rtol=1e-14)
    assert log_sum_exp(np.array([1e9, -1e9]), 0) == 1e9
    assert log_sum_exp(np.full(3, -np.inf), 0) == -np.inf


def test_soft_weights_hold_the_support():
    found = candidates([[0, 2, 3]], np.log([[0.9, 0.08, 0.02]]), np.log([[0.9, 0.1]]))
    result = assign(found, MODEL, sep=3, soft=True, support=0.95)
    np.testing.assert_allclose(result.posterior, [[0.9, 0.1]], rtol=1e-6)
    np.testing.assert_allclose(result.weight, [[0.9 / 0.98, 0.08 / 0.98, 0]], rtol=1e-6)
    assert result.model.tolist() == [0] and result.best.tolist() == [0]


def test_hard_takes_the_best_alone():
    result = assign(candidates([[2, 0]], [[-5.0, -4.0]], [[-4.0, -5.0]]), MODEL, sep=1, soft=False)
    assert result.weight.tolist() == [[0, 1]] and result.model.tolist() == [0] and result.best.tolist() == [1]


def test_a_particle_always_has_weight():
    result = assign(candidates([[1, 2]], [[-1e7, -1e7 - 1]], [[-1e7, -1e7 - 1]]), MODEL, sep=2, soft=True)
    np.testing.assert_allclose(result.weight.sum(), 1, rtol=1e-6)


def test_more_projections_win_nothing_by_number():
    model = np.array([0] * 10 + [1])
    found = candidates([[0, 10]], [[0.0, 0.0]], [[np.log(10.0), 0.0]])
    np.testing.assert_allclose(assign(found, model, sep=2, soft=True).posterior, [[0.5, 0.5]])


def test_winner_by_sum_has_its_own_best_candidate():
    found = candidates([[0, 2, 3]], np.log([[0.4, 0.3, 0.3]]), np.log([[0.4, 0.6]]))
    result = assign(found, MODEL, sep=3, soft=True)
    assert result.model.tolist() == [1] and result.best.tolist() == [1]


def test_set_aside_particles_have_no_map():
    found = candidates([[-1, -1]], [[-np.inf, -np.inf]], [[0.0, 0.0]])
    result = assign(found, MODEL, sep=2, soft=True)
    assert result.model.tolist() == [-1] and not result.weight.any()
    empty = candidates(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2)))
    assert len(assign(empty, MODEL, sep=2, soft=True).model) == 0
