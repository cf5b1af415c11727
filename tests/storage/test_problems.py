"""Errors and the collector of problems: all of them at once, each on a line of its own."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from mpirefine.errors import FormatError, InputError, ParameterError, Problems, StorageFailure


def test_problems_are_collected_and_raised_together():
    problems = Problems()
    problems.raise_if_any()
    assert not problems
    problems.add("first", "second")
    with problems.collect("row 3: "):
        raise FormatError("bad", "worse")
    with problems.collect():
        raise ParameterError("unknown\nmissing")
    with pytest.raises(InputError) as caught:
        problems.raise_if_any()
    assert caught.value.problems == ("first", "second", "row 3: bad", "row 3: worse", "unknown", "missing")
    assert str(caught.value).splitlines() == list(caught.value.problems)
    with pytest.raises(ParameterError, match="first"):
        problems.raise_if_any(ParameterError)


def test_other_errors_are_not_collected():
    for kind in (StorageFailure, OSError, ZeroDivisionError):
        with pytest.raises(kind), Problems().collect():
            raise kind("x")


def test_rows_are_named_and_counted():
    problems = Problems()
    for rows in (np.zeros(0, int), np.array([4]), np.arange(5), np.arange(7)):
        problems.add_rows(Path("p.star"), rows, "wrong")
    assert problems.texts == [
        "p.star: row 5: wrong",
        "p.star: rows 1, 2, 3, 4, 5: wrong",
        "p.star: rows 1, 2, 3, 4, 5 and 2 more: wrong",
    ]


@pytest.mark.parametrize("count, lines", [(3, 3), (4, 4)])
def test_only_the_first_are_shown(count, lines):
    problems = Problems(most=3)
    problems.add(*map(str, range(count)))
    with pytest.raises(InputError) as caught:
        problems.raise_if_any()
    assert len(caught.value.problems) == lines
    assert (caught.value.problems[-1] == "... and 1 more problems") == (count > 3)


def test_errors_travel_between_ranks():
    error = InputError("first", "second")
    error.on_all_ranks = True
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is InputError and again.problems == ("first", "second") and again.on_all_ranks
