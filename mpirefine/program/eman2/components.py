"""Build the components that EMAN2's way uses, once and on rank 0, from the options that name them."""

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
from mpirefine.program.declaration import flag_of
from mpirefine.program.eman2 import presets
from mpirefine.program.eman2.trial_calls import find_component_problems
from mpirefine.program.options import Options
from mpirefine.program.start.defaults import Resolved
from mpirefine.registry import Component
from mpirefine.steps.eman2.choices import Choices, MapMaking, Views
from mpirefine.steps.eman2.views import orientation_generator

# projections of a particle that the first search passes to the full alignment: at least, and per --sep
KEPT_LEAST, KEPT_PER_SEP = 32, 4
COMPONENTS = {  # option: kind of its component
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
    """On rank 0. Choose automatic values and build the components of EMAN2's way.

    `ctf` are the particles' CTF parameters, `typed` the options as the user gave them. InputError with every problem.
    """
    causes = "--preset" if typed.preset else ", ".join(flag_of(name) for name in typed.by_classes)
    options, reasons = presets.choose(resolved.options, grid, ctf is not None)
    why = (
        "particles are scored by comparators and averaged in classes, as e2refinemulti does "
        f"({causes}); whether maps differ is not tested: scores are no probabilities, which the test needs, so that a "
        "refinement by likelihood has to tell; every particle is in one map already"
    )
    notes = [why, *reasons]
    if ctf is not None and ctf.premultiplied is not None:
        notes.append(
            "images multiplied by their CTF are treated as phase-flipped images: the likelihood uses them better"
        )
    notes += [
        *typed.useless,
        *(f"{flag_of(name)} does nothing: it belongs to the likelihood" for name in typed.not_by_classes),
    ]
    choices = make_choices(options, grid, ctf is not None, own_filter=typed.m3dpostprocess in (None, "none"))
    check_projections(options, choices.views, resolved.symmetries)
    for name in set(resolved.symmetries):
        choices.maps.recon(8, name)  # refuses symmetries that it cannot apply
    if not choices.maps.compares:
        notes.append(f"--recon {choices.maps.recon.name}: {presets.ONE_PASS}, --m3diter, --m3dkeep do nothing")
    return replace(resolved, options=options, reasons=(*resolved.reasons, *notes)), choices


def check_projections(options: Options, views: Views, symmetries: tuple[str, ...]) -> None:
    """InputError when a particle cannot go to as many projections as --sep asks for."""
    count = sum(len(orientation_generator(views, options.seed)(name)) for name in symmetries)
    if options.sep is not None and options.sep > count:
        raise InputError(
            f"--sep {options.sep}: --orientgen {views.orientgen.name} gives {count} projections of all maps: give "
            "fewer of them, or a finer step of views"
        )


@dataclass(frozen=True)
class Built:
    """Components by the name of their option; None for an option that is `none`."""

    components: Mapping[str, Component | None]

    def __getitem__(self, name: str) -> Component | None:
        return self.components[name]

    def required(self, name: str) -> Component:
        """The component of an option that cannot be `none`."""
        component = self.components[name]
        assert component is not None, name
        return component

    def components_of(self, kind: str) -> Comparison:
        """The components that align and compare images: `kind` is sim for scores, class for class averages."""
        return Comparison(
            self.required(f"{kind}cmp"),
            self.required(f"{kind}align"),
            self[f"{kind}aligncmp"] or build("cmps", CCC),
            self[f"{kind}ralign"],
            self[f"{kind}raligncmp"],
        )


def build_components(options: Options, grid: Grid, ctf: bool) -> Built:
    """On rank 0. Build every component that an option names; InputError with every problem."""
    problems = Problems()
    built: dict[str, Component | None] = {}
    for name, kind in COMPONENTS.items():
        with problems.collect(f"{flag_of(name)}: "):
            built[name] = build_optional(kind, getattr(options, name))
    for name in REQUIRED:
        if name in built and built[name] is None:
            problems.add(f"{flag_of(name)} none: a component is required here, leave the option out for the default")
    orientgen = built.get("orientgen")
    if options.breaksym and orientgen is not None and "copies" not in orientgen.traits:
        problems.add(f"--breaksym: --orientgen {orientgen.name} gives no copies of views: use --orientgen eman")
    problems.add(*find_ctf_problems(built, ctf))
    if not problems:
        flags = {name: flag_of(name) for name in COMPONENTS}
        problems.add(*find_component_problems(built, flags, grid.nx, grid.apix, options.sym.split(",")[0], ctf))
    problems.raise_if_any()
    return Built(built)


def make_choices(options: Options, grid: Grid, ctf: bool, own_filter: bool = True) -> Choices:
    """On rank 0. The components and numbers that the steps of EMAN2's way need; InputError with every problem.

    `own_filter` as in Choices.
    """
    problems = Problems()
    built, mask, factor = None, None, None
    with problems.collect():
        built = build_components(options, grid, ctf)
    with problems.collect():
        mask = None if options.simmask is None else read_mask(options.simmask, grid.nx)
        factor = read_structure_factor() if options.m3dsetsf else None
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
        own_filter=own_filter,
    )


def views_of(options: Options, built: Built) -> Views:
    """The components that project maps."""
    return Views(
        built.required("projector"),
        built.required("orientgen"),
        options.prethreshold,
        options.breaksym,
        (build("processors", "normalize.circlemean"),),
    )


def rounds_of(options: Options, built: Built) -> Rounds:
    """The components and limits of class averaging."""
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
        decayedge=options.preset == "eman2",
    )


def map_making_of(options: Options, built: Built, factor: np.ndarray | None) -> MapMaking:
    """The components and limits of reconstruction; `factor` (n, 2) holds 1/Å and intensity of a structure factor."""
    assert options.pad is not None and options.m3diter is not None and options.m3dkeep is not None
    before, after = (tuple(filter(None, [built[name]])) for name in ("m3dpreprocess", "m3dpostprocess"))
    return MapMaking(
        built.required("recon"),
        options.pad,
        options.m3diter,
        options.m3dkeep,
        options.m3dkeepsig,
        before,
        after,
        factor,
    )


def find_ctf_problems(built: Mapping[str, Component | None], ctf: bool) -> list[str]:
    """Problems of components that need an SNR or a CTF which particles or class averages do not have."""
    components = {name: component for name, component in built.items() if component is not None}
    problems = [
        f"{flag_of(name)} {component.name}: weighting by SNR or CTF needs particles with a CTF"
        for name, component in components.items()
        if not ctf and any(component.parameters.get(key) for key in ("snrweight", "ctfweight"))
    ]
    averager, recon = components.get("classaverager"), components.get("recon")
    if averager is not None and "corrects_ctf" in averager.traits and not ctf:
        problems.append(f"--classaverager {averager.name}: the particles have no CTF: use mean")
    if recon is not None and "needs_snr" in recon.traits and (averager is None or "gives_snr" not in averager.traits):
        problems.append(
            f"--recon {recon.name}: needs the SNR of class averages: use --classaverager ctf.auto or ctfw.auto"
        )
    return problems


def read_mask(name: str, nx: int) -> np.ndarray:
    """Read --simmask (yx); InputError when it does not fit images of `nx` pixels."""
    mask = load(name)
    if mask.shape != (nx, nx):
        raise InputError(
            f"--simmask {name}: {' x '.join(map(str, mask.shape[::-1]))} pixels, the particles have {nx} x {nx}"
        )
    return mask


def read_structure_factor() -> np.ndarray:
    """Read the structure factor (n, 2), 1/Å and intensity, of strucfac.txt in this folder; InputError without one."""
    if not Path(presets.STRUCTURE_FACTOR).exists():
        raise InputError(
            f"--m3dsetsf: {presets.STRUCTURE_FACTOR} is missing in this folder: give two columns, 1/Å and intensity"
        )
    return load(presets.STRUCTURE_FACTOR)
