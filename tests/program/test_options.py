"""Options: one declaration makes the command line, its checks and the JSON; automatic values have reasons."""

import argparse
from dataclasses import fields

import pytest

from mpirefine.data.grid import Grid
from mpirefine.errors import InputError, ParameterError
from mpirefine.program import cli
from mpirefine.program.declaration import flag_of
from mpirefine.program.options import Options, add_to, option_types
from mpirefine.program.start import defaults
from mpirefine.program.validation import validate

GRID = Grid(64, 4.0)
BASIC = dict(input="p.star", models="a.mrc,b.mrc")


def parse(*words):
    parser = cli.Parser()
    add_to(parser, full=True)
    return Options(**vars(parser.parse_args(words)))


def test_every_option_has_help_and_a_type():
    for one in fields(Options):
        assert len(one.metadata["text"]) > 10, one.name
        assert one.default is None or isinstance(one.default, option_types()[one.name]), one.name


def test_help_shows_the_dozen_that_matter():
    short, full = argparse.ArgumentParser(), argparse.ArgumentParser()
    add_to(short, full=False)
    add_to(full, full=True)
    assert short.format_help().count("\n  --") <= 14
    assert all(flag_of(one.name) in full.format_help() for one in fields(Options))


def test_values_come_back_from_the_command_line_and_from_json():
    options = parse(
        "--input",
        "p.star",
        "--models",
        "a.mrc",
        "--nmodels",
        "3",
        "--mass",
        "100,200,300",
        "--lowmem",
        "--targetres",
        "9.5",
    )
    assert options == Options(input="p.star", models="a.mrc", nmodels=3, mass="100,200,300", lowmem=True, targetres=9.5)
    assert Options.from_json(options.to_json()) == options


def test_json_of_another_version():
    with pytest.raises(ParameterError, match="wobble"):
        Options.from_json('{"input": "x", "wobble": 1}')


@pytest.mark.parametrize(
    "words, told",
    [
        (["--itre", "3"], "did you mean --iter"),
        (["--zzz"], "unknown option --zzz"),
        (["--iter", "many"], "--iter.*many"),
        (["--assign", "both"], "assign.*both"),
        (["--iter"], "expected one argument"),
    ],
)
def test_wrong_words(words, told):
    with pytest.raises(ParameterError, match=told):
        parse(*words)


def test_wrong_values_are_told_together():
    with pytest.raises(ParameterError) as error:
        validate(parse("--iter", "0", "--sep", "0", "--models", "a.mrc"))
    assert [line.split()[0] for line in str(error.value).splitlines()] == ["--input", "--iter", "--sep"]


def test_not_a_number_is_out_of_range():
    with pytest.raises(ParameterError, match="--targetres nan"):
        validate(parse("--input", "p", "--models", "m", "--targetres", "nan"))


def test_automatic_values_and_their_reasons():
    found = defaults.resolve(Options(**BASIC), GRID, 2)
    assert found.options.targetres == pytest.approx(12.0)
    assert found.options.maxshift == 5
    assert found.symmetries == ("c1", "c1") and found.mass is None
    assert len(found.reasons) == 3 and all(
        name in " ".join(found.reasons) for name in ("--targetres", "--maxshift", "temperature")
    )
    several = defaults.resolve(Options(models="a.mrc", nmodels=4), GRID, 1).options
    assert several.temperature > 1 and several.iter > found.options.iter == 8


def test_values_given_are_kept():
    numbers = dict(iter=8, sep=3, targetres=20.0, maxshift=3.0, temperature=2.0, box=GRID.nx)
    given = Options(**BASIC, **numbers, sym="C3,icos", mass="10,20")
    found = defaults.resolve(given, GRID, 2)
    assert (found.options, found.symmetries, found.mass, found.reasons) == (given, ("c3", "icos"), (10.0, 20.0), ())


@pytest.mark.parametrize(
    "changes, told",
    [
        (dict(sym="c1,c2,c3"), "--sym has 3 values for 2 maps"),
        (dict(sym="q7"), "q7"),
        (dict(mass="heavy"), "--mass heavy"),
        (dict(nmodels=3), "--nmodels 3"),
        (dict(targetres=2.0), "Nyquist"),
        (dict(maxshift=30.0), "quarter of the box"),
    ],
)
def test_what_cannot_be_is_told(changes, told):
    with pytest.raises(InputError, match=told):
        defaults.resolve(Options(**{**BASIC, **changes}), GRID, 2)


def test_all_complaints_at_once():
    with pytest.raises(InputError) as error:
        defaults.resolve(Options(**BASIC, sym="q7", mass="heavy", targetres=2.0), GRID, 2)
    assert len(error.value.problems) == 3
