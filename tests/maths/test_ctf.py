"""Contrast transfer: analytic values, astigmatism, EMAN2's curves."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.maths.image.aberrations import even_phase
from mpirefine.maths.image.ctf import contrast_transfer, contrast_transfer_squared_orders, uneven, wavelength
from tests.arrays import load_npz

FIELDS = [field.name for field in fields(CTFParams)][:9]  # those that every particle has


def params(
    defocus_u=15000.0, defocus_v=None, angle=0.0, phase=0.0, bfactor=0.0, scale=1.0, kv=300.0, cs=2.7, amplitude=0.1
):
    values = (defocus_u, defocus_u if defocus_v is None else defocus_v, angle, phase, bfactor, scale, kv, cs, amplitude)
    return CTFParams(*(np.array([float(v)]) for v in values))


def test_wavelengths_of_the_textbook():
    np.testing.assert_allclose(wavelength(np.array([100.0, 200.0, 300.0])), [0.03701, 0.02508, 0.01969], atol=1e-5)


def test_values_that_can_be_written_down():
    s = np.array([0.0, 0.02, 0.05])
    gamma = np.pi * 0.0196875 * 15000 * s**2 - 0.5 * np.pi * 2.7e7 * 0.0196875**3 * s**4
    expected = np.sqrt(1 - 0.01) * np.sin(gamma) + 0.1 * np.cos(gamma)
    np.testing.assert_allclose(contrast_transfer(params(), s, 0 * s)[0], expected, atol=1e-3)
    assert contrast_transfer(params(), 0.0, 0.0)[0] == pytest.approx(0.1)
    assert contrast_transfer(params(phase=90), 0.0, 0.0)[0] == pytest.approx(np.sqrt(0.99), abs=1e-6)
    assert contrast_transfer(params(defocus_u=0, cs=0, bfactor=100, amplitude=1, scale=3), 0.1, 0.0)[
        0
    ] == pytest.approx(3 * np.exp(-0.25), rel=1e-6)


def test_astigmatism_has_its_axis():
    """Along `defocus_angle` (from +x, towards +y) the curve is that of defocus_u, across it that of defocus_v."""
    turned, s = np.radians(35), 0.06
    both = params(20000, 12000, 35)
    assert contrast_transfer(both, s * np.cos(turned), s * np.sin(turned))[0] == pytest.approx(
        contrast_transfer(params(20000), s, 0)[0], abs=1e-4
    )
    assert contrast_transfer(both, -s * np.sin(turned), s * np.cos(turned))[0] == pytest.approx(
        contrast_transfer(params(12000), s, 0)[0], abs=1e-4
    )


EVEN = (0.3, 20.0, -5.0, 40.0, 900.0)


def test_even_aberrations_against_the_formula_of_relion(rng):
    """RELION's CTF is −sin(its γ + offset), with its γ = −π λ Δf s² + ½ π Cs λ³ s⁴ − phase shift − asin w."""
    x, y = rng.uniform(-0.2, 0.2, (2, 40))
    many = CTFParams(*(np.repeat(getattr(params(), f), 3) for f in FIELDS))
    many = replace(many, even=np.array([1, 0, 2]), even_coefficients=((), EVEN, (0.0, 0.0)))
    lam, s2 = wavelength(300.0), x * x + y * y
    gamma = -np.pi * lam * 15000 * s2 + 0.5 * np.pi * 2.7e7 * lam**3 * s2**2 - np.arcsin(0.1)
    offset = even_phase(Lens("a", Grid(16, 1.0), even=EVEN), x, y)
    assert np.ptp(offset) > 1
    found = contrast_transfer(many, x, y)
    np.testing.assert_allclose(found, [-np.sin(gamma + offset), -np.sin(gamma), -np.sin(gamma)], atol=2e-5)
    np.testing.assert_array_equal(contrast_transfer(many.take([2, 0]), x, y), found[[2, 0]])
    assert uneven(many).tolist() == [True, False, False]


def test_turned_images_have_the_contrast_transfer_turned(rng):
    """At an angle of a turned image there is what was at that angle minus the turn; a mirror comes after it."""
    s, angle, turn = 0.1, np.linspace(0, np.pi, 30), np.array([0.7, -2.0])
    both = replace(params(16000, 12000, 50), even=np.zeros(1, int), even_coefficients=(EVEN,)).take([0, 0])
    found = contrast_transfer(both, s * np.cos(angle), s * np.sin(angle), turn=turn, mirror=np.array([False, True]))
    for p, own in enumerate((angle - 0.7, -angle + 2.0)):
        expected = contrast_transfer(both.take([p]), s * np.cos(own), s * np.sin(own))[0]
        np.testing.assert_allclose(found[p], expected, atol=1e-4)


@pytest.mark.parametrize("even", [(), EVEN])
def test_ring_averages(rng, even):
    grid, both = Grid(64, 4.0), params(16000, 15600, 50, bfactor=50)
    both = replace(both, even=np.zeros(1, int), even_coefficients=(even,))
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    for ring, mean in zip(
        (3, 15, 30), contrast_transfer_squared_orders(both, np.array([3, 15, 30]), grid, (0,))[0, :, 0].real
    ):
        fine = contrast_transfer(both, ring / 256 * np.cos(angle), ring / 256 * np.sin(angle)).astype(float)
        assert mean == pytest.approx((fine**2).mean(), abs=2e-3)


def test_curves_are_those_of_eman2(oracle):
    """Up to 0.15 %: its formula for the wavelength differs in the fifth digit."""
    images, compared = load_npz(oracle / "averagers.npz"), 0
    for case in json.loads((oracle / "ctf_curves.json").read_text())["cases"]:
        p = case["params"]
        if not 0 <= p["ampcont"] <= 100:
            continue  # phase shifts coded in the amplitude contrast
        mean, half = 1e4 * p["defocus"], 0.5e4 * p["dfdiff"]
        ours = params(
            mean + half,
            mean - half,
            p["dfang"],
            bfactor=p["bfactor"],
            kv=p["voltage"],
            cs=p["cs"],
            amplitude=p["ampcont"] / 100,
        )
        round_ = params(mean, bfactor=p["bfactor"], kv=p["voltage"], cs=p["cs"], amplitude=p["ampcont"] / 100)
        s = case["ds"] * np.arange(len(case["curves"]["CTF_AMP"]))
        np.testing.assert_allclose(contrast_transfer(round_, s, 0 * s)[0], case["curves"]["CTF_AMP"], atol=1.5e-3)
        theirs = images[case["curves_2d"]["CTF_AMP"]]
        n = len(theirs)
        fy, fx = Grid(n, p["apix"]).frequencies()
        np.testing.assert_allclose(contrast_transfer(ours, fx, fy)[0], theirs, atol=5e-3, err_msg=str(p))
        compared += 1
    assert compared == 8
