"""Sets on which the program once went wrong without a word: refused by name, or refined like the set without fault."""

import numpy as np
import pytest

from mpirefine.storage.star import read_star
from tests.program.cases import PARTICLES, write_cases
from tests.program.small import command

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A folder for each case."""
    return write_cases(tmp_path_factory.mktemp("cases"))


def words(folder, name="particles.star", **more):
    """Of a run that takes seconds: coarse, one iteration."""
    flags = [part for key, value in more.items() for part in (f"--{key}", str(value))]
    return [
        "--input",
        folder / name,
        "--models",
        f"{folder / 'seed_0.mrc'},{folder / 'seed_1.mrc'}",
        "--targetres",
        "30",
        "--held-out",
        "0",
        "--maxshift",
        "4",
        "--iter",
        "1",
        *flags,
    ]


@pytest.mark.parametrize(
    "case, name, expected",
    [
        ("tenth_of_angstrom", "particles.star", ("3.2 Å", "256", "--apix")),
        ("one_magnification", "particles.star", ("row 58", "_rlnMagnification", "0.105887")),
        ("group_twice", "particles.star", ("_rlnVoltage", "200")),
        ("other_image_size", "particles.star", ("_rlnImageSize", "96", "32")),
        ("list_without_ctf", "all.lst", ("--no-ctf",)),
        ("dark", "particles.star", ("opticsGroup1", "--invert")),
    ],
)
def test_what_cannot_be_is_refused(cases, case, name, expected):
    done = command(*words(cases / case, name), "--check")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert all(text in done.stderr for text in expected), done.stderr


@pytest.fixture(scope="module")
def untouched(cases):
    """Labels of the set that nothing was done to."""
    done = command(*words(cases / "base", path=cases / "run"), timeout=300)
    assert done.returncode == 0, done.stderr
    return read_star(cases / "run/particles.star")["particles"].floats("rlnClassNumber")


@pytest.mark.parametrize(
    "case, name, expected",
    [
        ("half_counts", "particles.star", "not normalised"),
        ("counts_int16", "particles.star", "raw counts"),
        ("premultiplied", "particles.star", "normalised"),
        ("repeated", "repeated.star", f"{2 * PARTICLES} of {3 * PARTICLES} rows repeat an image"),
    ],
)
def test_what_can_be_read_gives_the_labels_of_the_untouched_set(cases, untouched, case, name, expected, tmp_path):
    done = command(*words(cases / case, name, path=tmp_path / "run"), timeout=300)
    assert done.returncode == 0 and expected in done.stdout + done.stderr, done.stdout + done.stderr
    found = read_star(tmp_path / "run/particles.star")["particles"].floats("rlnClassNumber")
    # three rows per image are another sample of the noise; a CTF applied twice wraps around in a small box
    least = 0.97 if case in ("repeated", "premultiplied") else 0.99
    assert (found == np.repeat(untouched, len(found) // len(untouched))).mean() >= least


def test_an_extended_header_that_is_not_there_does_no_harm(cases):
    done = command(*words(cases / "no_extended_header"), "--check")
    assert done.returncode == 0 and "extended header" in done.stdout, done.stderr


def test_axes_that_lie_elsewhere_are_told(cases):
    folder = cases / "twofold_on_y"
    done = command(
        "--input",
        folder / "particles.star",
        "--models",
        f"{folder / 'y_0.mrc'},{folder / 'y_1.mrc'}",
        "--sym",
        "d3",
        "--no-ctf",
        "--targetres",
        "30",
        "--check",
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0 and said.count("--align-sym turns it") == 2, said
