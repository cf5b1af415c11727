"""EMAN2's way, from options to what its steps need: every component built once, on rank 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.errors import InputError, Problems
from mpirefine.maths.eman2.class_averaging import Rounds
from mpirefine.maths.eman2.similarity import CCC, Comparison, Search
from mpirefine.program.catalogue import build, build_optional, load
from mpirefine.program.eman2 import presets
from mpirefine.program.eman2.trial_calls import complaints
from mpirefine.program.options import Options, flag_of
from mpirefine.program.start.defaults import Resolved
from mpirefine.registry import Component
from mpirefine.steps.eman2.choices import Choices, MapMaking, Views

KEPT_LEAST, KEPT_PER_SEP = 32, 4  # projections that the first search leaves to the full alignment
COMPONENTS = {
    "projector": "projectors",
    "orientgen": "orientgens",
    "simcmp": "cmps",
    "simalign": "aligners",
    "simaligncmp": "cmps",
    "simralign": "aligners",
    "simraligncmp": "cmps",
    "classcmp": "cmps",
    "classalign": "aligners",
    "classaligncmp": "cmps",
    "classralign": "aligners",
    "classraligncmp": "cmps",
    "classaverager": "averagers",
    "classnormproc": "processors",
    "recon": "reconstructors",
    "m3dpreprocess": "processors",
    "m3dpostprocess": "processors",
}

REQUIRED = ("projector", "orientgen", "simcmp", "simalign", "classalign", "classcmp", "recon")


def choose_components(
    resolved: Resolved, grid: Grid, ctf: CTFParams | None, typed: Options
) -> tuple[Resolved, Choices]:
    """On rank 0. The choices and components of scores by comparators and class averages, which some option asks for.

    `ctf` are the particles' parameters, `typed` the options before anything was chosen. InputError with every
    complaint.
    """
    asked = "--preset" if typed.preset else ", ".join(flag_of(name) for name in typed.by_classes)
    options, reasons = presets.choose(resolved.options, grid, ctf is not None)
    why = (
        "particles are scored by comparators and averaged in classes, as e2refinemulti does "
        f"({asked}); the split is not tested"
    )
    notes = [why, *reasons]
    if ctf is not None and ctf.premultiplied is not None:
        notes.append(
            "images multiplied by their CTF are taken as images with flipped phases: the likelihood does better with "
            "them"
        )
    notes += [
        *typed.useless,
        *(f"{flag_of(name)} does nothing: it steers the likelihood" for name in typed.not_by_classes),
    ]
    return replace(resolved, options=options, reasons=(*resolved.reasons, *notes)), make_choices(
        options, grid, ctf is not None
    )


@dataclass(frozen=True)
class Built:
    """Components by the name of their option; None for `none`."""

    components: Mapping[str, Component | None]

    def __getitem__(self, name: str) -> Component | None:
        return self.components[name]

    def required(self, name: str) -> Component:
        """One that cannot be none."""
        component = self.components[name]
        assert component is not None, name
        return component

    def components_of(self, kind: str) -> Comparison:
        """How images are brought together: `kind` is sim for scores, class for class averages."""
        return Comparison(
            self.required(f"{kind}cmp"),
            self.required(f"{kind}align"),
            self[f"{kind}aligncmp"] or build("cmps", CCC),
            self[f"{kind}ralign"],
            self[f"{kind}raligncmp"],
        )


def build_components(options: Options, grid: Grid, ctf: bool) -> Built:
    """On rank 0. Every component that an option names; InputError with every complaint."""
    problems = Problems()
    built: dict[str, Component | None] = {}
    for name, kind in COMPONENTS.items():
        with problems.collect(f"{flag_of(name)}: "):
            built[name] = build_optional(kind, getattr(options, name))
    for name in REQUIRED:
        if name in built and built[name] is None:
            problems.add(f"{flag_of(name)} none: this one is needed")
    orientgen = built.get("orientgen")
    if options.breaksym and orientgen is not None and "copies" not in orientgen.traits:
        problems.add(f"--breaksym: --orientgen {orientgen.name} gives no copies of views: use eman")
    problems.add(*without_snr(built, ctf))
    if not problems:
        flags = {name: flag_of(name) for name in COMPONENTS}
        problems.add(*complaints(built, flags, grid.nx, grid.apix, options.sym.split(",")[0], ctf))
    problems.raise_if_any()
    return Built(built)


def make_choices(options: Options, grid: Grid, ctf: bool) -> Choices:
    """On rank 0. Everything that the steps need; InputError with every complaint."""
    problems = Problems()
    built, mask, factor = None, None, None
    with problems.collect():
        built = build_components(options, grid, ctf)
    with problems.collect():
        mask = None if options.simmask is None else image_mask(options.simmask, grid.nx)
        factor = structure_factor() if options.m3dsetsf else None
    problems.raise_if_any()
    assert built is not None
    assert options.shrinks1 is not None and options.shrink is not None and options.sep is not None
    first = max(options.shrinks1, 1) if options.twostage or options.treeclassify else 0
    kept = max(KEPT_LEAST, KEPT_PER_SEP * options.sep)
    search = Search(built.components_of("sim"), mask, options.prefilt, max(options.shrink, 1), first, kept)
    return Choices(
        views=views_of(options, built),
        search=search,
        rounds=rounds_of(options, built),
        maps=map_making_of(options, built, factor),
        automask=mask is None,
    )


def views_of(options: Options, built: Built) -> Views:
    """How maps are projected."""
    return Views(
        built.required("projector"),
        built.required("orientgen"),
        options.prethreshold,
        options.breaksym,
        build("processors", "normalize.circlemean"),
    )


def rounds_of(options: Options, built: Built) -> Rounds:
    """How classes are averaged."""
    assert options.classiter is not None and options.classkeep is not None
    return Rounds(
        built.components_of("class"),
        built["classaverager"] or build("averagers", "mean"),
        options.classiter,
        options.classkeep,
        options.classkeepsig,
        built["classnormproc"],
        options.classautomask,
        options.classrefsf,
        options.prefilt,
    )


def map_making_of(options: Options, built: Built, factor: np.ndarray | None) -> MapMaking:
    """How maps are made of class averages; `factor` (n, 2) is the structure factor in 1/Å and intensity."""
    assert options.pad is not None and options.m3diter is not None and options.m3dkeep is not None
    return MapMaking(
        built.required("recon"),
        options.pad,
        options.m3diter,
        options.m3dkeep,
        options.m3dkeepsig,
        built["m3dpreprocess"],
        built["m3dpostprocess"],
        factor,
    )


def without_snr(built: Mapping[str, Component | None], ctf: bool) -> list[str]:
    """Complaints of components that ask for what there is not: an SNR of particles without CTF, or of averages that
    have none.
    """
    known = {name: one for name, one in built.items() if one is not None}
    problems = [
        f"{flag_of(name)} {one.name}: weighting by SNR or CTF needs particles with a CTF"
        for name, one in known.items()
        if not ctf and any(one.parameters.get(key) for key in ("snrweight", "ctfweight"))
    ]
    averager, recon = known.get("classaverager"), known.get("recon")
    if averager is not None and "corrects_ctf" in averager.traits and not ctf:
        problems.append(f"--classaverager {averager.name}: the particles have no CTF: use mean")
    if recon is not None and "needs_snr" in recon.traits and (averager is None or "gives_snr" not in averager.traits):
        problems.append(
            f"--recon {recon.name}: needs the SNR of class averages: use --classaverager ctf.auto or ctfw.auto"
        )
    return problems


def image_mask(name: str, nx: int) -> np.ndarray:
    """--simmask; InputError when it does not fit the images."""
    mask = load(name)
    if mask.shape != (nx, nx):
        raise InputError(
            f"--simmask {name}: {' x '.join(map(str, mask.shape[::-1]))} pixels, the particles have {nx} x {nx}"
        )
    return mask


def structure_factor() -> np.ndarray:
    """The project's curve (n, 2): 1/Å and intensity; InputError when there is none."""
    if not Path(presets.STRUCTURE_FACTOR).exists():
        raise InputError(f"--m3dsetsf: no {presets.STRUCTURE_FACTOR} in this folder: two columns, 1/Å and intensity")
    return load(presets.STRUCTURE_FACTOR)
