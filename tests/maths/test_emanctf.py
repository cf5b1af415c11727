"""EMAN2's CTF: text and mappings, curves that can be written down, and the way to the program's own model."""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.data.emanctf import EmanCTF
from mpirefine.errors import FormatError, ParameterError
from mpirefine.maths.eman2.ctf import amplitude_phase, ctf_image, curve, from_params, phase_flip, ring_curve, to_params
from mpirefine.maths.image.ctf import contrast_transfer

CTF = EmanCTF(1.5, 0.2, 30, 100, 10, 300, 2.7, 2.5, 0.01, (2.0, 1.0), (1.0, 0.5, 0.25))


def test_text_and_mapping():
    assert CTF.to_text() == "E1.5 0.200000003 30 100 10 300 2.700000048 2.5 0.009999999776 2,2,1 3,1,0.5,0.25"
    assert EmanCTF.from_header(CTF.to_text()).snr == CTF.snr
    assert EmanCTF.from_header({"__class__": "EMAN2Ctf", "defocus": 1, "snr": [1, 2]}) == EmanCTF(1.0, snr=(1.0, 2.0))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "O1 2 3",
        "E1 2 3",
        "E1 0 0 0 10 300 2.7 2 1 2,1 0",
        "Ex 0 0 0 10 300 2.7 2 1 0 0",
        "E1 0 0 0 10 0 2.7 2 1 0 0",
        "E1 0 0 0 10 300 2.7 -2 1 0 0",
        "Enan 0 0 0 10 300 2.7 2 1 0 0",
    ],
)
def test_what_is_no_ctf(text):
    with pytest.raises(FormatError):
        EmanCTF.from_text(text)


def test_mappings_that_are_no_ctf():
    for values in ({}, {"defocus": "much"}, {"defocus": 1, "snr": 3}):
        with pytest.raises(FormatError):
            EmanCTF.from_header(values)


def test_simple_curves():
    plain = EmanCTF(0.0, cs=0.0, ampcont=50, bfactor=100)
    np.testing.assert_allclose(curve(plain, "AMP", 3, 0.1), 0.5 * np.exp(-25 * np.array([0, 0.01, 0.04])))
    np.testing.assert_allclose(curve(CTF, "SNR", 4, 0.005), [1, 0.75, 0.5, 0.375])
    np.testing.assert_allclose(curve(CTF, "SNR", 2, 0.1)[1], 0.25)
    assert curve(CTF, "WIENER_FILTER", 2, 0.01)[1] == pytest.approx(1 / 3)
    assert ring_curve(CTF, "SNR", 32).shape == (16,)
    with pytest.raises(ParameterError, match="snr"):
        curve(EmanCTF(1.0), "SNR", 3, 0.1)
    with pytest.raises(ParameterError, match="AMP"):
        curve(CTF, "AMPL", 3, 0.1)


def test_phase_plates():
    """Beyond 100 % the phase goes on to 180°."""
    np.testing.assert_allclose(
        np.degrees(amplitude_phase([0, 50, 100, 150, 200, -50, -150])), [0, 30, 90, 150, 180, -30, -150], atol=1e-9
    )


def test_images_have_the_axis_of_astigmatism():
    one = ctf_image(replace(CTF, dfang=0), "AMP", 64)
    np.testing.assert_allclose(one[0], ctf_image(EmanCTF(1.6, 0, 0, 100, 10, 300, 2.7, 2.5), "AMP", 64)[0], atol=1e-12)
    np.testing.assert_allclose(
        one[:, 0], ctf_image(EmanCTF(1.4, 0, 0, 100, 10, 300, 2.7, 2.5), "AMP", 64)[:, 0], atol=1e-12
    )
    assert ctf_image(CTF, "SNR", 64)[0, 0] == 0


def test_flipping_twice_is_nothing(rng):
    images, round_ = rng.standard_normal((2, 32, 32)).astype(np.float32), replace(CTF, dfdiff=0)
    once = phase_flip(images, round_)
    np.testing.assert_allclose(phase_flip(once, round_), images, atol=1e-5)
    np.testing.assert_allclose(once[1], phase_flip(images[1], round_), atol=1e-6)
    assert np.abs(once - images).max() > 0.1


def test_the_programs_own_model_has_the_same_curve():
    ctfs = [
        CTF,
        EmanCTF(2.0, 0.3, -70, 50, 7, 200, 2.0, 2.5),
        EmanCTF(0.7, ampcont=150, apix=2.5),
        EmanCTF(0.7, ampcont=-40, apix=2.5),
    ]
    params = to_params(ctfs)
    fy, fx = np.fft.fftfreq(48, 2.5)[:, None], np.fft.rfftfreq(48, 2.5)[None]
    found = contrast_transfer(params, fx, fy)
    for i, ctf in enumerate(ctfs):
        np.testing.assert_allclose(found[i], ctf_image(ctf, "AMP", 48), atol=3e-3)  # EMAN2's wavelength is 4e-5 shorter
    back = from_params(params, 2.5)
    for ctf, again in zip(ctfs, back):
        np.testing.assert_allclose(
            [again.defocus, again.dfdiff, again.ampcont, again.bfactor],
            [ctf.defocus, ctf.dfdiff, ctf.ampcont, ctf.bfactor],
        )
    assert to_params(ctfs, flipped=True).flipped.all() and params.flipped is None
