"""The grammar of components, their parameters, and what errors say."""

import numpy as np
import pytest

from mpirefine.errors import ParameterError
from mpirefine.registry import Registry, Spec

things = Registry("thing")


@things.register("make.square", "make.box")
def square(
    image: np.ndarray,
    *,
    size: int,
    soft: bool = False,
    width: float | None = None,
    to: np.ndarray | None = None,
    name: str = "x",
):
    """A square of `size` pixels.

    `soft` softens, over `width` pixels; `to` is an image; `name` a word.
    """
    return image, size, soft, width, to, name


@pytest.mark.parametrize(
    "text, values",
    [
        ("a", {}),
        ("a:b=1", {"b": "1"}),
        ("a:b=c=d", {"b": "c=d"}),
        ('a:b="c d"', {"b": "c d"}),
        (" a:b=1:c=2 ", {"b": "1", "c": "2"}),
    ],
)
def test_what_is_typed(text, values):
    assert Spec.parse(text) == ("a", values)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "name:key=value"),
        (":b=1", "name:key=value"),
        ("a:b", "'b' is not key=value"),
        ("a:=1", "not key=value"),
        ("a:b=", "not key=value"),
        ("a:b=1:b=2", "b is given twice"),
        ("a:b=1:", "not key=value"),
    ],
)
def test_bad_grammar(text, message):
    with pytest.raises(ParameterError, match=message):
        Spec.parse(text)


def test_parameters_become_their_types():
    made = things.build(
        "make.square:size=4:soft=true:width=2:to=mean.mrc:name=n", load=lambda name: np.full(2, len(name))
    )
    image, size, soft, width, to, name = made("image")
    assert (image, size, soft, name) == ("image", 4, True, "n") and type(size) is int
    assert type(width) is float and width == 2 and to.tolist() == [8, 8]
    assert things.build("make.box:size=4")("i")[2:] == (False, None, None, "x")


@pytest.mark.parametrize(
    "text, message",
    [
        ("make.sqare:size=1", "unknown thing 'make.sqare': did you mean make.square"),
        ("q", "it is one of make.box, make.square"),
        ("make.square", "needs size: make.square:size="),
        ("make.square:size=1:sise=2", "no parameter 'sise': it takes: size, soft, width, to, name"),
        ("make.square:size=1.5", "size=1.5: must be int"),
        ("make.square:size=a", "must be int"),
        ("make.square:size=1:soft=2", "must be bool"),
        ("make.square:size=1:width=nan", "must be float"),
        ("make.square:size=1:to=a.mrc", "none can be read here"),
    ],
)
def test_errors_name_the_choices(text, message):
    with pytest.raises(ParameterError, match=message):
        things.build(text)


def test_nothing_and_none_are_no_component():
    assert things.build_optional(None) is things.build_optional("") is things.build_optional("None") is None
    assert things.build_optional("make.square:size=1").parameters == {"size": 1}


def test_help():
    assert things.describe().splitlines() == [
        "make.box     A square of `size` pixels.",
        "make.square  A square of `size` pixels.",
    ]
    assert "make.square:size=<int>:soft=False:width=<float>:to=<file>:name=x" in things.describe(verbose=True)


def test_traits_are_declared_and_may_depend_on_a_parameter():
    registry = Registry("thing")

    @registry.register("turn", moves=True, mirrors="flip", scales=False)
    def turn(image, *, flip: bool = True):
        return image, flip

    assert registry.build("turn").traits == {"moves", "mirrors"}
    assert registry.build("turn:flip=0").traits == {"moves"}
    assert registry.build("turn").value("flip") is True and registry.build("turn").value("size") is None
