"""Processors against EMAN2's: every case, built from the text a user types."""

import json

import numpy as np
import pytest

from mpirefine.maths.eman2.processors.catalogue import PROCESSORS, apply
from tests.arrays import load_npz

FAMILIES = (
    "normalize",
    "filter.lowpass",
    "filter.highpass",
    "filter.bandpass",
    "filter.matchto",
    "filter.set",
    "filter.wiener",
    "mask.auto",
    "mask.",
    "threshold.",
    "math.",
    "xform",
)
REAL, FOURIER = 1e-5, 1e-4  # of the standard deviation of EMAN2's image, as its README has it

# case: why, what is compared, ours, EMAN2's; pixels agree within the last number of sigma
DIFFERENT = {
    "o068": (
        "factors of rings that `to` hardly has are rounding of a float32 transform in EMAN2",
        "factor of ring 12",
        22.5272,
        22.5685,
        5e-3,
    ),
    "o191": ("the sums of the centre of mass are float32 in EMAN2", "shift of x in pixels", 0.385463, 0.385452, 5e-5),
    "o152": ("EMAN2 sets the pixel size to n instead of multiplying by it", "pixel size", 3.0, 1.5, REAL),
    "o197": ("EMAN2 forgets the pixel size", "pixel size", 2.0, 1.0, REAL),
}


@pytest.fixture(scope="module")
def cases(oracle):
    """Each case with its input, EMAN2's answer and the text that asks for it; and what such a text names."""
    table, arrays = json.loads((oracle / "processors.json").read_text()), load_npz(oracle / "processors.npz")
    curve = np.column_stack([table["curve_x"], table["curve_y"]])
    known = {"CURVE": curve, **{name[3:]: arrays[name] for name in arrays if name.startswith("in_")}}
    load = lambda name: known[name] if name in known else np.loadtxt(oracle / name)
    return table, arrays, load


def text_of(case):
    """As a user types it: a transform is its numbers, a list has commas."""
    parts = [case["processor"]]
    for key, value in case["params"].items():
        if key == "transform":
            parts += [f"{k}={v}" for k, v in value.items() if k != "type"]
        else:
            parts.append(f"{key}=" + (",".join(map(str, value)) if isinstance(value, list) else str(value)))
    return ":".join(parts)


def family_of(name):
    return next((family for family in FAMILIES if name.startswith(family)), None)


def tolerance_of(case):
    """Of sigma."""
    fourier = (
        case["processor"].startswith("filter.")
        or case["processor"] == "math.fft.resample"
        or "fourieramp" in case["params"]
    )
    return FOURIER if fourier else REAL


def compare(case, table, arrays, load):
    """What is wrong, in words; '' for nothing. Of some maps every `step`-th plane is kept."""
    before = table["apix"][case["input"]]
    made, apix = apply(PROCESSORS.build(text_of(case), load), arrays["in_" + case["input"]], before)
    theirs = arrays[case["id"]]
    where = f"{case['id']} {text_of(case)}: "
    if made.shape != tuple(case["shape"]) or made.dtype != np.float32:
        return f"{where}{made.dtype} {made.shape}, EMAN2 {case['shape']}"
    error, wanted = np.abs(made[:: case["step"]] - theirs).max() / (case["sigma"] or 1), case.get("apix_out", before)
    different = DIFFERENT.get(case["id"])
    limit = different[-1] if different else tolerance_of(case)
    if error > limit:
        return f"{where}differs by {error:.2e} sigma, at most {limit:.0e}"
    if different and different[1] == "pixel size":
        _, _, ours, wrong, _ = different
        return "" if (apix, wanted) == (ours, wrong) else f"{where}pixel size {apix}, EMAN2 {wanted}"
    if different and error < tolerance_of(case):
        return f"{where}is no longer different"
    return "" if apix == pytest.approx(wanted, rel=1e-5) else f"{where}pixel size {apix}, EMAN2 {wanted}"


@pytest.mark.parametrize("family", FAMILIES)
def test_processors_are_those_of_eman2(cases, family):
    mine = [case for case in cases[0]["cases"] if family_of(case["processor"]) == family]
    assert mine
    wrong = [text for text in (compare(case, *cases) for case in mine) if text]
    assert not wrong, "\n".join(wrong)


def test_no_case_is_left_out(cases):
    names = {case["processor"] for case in cases[0]["cases"]}
    assert not [name for name in names if family_of(name) is None or name not in PROCESSORS]
    assert set(DIFFERENT) <= {case["id"] for case in cases[0]["cases"]}


def test_shifts_of_centring_are_those_of_eman2(cases):
    """Whole pixels, told from where the pixels went."""
    table, arrays, _ = cases
    for case in table["cases"]:
        if "shift" in case and float(case["shift"][0]).is_integer():
            moved = PROCESSORS.build("xform.translate.int:trans=" + ",".join(str(int(s)) for s in case["shift"]))
            made, _ = apply(PROCESSORS.build(text_of(case)), arrays["in_" + case["input"]], 1.0)
            np.testing.assert_array_equal(made, apply(moved, arrays["in_" + case["input"]], 1.0)[0], err_msg=case["id"])
