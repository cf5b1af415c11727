"""Linear interpolation of maps: exact at voxels and for linear functions, any box, held at the border."""

import numpy as np
import pytest

from mpirefine.maths.image.interpolation import Trilinear


@pytest.mark.parametrize("shape", [(5, 6, 7), (4, 4), (1, 3, 2), (1, 1)])
def test_linear_functions_are_exact_within_the_box(rng, shape):
    full = (1, *shape)[-3:]
    z, y, x = np.indices(full, np.float32)
    values = (2 * x - y + 3 * z + 1).reshape(shape)
    where = (rng.random((3, 50)) * (np.array(full[::-1]) - 1)[:, None]).astype(np.float32)
    expected = 2 * where[0] - where[1] + 3 * where[2] + 1
    np.testing.assert_allclose(Trilinear(values)(where.copy()), expected, atol=1e-4)


def test_positions_outside_take_the_border(rng):
    values = rng.standard_normal((4, 4, 4)).astype(np.float32)
    where = np.array([[-3.0, 9.0], [1.0, 1.0], [2.0, 2.0]], np.float32)
    np.testing.assert_allclose(Trilinear(values)(where), values[2, 1, [0, 3]], atol=1e-6)
