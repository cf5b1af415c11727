"""Coverage of Fourier space by views with a known answer."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mpirefine.maths.geometry.coverage import fourier_coverage, half_sphere
from mpirefine.maths.geometry.symmetry import operations

ONE = np.eye(3)[None]


def test_even_views_cover_everything():
    views = Rotation.random(2000, random_state=1).as_matrix()[:, 2]
    assert fourier_coverage(views, np.ones(2000), ONE) == 1


def test_one_view_covers_its_plane_only():
    directions = half_sphere(400)
    found = fourier_coverage(np.array([[0.0, 0, 1]]), np.array([7.0]), ONE)
    assert found == pytest.approx(np.mean(np.abs(directions[:, 2]) < np.sin(np.radians(5)))) and 0.06 < found < 0.11


def test_views_round_a_rim_leave_nothing_out_and_a_cap_leaves_its_cone_out(rng):
    turn = rng.uniform(0, 2 * np.pi, 3000)
    side = np.stack([np.cos(turn), np.sin(turn), 0 * turn], -1)  # single-axis tilt: every plane holds the axis
    assert fourier_coverage(side, np.ones(3000), ONE) == 1
    tilt = np.radians(30)
    cap = np.stack([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.full(3000, np.cos(tilt))], -1)
    assert fourier_coverage(cap, np.ones(3000), ONE) == pytest.approx(
        np.sin(np.radians(30)), abs=0.12
    )  # 5 degrees more


def test_symmetry_fills_what_one_view_leaves_out():
    view, weight = np.array([[0.3, 0.5, 0.81]]) / np.linalg.norm([0.3, 0.5, 0.81]), np.ones(1)
    assert fourier_coverage(view, weight, operations("icos")) > 3 * fourier_coverage(view, weight, ONE)
    assert fourier_coverage(view, 0 * weight, ONE) == 0
