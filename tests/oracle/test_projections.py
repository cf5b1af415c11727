"""Projections against EMAN2's."""

import json

import numpy as np
import pytest

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.maths.eman2.projectors import PROJECTORS
from tests.arrays import load_npz

TOLERANCE = {"standard": 1e-4, "maxval": 1e-4, "pawel": 1e-4, "gauss_fft": 1e-2}
TURN = (90, 90, 0)
# views at exact quarter turns: largest difference from EMAN2 inside the border, of values up to 22
DIFFERENT = {
    "std28": (0.126, "EMAN2 loses the plane at the box's border; ours is the sum along x"),
    "std27": (0.122, "EMAN2 loses the plane at the box's border; ours is the sum along x"),
    "std24": (0.342, "EMAN2 loses the plane at the box's border; ours is the sum along x"),
    "std28_shift": (0.126, "EMAN2 loses the plane at the box's border; ours is the sum along x"),
    "gfft24_m2": (0.511, "places on whole coefficients: which neighbours EMAN2 takes is rounding"),
    "gfft_big_m2": (0.887, "places on whole coefficients: which neighbours EMAN2 takes is rounding"),
}


def poses(case, orientations):
    """Rotations and shifts of a case; a mirrored view has a first row of the other sign, and so has its shift."""
    first = 4 if case["orientations"].startswith("index 4") else 0
    angles = np.array(orientations, float)[first : first + case["shape"][0]]
    rotations, shifts = rotation_from_eman(*angles.T), np.zeros((len(angles), 2))
    for view, (tx, ty, mirror) in (case["trans_mirror"] or {}).items():
        sign = -1 if mirror else 1
        rotations[int(view), 0] *= sign
        shifts[int(view)] = sign * tx, ty
    return angles, rotations, shifts if case["trans_mirror"] else None


def projected(case, arrays, orientations):
    """Ours and EMAN2's, and which views are at the turn that differs."""
    angles, rotations, shifts = poses(case, orientations)
    ours = PROJECTORS.build(
        ":".join([case["projector"], *(f"{key}={value}" for key, value in case["params"].items())])
    )(arrays[case["vol"]], rotations, shifts, 1.0)
    theirs = arrays[case["key"]]
    return (
        ours,
        theirs[..., 0::2] + 1j * theirs[..., 1::2] if "returnfft" in case["params"] else theirs,
        (angles == TURN).all(axis=1),
    )


@pytest.mark.parametrize("projector", TOLERANCE)
def test_projections(oracle, projector):
    cases, arrays = json.loads((oracle / "projections.json").read_text()), load_npz(oracle / "projections.npz")
    cases, orientations = [case for case in cases["cases"] if case["projector"] == projector], cases["orientations"]
    for case in cases:
        ours, theirs, turned = projected(case, arrays, orientations)
        assert ours.shape == theirs.shape
        if np.iscomplexobj(ours):
            assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()
            continue
        assert ours.dtype == np.float32
        border = slice(2, -2) if projector in ("standard", "maxval") else slice(None)
        apart = np.abs(ours - theirs)[:, border, border].max(axis=(1, 2))
        if case["key"] in DIFFERENT:
            assert apart[turned] == pytest.approx([DIFFERENT[case["key"]][0]], abs=1e-3)
            apart = apart[~turned]
        assert apart.max() < TOLERANCE[projector], (case["key"], apart)
    assert cases
