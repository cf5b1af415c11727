"""Components called once on something small before any work, so that what they refuse is told at the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.eman2.comparators.base import About
from mpirefine.maths.eman2.processors.catalogue import apply
from mpirefine.registry import Component
from mpirefine.steps.eman2.scores import with_flat_snr

SMALL = 16  # voxels of a map
IMAGES = 3
LEAST_VIEWS, MOST_VIEWS = 2, 200_000


def complaints(
    made: dict[str, Component | None], flags: dict[str, str], nx: int, apix: float, symmetry: str, ctf: bool
) -> list[str]:
    """What the components say when they are called on random images (nx pixels) and small maps; one line each, with the
    option's flag.
    """
    rng = np.random.default_rng(0)
    images = rng.standard_normal((IMAGES, nx, nx)).astype(np.float32)
    volume = rng.standard_normal((SMALL,) * 3).astype(np.float32)
    ctfs = [with_flat_snr(EmanCTF(1.5 + 0.2 * i, apix=apix)) for i in range(IMAGES)] if ctf else None
    about = About(apix) if ctfs is None else About.of(ctfs, nx, apix)
    turns = np.eye(3)[None]
    ccc = made["simaligncmp"]
    compared = ("simcmp", "simaligncmp", "simraligncmp", "classcmp", "classaligncmp", "classraligncmp")
    calls: dict[str, Callable[[Component], Any]] = {
        **{name: lambda one: one(images, images[0], about) for name in compared},
        **{
            name: lambda one: one(images, images[0], ccc, about)
            for name in ("simalign", "simralign", "classalign", "classralign")
        },
        "classaverager": lambda one: one(images, ctfs, apix),
        **{name: lambda one: apply(one, images[0], apix) for name in ("classnormproc", "m3dpreprocess")},
        "m3dpostprocess": lambda one: apply(one, volume, apix),
        "projector": lambda one: one(volume, turns, None, apix),
        "recon": lambda one: one(SMALL, "c1"),
        "orientgen": lambda one: counted(one, symmetry),
    }
    found = []
    for name, call in calls.items():
        one = made.get(name)
        try:
            if one is not None and (ccc is not None or "align" not in name):
                call(one)
        except (InputError, ParameterError) as error:
            found += [f"{flags[name]}: {line}" for line in str(error).splitlines()]
        except (ValueError, IndexError, ZeroDivisionError) as error:
            found.append(f"{flags[name]} {one.name}: cannot work with these parameters ({error})")
    return found


def counted(generator: Component, symmetry: str) -> None:
    """ParameterError when an orientation generator gives next to no views, or too many."""
    delta = generator.parameters.get("delta", 0.0)
    if delta and not 0.2 <= delta <= 90:
        raise ParameterError(f"a step of {delta:g} degrees: must be 0.2 to 90")
    views = len(generator(symmetry))
    if not LEAST_VIEWS <= views <= MOST_VIEWS:
        raise ParameterError(f"{views} views of {symmetry}: this is no search")
