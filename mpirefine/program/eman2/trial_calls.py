"""Call each component once on small random data before any work, so that its errors appear at the start."""

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

SMALL = 16  # box of the map
IMAGES = 3
LEAST_VIEWS, MOST_VIEWS = 2, 200_000  # allowed numbers of views per map


@dataclass(frozen=True)
class Samples:
    """Small random inputs: images (pyx) with their CTFs, and a map (zyx)."""

    images: np.ndarray
    volume: np.ndarray
    ctfs: list[EmanCTF] | None
    about: About
    apix: float

    @classmethod
    def make(cls, nx: int, apix: float, ctf: bool) -> Samples:
        """Make images of `nx` pixels of `apix` Å, with CTFs if `ctf`."""
        rng = np.random.default_rng(0)
        images = rng.standard_normal((IMAGES, nx, nx)).astype(np.float32)
        volume = rng.standard_normal((SMALL,) * 3).astype(np.float32)
        ctfs = [with_flat_snr(EmanCTF(1.5 + 0.2 * i, apix=apix)) for i in range(IMAGES)] if ctf else None
        return cls(images, volume, ctfs, About(apix) if ctfs is None else About.of(ctfs, nx, apix), apix)


def list_calls(samples: Samples, ccc: Component | None, symmetry: str) -> dict[str, Callable[[Component], object]]:
    """The call that tries the component of each option; `ccc` is the comparator that aligners get."""
    images, volume, about, apix = samples.images, samples.volume, samples.about, samples.apix
    compared = ("simcmp", "simaligncmp", "simraligncmp", "classcmp", "classaligncmp", "classraligncmp")
    aligned = ("simalign", "simralign", "classalign", "classralign")
    return {
        **{name: lambda cmp: cmp(images, images[0], about) for name in compared},
        **{name: lambda aligner: aligner(images, images[0], ccc, about) for name in aligned},
        "classaverager": lambda averager: averager(images, samples.ctfs, apix),
        **{name: lambda processor: apply(processor, images[0], apix) for name in ("classnormproc", "m3dpreprocess")},
        "m3dpostprocess": lambda processor: apply(processor, volume, apix),
        "projector": lambda projector: projector(volume, np.eye(3)[None], None, apix),
        "recon": lambda reconstructor: reconstructor(SMALL, "c1"),
        "orientgen": lambda generator: check_views(generator, symmetry),
    }


def find_component_problems(
    built: Mapping[str, Component | None], flags: Mapping[str, str], nx: int, apix: float, symmetry: str, ctf: bool
) -> list[str]:
    """Problems of the components when they are called on random images (`nx` pixels of `apix` Å) and small maps.

    One line each, with the option's flag. `ctf`: the images have a CTF.
    """
    ccc, problems = built["simaligncmp"], []
    for name, call in list_calls(Samples.make(nx, apix, ctf), ccc, symmetry).items():
        component = built.get(name)
        if component is None or ccc is None and "align" in name:
            continue
        try:
            call(component)
        except (InputError, ParameterError) as error:
            problems += [f"{flags[name]}: {line}" for line in str(error).splitlines()]
        except (ValueError, IndexError, ZeroDivisionError) as error:
            problems.append(f"{flags[name]} {component.name}: fails with these parameters ({error})")
    return problems


def check_views(generator: Component, symmetry: str) -> None:
    """ParameterError when an orientation generator gives too few or too many views."""
    delta = generator.parameters.get("delta", 0.0)
    if delta and not 0.2 <= delta <= 90:
        raise ParameterError(f"a step of {delta:g} degrees: must be 0.2 to 90")
    views = len(generator(symmetry))
    if not LEAST_VIEWS <= views <= MOST_VIEWS:
        raise ParameterError(
            f"gives {views} views of {symmetry}, must be {LEAST_VIEWS} to {MOST_VIEWS}: change delta or n"
        )
