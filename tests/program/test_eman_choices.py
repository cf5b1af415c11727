"""What is chosen automatically and refused where comparators and class averages are asked for, before any work is
done.
"""

import numpy as np
import pytest

from mpirefine.data.grid import Grid
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.image.resampling import good_box
from mpirefine.program.eman2 import components, presets
from mpirefine.program.options import Options
from mpirefine.program.start import defaults
from mpirefine.program.validation import validate
from mpirefine.storage.images import write_images

GRID = Grid(128, 2.0)


def resolved(ctf=True, **given):
    options = Options.typed({"input": "p.lst", "models": "a.hdf", **given})
    return presets.choose(defaults.resolve(options, GRID, 1).options, GRID, ctf)


@pytest.mark.parametrize(
    "nx, apix, targetres, speed, step",
    [
        (128, 2.0, 12.0, 5, 89.99 / 11),
        (64, 4.0, 12.0, 5, 89.99 / 13),
        (256, 1.0, 12.0, 1, 89.99 / 21),
        (256, 1.0, 3.0, 7, 89.99 / 20),
    ],
)
def test_the_angular_step_is_eman2s(nx, apix, targetres, speed, step):
    """810 / ((speed + 3) √(4300 / B)), B the box or what the target needs of it: 42.7 of 128 for 12 Å at 2 Å a
    pixel.
    """
    assert presets.angular_step(nx, apix, targetres, speed) == pytest.approx(step)


def test_good_boxes():
    assert [good_box(n) for n in (40, 80, 85.0, 127, 160.5)] == [40, 80, 90, 128, 162]


def test_maps_are_flattened_before_their_filter_as_eman2_does(tmp_path, monkeypatch):
    """With the preset, for particles with a CTF, unless there is a structure factor or a processor is given."""
    monkeypatch.chdir(tmp_path)
    assert resolved(preset="eman2")[0].m3dpostprocess == "filter.lowpass.autob"
    assert resolved(ctf=False, preset="eman2")[0].m3dpostprocess is None
    assert resolved(simcmp="ccc")[0].m3dpostprocess is None
    assert resolved(preset="eman2", m3dpostprocess="mask.sharp")[0].m3dpostprocess == "mask.sharp"
    (tmp_path / "strucfac.txt").write_text("0.01 1\n")
    found, told = resolved(preset="eman2")
    assert found.m3dpostprocess is None and found.m3dsetsf and any("--m3dsetsf" in line for line in told)


def test_rules_of_eman2_follow_target_and_ctf():
    fine, _ = resolved(preset="eman2", targetres=6.0, mass="500")
    assert (fine.simcmp, fine.simraligncmp) == ("frc:snrweight=1:maxres=7", "frc:zeromask=1:snrweight=1")
    assert (fine.classcmp, fine.classraligncmp, fine.classaverager) == (
        "frc:snrweight=1",
        "frc:snrweight=1:zeromask=1",
        "ctfw.auto",
    )
    assert (fine.classiter, fine.sep, fine.pad, fine.shrinks1) == (1, 1, 160, 2)
    coarse, told = resolved(preset="eman2", targetres=20.0, speed=2)
    assert (coarse.simcmp, coarse.classraligncmp, coarse.classaverager, coarse.classiter, coarse.sep) == (
        "frc:maxres=20",
        "ccc",
        "mean",
        3,
        4,
    )
    assert any("e2refinemulti's rule" in line for line in told)
    blind, _ = resolved(ctf=False, preset="eman2", targetres=6.0)
    assert (blind.simcmp, blind.classcmp, blind.classaverager) == ("frc:maxres=6", "ccc", "mean")


def test_own_choices_without_a_preset():
    own, _ = resolved(classkeep=0.7)
    assert (own.simcmp, own.classaverager, own.classkeep, own.sep, own.held_out) == (
        "likelihood:maxres=12",
        "ctfw.auto",
        0.7,
        1,
        0.0,
    )


@pytest.mark.parametrize(
    "given, first", [(dict(), 2), (dict(twostage=3), 3), (dict(twostage=1), 1), (dict(twostage=2, shrinks1=4), 4)]
)
def test_the_first_search(given, first):
    options, _ = resolved(classkeep=0.9, **given)
    assert components.make_choices(options, GRID, True).search.first == first
    assert components.make_choices(resolved(preset="eman2-2011", iter=2)[0], GRID, True).search.first == 0


@pytest.mark.parametrize(
    "given, told",
    [
        (dict(simcmp="frq"), "--simcmp: unknown comparator 'frq': did you mean frc"),
        (dict(simalign="none"), "--simalign none: a component is required"),
        (dict(simcmp="frc:snrwieght=1"), "--simcmp: frc has no parameter 'snrwieght'"),
        (dict(simmask="none.hdf"), "none.hdf: cannot be read"),
        (dict(m3dsetsf=True), "--m3dsetsf: strucfac.txt is missing"),
        (dict(recon="wiener_fourier", classaverager="mean"), "--recon wiener_fourier: needs the SNR of class averages"),
        (dict(orientgen="saff:delta=9", breaksym=True), "--breaksym: --orientgen saff gives no copies"),
        (dict(orientgen="eman:delta=0"), "--orientgen"),
        (dict(orientgen="eman:delta=400"), "--orientgen: a step of 400 degrees"),
        (dict(recon="fourier:mode=gauss_7"), "--recon: unknown reconstruction mode 'gauss_7'"),
        (dict(projector="gauss_fft:mode=9"), "--projector"),
        (dict(classnormproc="mask.soft:outer_radius=-5:to=x"), "--classnormproc: mask.soft has no parameter 'to'"),
        (dict(ctf=False, simcmp="frc:snrweight=1"), "--simcmp frc: weighting by SNR or CTF needs particles with a CTF"),
        (dict(ctf=False, classaverager="ctf.auto"), "--classaverager ctf.auto: the particles have no CTF"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(tmp_path, monkeypatch, given, told):
    monkeypatch.chdir(tmp_path)
    ctf = given.get("ctf", True)
    options, _ = resolved(**given)
    with pytest.raises(InputError) as error:
        components.make_choices(options, GRID, ctf)
    assert told in str(error.value)


def test_all_complaints_at_once():
    with pytest.raises(InputError) as error:
        components.make_choices(resolved(simcmp="a", recon="b", m3dpreprocess="c")[0], GRID, True)
    assert len(error.value.problems) == 3


def test_a_mask_must_fit(tmp_path):
    write_images(tmp_path / "m.hdf", [np.ones((64, 64), np.float32)], 2.0)
    with pytest.raises(InputError, match="64 x 64 pixels, the particles have 128 x 128"):
        components.make_choices(resolved(simmask=str(tmp_path / "m.hdf"))[0], GRID, True)


def test_the_structure_factor_of_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savetxt("strucfac.txt", [[0.01, 5.0], [0.2, 1.0]])
    now, told = resolved(preset="eman2")
    assert now.m3dsetsf and any("strucfac.txt" in line for line in told)
    assert components.make_choices(now, GRID, True).maps.structure_factor.tolist() == [[0.01, 5.0], [0.2, 1.0]]
    assert not resolved(classkeep=0.9)[0].m3dsetsf


@pytest.mark.parametrize(
    "given, told",
    [
        (dict(preset="eman2-2011"), "--iter is missing"),
        (dict(classkeep=1.5), "--classkeep 1.5: a share"),
        (dict(m3dkeep=0.0), "--m3dkeep 0: a share"),
        (dict(speed=9), "--speed 9: must be 7 or less"),
    ],
)
def test_values_out_of_range(given, told):
    with pytest.raises(ParameterError, match=told):
        validate(Options.typed({"input": "p.lst", "models": "a.hdf", **given}))


@pytest.mark.parametrize(
    "given, told",
    [
        (dict(twostage=0, shrinks1=4), "--shrinks1 does nothing: --twostage 0"),
        (dict(m3diter=1, m3dkeep=0.5), "--m3dkeep does nothing"),
        (dict(simralign="none", simraligncmp="frc"), "--simraligncmp does nothing"),
        (dict(twostage=2, shrinks1=4), "--twostage does nothing: --shrinks1"),
    ],
)
def test_options_that_others_leave_nothing_to_do(given, told):
    (line,) = Options.typed(dict(input="p", models="a", **given)).useless
    assert line.startswith(told)


@pytest.mark.parametrize("mass", ["-5", "100,nan", "0,300"])
def test_masses_are_positive(mass):
    with pytest.raises(InputError, match="each must be more than 0 kDa"):
        defaults.resolve(Options.typed(dict(input="p", models="a,b", mass=mass)), GRID, 2)


def test_options_that_do_nothing_say_so():
    options = Options.typed(
        dict(
            input="p",
            models="a",
            classkeep=0.9,
            maxshift=4.0,
            threads=2,
            local=10.0,
            parallel="thread:4",
            nomirror=True,
        )
    )
    assert sorted(options.not_by_classes) == ["local", "maxshift"]
    assert [line.split()[0] for line in options.idle] == ["--parallel", "--nomirror"]


def test_no_more_projections_than_there_are(tmp_path):
    """29 directions of each map: 25 of a half sphere every 30 degrees and 4 of d4."""
    options = Options.typed(
        dict(input="p.lst", models="a.hdf,b.hdf", preset="eman2", sym="c1,d4", sep=60, orientgen="eman:delta=30")
    )
    known = defaults.resolve(options, GRID, 2)
    with pytest.raises(InputError, match="--sep 60: --orientgen eman gives [0-9]+ projections"):
        components.choose_components(known, GRID, None, options)
    fewer = Options.typed(
        dict(input="p.lst", models="a.hdf,b.hdf", preset="eman2", sym="c1,d4", sep=20, orientgen="eman:delta=30")
    )
    components.choose_components(defaults.resolve(fewer, GRID, 2), GRID, None, fewer)


def test_what_back_projection_cannot_do_is_said():
    typed = Options.typed({"input": "p.lst", "models": "a.hdf", "recon": "back_projection"})
    begun = defaults.resolve(typed, GRID, 1)
    told, choices = components.choose_components(begun, GRID, None, typed)
    assert not choices.maps.compares
    assert any("it makes one pass of all of them, --m3diter, --m3dkeep do nothing" in line for line in told.reasons)
