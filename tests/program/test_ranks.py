"""More ranks than the test run has: the command line, on one rank and on five."""

import mrcfile
import numpy as np
import pytest

from mpirefine.storage.star import read_star
from tests.program.small import basic, command, make_set

pytestmark = pytest.mark.slow


def test_five_ranks_give_what_one_gives(tmp_path):
    folder = make_set(tmp_path / "set", 40)  # blocks of 8 particles: one for each rank
    for name, ranks in (("one", None), ("five", 5)):
        done = command(*basic(folder, path=tmp_path / name, iter=1), ranks=ranks)
        assert done.returncode == 0, done.stderr
    first, second = (read_star(tmp_path / name / "particles.star")["particles"] for name in ("one", "five"))
    assert first.column("rlnClassNumber") == second.column("rlnClassNumber")
    for angle in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"):
        np.testing.assert_allclose(second.floats(angle), first.floats(angle), atol=0.01)
    for m in (1, 2):
        a, b = (mrcfile.read(tmp_path / name / f"threed_01_{m:02d}.mrc") for name in ("one", "five"))
        np.testing.assert_allclose(b, a, atol=1e-4 * np.abs(a).max())
