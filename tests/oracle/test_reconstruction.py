"""Maps and slice agreements against EMAN2's reconstructors."""

import json

import numpy as np
import pytest

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.maths.eman2.reconstructors.agreement import measure_agreement
from mpirefine.maths.eman2.reconstructors.catalogue import RECONSTRUCTORS
from tests.arrays import load_npz

SIGMA = 1e-3
STEP = 3  # every third plane of a map is kept
VALUES = ("reconstruct_norm", "reconstruct_absqual", "reconstruct_absqual_lowres", "reconstruct_weight")


@pytest.fixture(scope="module")
def numbers(oracle):
    return json.loads((oracle / "reconstruction.json").read_text()), load_npz(oracle / "reconstruction.npz")


def edgemean(images):
    """EMAN2's normalize.edgemean: corner pixels count twice."""
    edges = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    images = images.astype(np.float64)
    return (images - edges.mean(axis=1, dtype=np.float64)[:, None, None]) / images.std(axis=(1, 2), ddof=1)[
        :, None, None
    ]


def rotations_of(orientations):
    return rotation_from_eman(*np.array(orientations, float).T)


def built(name, params):
    return RECONSTRUCTORS.build(":".join([name, *(f"{key}={value}" for key, value in params.items() if key != "sym")]))


def reconstructed(case, found, arrays):
    chosen = np.arange(len(arrays["slices"])) if case["slices"] == "all" else np.array(case["slices"])
    images = edgemean(arrays["slices"][chosen])
    margin = ((case["pad"] or images.shape[1]) - images.shape[1]) // 2
    images = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
    weights = (
        np.array(found["weights"])[chosen]
        if case["weights"] == "weights"
        else np.full(len(chosen), float(case["weights"]))
    )
    more = {}
    if case["trans_in_transform"]:
        more["shifts"] = np.tile(case["trans_in_transform"], (len(chosen), 1))
    if case["ctf_snr_total"]:
        more |= {
            "snr": np.array(found["ctf_snr_total"])[chosen],
            "filtered": np.full(len(chosen), bool(case["ctf_wiener_filtered"])),
        }
    maker = built(case["reconstructor"], case["params"])(case["size"], case["params"]["sym"])
    maker.insert(images, rotations_of(found["orientations"])[chosen], weights, **more)
    return maker.finish()


def test_maps(numbers):
    found, arrays = numbers
    for case in found["cases"]:
        ours, theirs = reconstructed(case, found, arrays), arrays[case["key"]]
        assert ours.dtype == np.float32 and ours.shape == tuple(case["shape"])
        assert np.abs(ours[::STEP] - theirs).max() < SIGMA * case["sigma"], case["key"]
    assert len(found["cases"]) >= 5


def agreement_cases(numbers, sub):
    found, arrays = numbers
    for case in found["slice_agreement"]:
        if case["sub"] == sub:
            images = edgemean(arrays[case["slices"]])
            values = np.array([[row[key] for key in VALUES] for row in case["values"]])
            yield case, images, rotations_of(case["orientations"]), np.array(case["weights"]), values, found["apix"]


def test_agreement_with_the_slice_in_the_map(numbers):
    tested = 0
    for case, images, rotations, weights, values, apix in agreement_cases(numbers, 0):
        maker = built("fourier", {"mode": case["mode"]})(images.shape[1], case["sym"])
        maker.insert(images, rotations, weights)
        ours = np.stack(measure_agreement(maker, images, rotations, weights, apix, leave_out=False), axis=1)
        np.testing.assert_allclose(ours, values, rtol=1e-3, err_msg=f"{case['sym']} {case['mode']}")
        tested += 1
    assert tested


def test_subtraction_in_eman2_adds_the_slice_again(numbers):
    """With subtraction EMAN2 inserts the slice once more, weighted by its class_ssnr, and then once more by its weight:
    followed here step by step.

    A deliberate difference: `agreement` takes the slice out. First slice of the c1 case: norm 1.241, quality 0.857
    (EMAN2) against 0.843, 0.954.
    """
    for case, images, rotations, weights, values, apix in agreement_cases(numbers, 1):
        rings = np.arange(images.shape[1] // 2 + 1)
        assert case["class_ssnr"] == f"2*exp(-k*k/40), k=0..{rings[-1]}"
        plain, by_ssnr = (
            built("fourier", {"mode": case["mode"], **more})(images.shape[1], case["sym"])
            for more in ({}, {"usessnr": 1})
        )
        plain.insert(images, rotations, weights)
        honest = measure_agreement(plain, images, rotations, weights, apix)
        by_ssnr.numerator, by_ssnr.weight = plain.sums
        found = []
        for one in (slice(i, i + 1) for i in range(len(images))):
            by_ssnr.insert(images[one], rotations[one], weights[one], snr=2 * np.exp(-(rings[None] ** 2) / 40))
            found.append(
                np.concatenate(
                    measure_agreement(plain, images[one], rotations[one], weights[one], apix, leave_out=False)
                )
            )
            plain.insert(images[one], rotations[one], weights[one])
        np.testing.assert_allclose(found, values, rtol=1e-3)
        if case["sym"] == "c1" and len(images) == 30:
            assert [honest.norm[0], honest.quality[0]] == pytest.approx([0.843, 0.954], abs=1e-3)
