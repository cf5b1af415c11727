"""What docs/architecture.md says of adding things works as it stands there."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest

from mpirefine.maths.eman2.comparators.base import CMPS, About, pairwise
from mpirefine.maths.eman2.comparators.catalogue import CMPS as ALL_CMPS
from mpirefine.maths.eman2.processors.base import PROCESSORS, single
from mpirefine.maths.eman2.processors.catalogue import apply
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.state import Context, Noise
from mpirefine.storage.image_file import MrcImages
from tests.conftest import ROOT

TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
NAMES = dict(
    np=np,
    PROCESSORS=PROCESSORS,
    single=single,
    CMPS=CMPS,
    pairwise=pairwise,
    About=About,
    dataclass=dataclass,
    replace=replace,
    LikelihoodState=LikelihoodState,
    Context=Context,
    MrcImages=MrcImages,
)


@pytest.fixture(scope="module")
def added():
    """The names that the code blocks of the document define."""
    names = dict(NAMES)
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(block, names)
    yield names
    for registry, name in ((PROCESSORS, "math.negate"), (CMPS, "manhattan")):
        registry._functions.pop(name, None)


def test_a_processor(added):
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    result, apix = apply(PROCESSORS.build("math.negate:factor=2"), image, 3.0)
    np.testing.assert_array_equal(result, -2 * image)
    assert apix == 3.0 and "Turned contrast" in PROCESSORS.describe(verbose=True)


def test_a_comparator(added):
    images = np.stack([np.zeros((4, 4)), np.ones((4, 4)), np.full((4, 4), 3.0)]).astype(np.float32)
    np.testing.assert_allclose(ALL_CMPS.build("manhattan:power=2")(images, images[1], About()), [1, 0, 4])


def test_a_step(added):
    state = LikelihoodState(1, Noise(np.ones((1, 3)), np.ones(1)), (2,), np.zeros(2, np.int8), np.ones(2), np.ones(2))
    assert added["HalveTrust"]().run(state, None).trust.tolist() == [0.5, 0.5]


def test_an_image_format(added, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(3, 2, 2))
    with added["NumpyImages"](tmp_path / "x.npy") as file:
        assert file.count == 3 and file.shape == (2, 2)
        np.testing.assert_array_equal(file.read([2])[0], [[8, 9], [10, 11]])


def test_every_file_that_is_named_is_there():
    """In the documents, relative to the package or the project."""
    for name in (
        "docs/architecture.md",
        "docs/method.md",
        "docs/performance.md",
        "docs/accuracy.md",
        "docs/formats.md",
        "CONTRIBUTING.md",
    ):
        for path in re.findall(
            r"`((?:[a-z0-9_]+/)+[a-z0-9_]+(?:/|\.[a-z]+)?)`", (ROOT / name).read_text(encoding="utf-8")
        ):
            there = (
                (ROOT / path).exists()
                or (ROOT / "mpirefine" / path).exists()
                or path.split("/")[0] in (*OUTPUTS, *CRYOSPARC)
            )
            assert there, f"{name}: {path}"


OUTPUTS = ("sets", "iterations", "report")  # folders of a run
CRYOSPARC = ("blob", "ctf", "alignments3D", "location")  # columns of its tables, which are named like files
