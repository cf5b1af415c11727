"""Components called once on something small before any work, so that what they refuse is told at the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Samples:
    """Small random inputs: images (n, y, x) with their CTFs, and a map (z, y, x)."""

    images: np.ndarray
    volume: np.ndarray
    ctfs: list[EmanCTF] | None
    about: About
    apix: float

    @classmethod
    def make(cls, nx: int, apix: float, ctf: bool) -> Samples:
        """Images of `nx` pixels of `apix` Å."""
        rng = np.random.default_rng(0)
        images = rng.standard_normal((IMAGES, nx, nx)).astype(np.float32)
        volume = rng.standard_normal((SMALL,) * 3).astype(np.float32)
        ctfs = [with_flat_snr(EmanCTF(1.5 + 0.2 * i, apix=apix)) for i in range(IMAGES)] if ctf else None
        return cls(images, volume, ctfs, About(apix) if ctfs is None else About.of(ctfs, nx, apix), apix)


def trial_calls(samples: Samples, ccc: Component | None, symmetry: str) -> dict[str, Callable[[Component], object]]:
    """How the component of each option is called; `ccc` is the comparator that aligners are called with."""
    images, volume, about, apix = samples.images, samples.volume, samples.about, samples.apix
    compared = ("simcmp", "simaligncmp", "simraligncmp", "classcmp", "classaligncmp", "classraligncmp")
    aligned = ("simalign", "simralign", "classalign", "classralign")
    return {
        **{name: lambda one: one(images, images[0], about) for name in compared},
        **{name: lambda one: one(images, images[0], ccc, about) for name in aligned},
        "classaverager": lambda one: one(images, samples.ctfs, apix),
        **{name: lambda one: apply(one, images[0], apix) for name in ("classnormproc", "m3dpreprocess")},
        "m3dpostprocess": lambda one: apply(one, volume, apix),
        "projector": lambda one: one(volume, np.eye(3)[None], None, apix),
        "recon": lambda one: one(SMALL, "c1"),
        "orientgen": lambda one: check_views(one, symmetry),
    }


def complaints(
    built: Mapping[str, Component | None], flags: Mapping[str, str], nx: int, apix: float, symmetry: str, ctf: bool
) -> list[str]:
    """What components say when they are called on random images (nx pixels of `apix` Å) and small maps.

    One line each, with the option's flag; `ctf`: images have one.
    """
    ccc, found = built["simaligncmp"], []
    for name, call in trial_calls(Samples.make(nx, apix, ctf), ccc, symmetry).items():
        component = built.get(name)
        if component is None or ccc is None and "align" in name:
            continue
        try:
            call(component)
        except (InputError, ParameterError) as error:
            found += [f"{flags[name]}: {line}" for line in str(error).splitlines()]
        except (ValueError, IndexError, ZeroDivisionError) as error:
            found.append(f"{flags[name]} {component.name}: cannot work with these parameters ({error})")
    return found


def check_views(generator: Component, symmetry: str) -> None:
    """ParameterError when an orientation generator gives next to no views, or too many."""
    delta = generator.parameters.get("delta", 0.0)
    if delta and not 0.2 <= delta <= 90:
        raise ParameterError(f"a step of {delta:g} degrees: must be 0.2 to 90")
    views = len(generator(symmetry))
    if not LEAST_VIEWS <= views <= MOST_VIEWS:
        raise ParameterError(
            f"gives {views} views of {symmetry}; allowed are {LEAST_VIEWS} to {MOST_VIEWS}: change delta or n"
        )
