"""The options of e2refinemulti: all are there, with EMAN2's types and, with a preset, its defaults; second spellings
and exclusions.
"""

import json

import pytest

from mpirefine.errors import ParameterError
from mpirefine.program import cli
from mpirefine.program.options import Options, add_to, option_types
from tests.conftest import DATA

DEFINED = json.loads((DATA / "eman2_options.json").read_text())
KINDS = {
    "flag": "bool",
    "int": "int",
    "str": "str",
    "float": "float",
    "float kDa": "str",
    "float Å": "float",
    "str kDa": "str",
    "int 1-7": "int",
}
# deliberate differences, each in docs/eman2.md: one value per map needs text, and what an unset option means
DIFFERENT_TYPES = {"apix": "float", "mass": "str"}
# not a plain value in the table: flags that are off, None, or said in words; and terminal output, folders and ranks,
# which are not EMAN2's
NO_DEFAULT = {
    "sym",
    "version",
    "help",
    "verbose",
    "check",
    "apix",
    "iter",
    "lowmem",
    "threads",
    "input",
    "path",
    "m3dpostprocess",
    "m3dsetsf",
    "automask3d",
}


def parse(*words):
    parser = cli.Parser()
    add_to(parser, full=True)
    return Options.typed(vars(parser.parse_args(words)))


@pytest.mark.parametrize("preset, least", [("eman2-2011", 49), ("eman2", 25)])
def test_every_option_with_its_type_and_default(preset, least):
    assert len(DEFINED[preset]) >= least
    parser = cli.Parser()
    add_to(parser, full=True)
    spellings = {o: a for a in parser._actions for o in a.option_strings}
    kinds = {name: kind.__name__ for name, kind in option_types().items()}
    extra = {} if preset == "eman2-2011" else {"model": "m.hdf", "randphase": True}
    options = Options.typed({"preset": preset, **extra})
    for short, name, kind, wanted in (row.values() for row in DEFINED[preset]):
        if name in ("version", "help"):
            continue
        assert f"--{name}" in spellings, name
        assert not short or f"-{short}" in spellings, (name, short)
        if kind:
            assert kinds[name] == DIFFERENT_TYPES.get(name, KINDS[kind]), name
        if name in NO_DEFAULT or name in ("model", "models", "nmodels", "randphase"):
            continue
        found = getattr(options, name)
        if wanted is None or wanted in ("0", "-1"):
            assert found in (None, False, 0, -1, "none"), name
        else:
            assert str(found) == str(wanted) or float(found) == float(wanted), name


def test_defaults_of_2011_that_need_more_than_a_value():
    options = parse("--preset", "eman2-2011", "--input", "p.lst")
    assert options.models == "threed.0a.mrc" and options.iter is None and options.mass is None
    assert parse("--preset", "eman2-2011", "--classkeep", "0.5").classkeep == 0.5


def test_short_spellings():
    options = parse("-c", "-v", "2", "-P", "thread:4", "--input", "p.lst", "--models", "a.hdf")
    assert options.check and options.verbose == 2 and options.parallel == "thread:4"
    assert options.idle == ("--parallel does nothing: mpirun sets the number of ranks",)
    assert options.by_classes == ()


@pytest.mark.parametrize(
    "words, named",
    [
        (["--simcmp", "ccc"], ("simcmp",)),
        (["--classkeep", "0.9", "--usefilt", "f.lst"], ("usefilt", "classkeep")),
        (["--speed", "5", "--breaksym"], ()),
    ],
)
def test_what_asks_for_class_averages(words, named):
    assert parse(*words).by_classes == named


def test_one_map_and_how_its_seeds_are_made():
    options = parse("--model", "a.hdf", "--mapfragment")
    assert (options.models, options.nmodels, options.seeds_from, options.model) == ("a.hdf", 2, "fragments", None)
    options = parse("--models", "a.hdf", "--nmodels", "3", "--randclassify")
    assert (options.nmodels, options.seeds_from) == (3, "random-subsets")


@pytest.mark.parametrize(
    "words, told",
    [
        (["--model", "a", "--randphase", "--mapfragment"], "give only one"),
        (["--model", "a", "--models", "b,c"], "leave one of them out"),
        (["--preset", "eman2", "--model", "a"], "one of --mapfragment, --randphase, --randclassify"),
        (["--models", "a", "--randphase"], "with --model"),
        (["--preset", "eman3"], "eman3"),
    ],
)
def test_what_excludes_each_other(words, told):
    with pytest.raises(ParameterError, match=told):
        parse(*words)


def test_second_spellings_of_automatic():
    options = parse("--sep", "-1", "--classiter", "-1", "--mass", "0")
    assert options.sep is options.classiter is options.mass is None
