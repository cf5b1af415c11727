"""Sets on which the program once went wrong without a word, made by a simulator of their own (beside the checkout)."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mpirefine.storage.star import read_star
from tests.program.small import ROOT, clean_environment, command


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A folder for each case."""
    folder = Path(os.environ.get("MPIREFINE_SHARED", ROOT.parent / "shared")) / "cases"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: the cases are not shipped")
    out = tmp_path_factory.mktemp("cases")
    subprocess.run(
        [sys.executable, "-W", "ignore", folder / "make_cases.py", out],
        check=True,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
    )
    return out


def words(folder, name="particles.star", **more):
    """Of a run that takes seconds: coarse, one iteration."""
    flags = [part for key, value in more.items() for part in (f"--{key}", str(value))]
    return [
        "--input",
        folder / name,
        "--models",
        f"{folder / 'seed_0.mrc'},{folder / 'seed_1.mrc'}",
        "--targetres",
        "48",
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
        ("tenth_of_angstrom", "particles.star", ("6.4 Å", "419", "--apix")),
        ("one_magnification", "particles.star", ("row 58", "_rlnMagnification", "0.105887")),
        ("group_twice", "particles.star", ("_rlnVoltage", "200")),
        ("other_image_size", "particles.star", ("_rlnImageSize", "96", "64")),
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
        ("repeated", "repeated.star", "480 of 720 rows repeat an image"),
    ],
)
def test_what_can_be_read_gives_the_labels_of_the_untouched_set(cases, untouched, case, name, expected, tmp_path):
    done = command(*words(cases / case, name, path=tmp_path / "run"), timeout=300)
    assert done.returncode == 0 and expected in done.stdout + done.stderr, done.stdout + done.stderr
    found = read_star(tmp_path / "run/particles.star")["particles"].floats("rlnClassNumber")
    # what is on three rows has another sample of noise, which at this resolution decides for a few
    assert (found == np.repeat(untouched, len(found) // len(untouched))).mean() >= (
        0.97 if case == "repeated" else 0.99
    )


def test_an_extended_header_that_is_not_there_does_no_harm(cases):
    done = command(*words(cases / "no_extended_header"), "--check")
    assert done.returncode == 0 and "extended header" in done.stdout, done.stderr


def test_axes_that_lie_elsewhere_are_told(cases):
    folder = cases / "twofold_on_y"
    done = command(
        "--input",
        folder / "set/particles.star",
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
