"""EMAN2's way, from options to what the steps need: every automatic choice with its reason, every component built once,
on rank 0.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.eman2.class_averaging import Rounds
from mpirefine.maths.eman2.similarity import CCC, FLIP, Comparison, Search
from mpirefine.program.catalogue import build, build_optional, load
from mpirefine.program.eman2.trial_calls import complaints
from mpirefine.program.options import Options, flag_of
from mpirefine.steps.eman2.choices import ClassMethod, MapMaking, Views

STRUCTURE_FACTOR = "strucfac.txt"
DEFAULT_SPEED = 5
PADDING = 1.25
KEPT_LEAST, KEPT_PER_SEP = 32, 4  # projections that the first search leaves to the full alignment
LARGE_BOX = 256  # pixels, from which on the first search is at a quarter of the sampling, not at half
SMALL_PRIMES = (2, 3, 5, 7)
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

NEEDED = ("projector", "orientgen", "simcmp", "simalign", "classalign", "classcmp", "recon")


def angular_step(nx: int, apix: float, targetres: float, speed: int) -> float:
    """EMAN2's automatic step in degrees: 89.99 / ceil(810 / ((speed + 3) √(4300 / B))), B the box, or 2 nx apix /
    targetres where that is less.
    """
    wanted = 2 * nx * apix / targetres if targetres > 4 * apix else nx
    return 89.99 / np.ceil(810 / ((speed + 3) * np.sqrt(4300 / wanted)))


def good_box(least: float) -> int:
    """The smallest even number from `least` on without prime factors above 7."""
    n = int(np.ceil(least / 2) * 2)
    while True:
        rest = n
        for prime in SMALL_PRIMES:
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 2


def resolve(options: Options, grid: Grid, ctf: bool) -> tuple[Options, tuple[str, ...]]:
    """Every component and number that was left out, and the reasons; EMAN2's automatic rules with --preset eman2."""
    eman = options.preset == "eman2"
    target = options.targetres or 12.0
    speed = options.speed or DEFAULT_SPEED
    step = angular_step(grid.nx, grid.apix, target, speed)
    fine = target < 7
    frc = "frc:zeromask=1:snrweight=1"
    auto: dict[str, tuple[Any, str]] = {
        "projector": ("standard", ""),
        "orientgen": (f"eman:delta={step:.5f}:inc_mirror=0:perturb=0", f"for speed {speed} and {target:g} Å"),
        "simcmp": (eman_simcmp(target, ctf), "e2refinemulti's rule")
        if eman
        else (
            f"likelihood:maxres={target:g}",
            "noise and strength of every ring are fitted: rings that hold only noise hardly count",
        ),
        "simalign": (FLIP, ""),
        "simaligncmp": (CCC, ""),
        "simralign": ("refine", ""),
        "simraligncmp": (frc if eman and fine and ctf else CCC, ""),
        "shrink": (0, ""),
        "twostage": (1, "all projections are searched coarsely first"),
        "shrinks1": (first_shrink(grid.nx), "by the box"),
        "classiter": (classiter(options, grid, target), ""),
        "classkeep": (0.9, ""),
        "classcmp": ("frc:snrweight=1" if eman and ctf else CCC, ""),
        "classalign": (FLIP, ""),
        "classaligncmp": (CCC, ""),
        "classralign": ("refine", ""),
        "classraligncmp": ("frc:snrweight=1:zeromask=1" if eman and ctf and target <= 15 else CCC, ""),
        "classaverager": ("ctfw.auto", "the particles carry a CTF")
        if ctf and (target < 15 or not eman)
        else ("mean", f"e2refinemulti's rule for {target:g} Å" if ctf else "no CTF"),
        "classnormproc": ("normalize.edgemean", ""),
        "pad": (good_box(PADDING * grid.nx), f"{PADDING:g} times the box"),
        "recon": ("fourier", ""),
        "m3dkeep": (0.8, ""),
        "m3diter": (2, ""),
        "m3dpreprocess": ("normalize.edgemean", ""),
    }
    changes = {
        name: value
        for name, (value, _) in auto.items()
        if getattr(options, name) is None or name == "shrinks1" and not options.shrinks1
    }
    if changes.get("shrinks1") and options.twostage:
        changes["shrinks1"] = options.twostage  # in 2011 the option was the factor itself
    told = [
        f"{flag_of(name)} {value}" + (f": {auto[name][1]}" if auto[name][1] else "")
        for name, value in changes.items()
        if name in ("orientgen", "simcmp", "classaverager", "classiter", "pad")
    ]
    if eman and not options.m3dsetsf and Path(STRUCTURE_FACTOR).exists():
        changes["m3dsetsf"] = True
        told.append(f"--m3dsetsf: there is a {STRUCTURE_FACTOR} in this folder")
    return replace(options, **changes, held_out=0.0, assign="hard"), tuple(told)


def eman_simcmp(target: float, ctf: bool) -> str:
    """e2refinemulti's automatic comparator of the score."""
    return f"frc:snrweight=1:maxres={max(7.0, target):g}" if ctf and target <= 18 else f"frc:maxres={target:g}"


def first_shrink(nx: int) -> int:
    """e2refinemulti's automatic factor of the first search."""
    return 4 if nx >= LARGE_BOX else 2


def classiter(options: Options, grid: Grid, target: float) -> int:
    """e2refinemulti's automatic rounds of class averaging: more where the target is coarse."""
    if options.orientgen is not None or target <= 4 * grid.apix:
        return 1
    return 3 if target > 12 else 2 if target > 8 else 1


def method(options: Options, grid: Grid, ctf: bool) -> ClassMethod:
    """On rank 0. All components, built; raises InputError with every complaint."""
    problems: list[str] = []
    made: dict[str, Any] = {}
    for name, kind in COMPONENTS.items():
        try:
            made[name] = build_optional(kind, getattr(options, name))
        except (InputError, ParameterError) as error:
            problems += [f"{flag_of(name)}: {line}" for line in str(error).splitlines()]
    problems += [f"{flag_of(name)} none: this one is needed" for name in NEEDED if name in made and made[name] is None]
    if (
        options.breaksym
        and made.get("orientgen") is not None
        and "copies" not in made["orientgen"].traits
    ):
        problems.append(f"--breaksym: --orientgen {made['orientgen'].name} gives no copies of views: use eman")
    problems += without_snr(made, ctf)
    if not problems:
        flags = {name: flag_of(name) for name in COMPONENTS}
        problems += complaints(made, flags, grid.nx, grid.apix, options.sym.split(",")[0], ctf)
    mask, factor = None, None
    try:
        mask = None if options.simmask is None else image_mask(options.simmask, grid.nx)
        factor = structure_factor() if options.m3dsetsf else None
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(*problems)
    ccc = build("cmps", CCC)
    scoring = Comparison(
        made["simcmp"], made["simalign"], made["simaligncmp"] or ccc, made["simralign"], made["simraligncmp"]
    )
    averaging = Comparison(
        made["classcmp"], made["classalign"], made["classaligncmp"] or ccc, made["classralign"], made["classraligncmp"]
    )
    first = max(options.shrinks1, 1) if options.twostage or options.treeclassify else 0
    search = Search(
        scoring, mask, options.prefilt, max(options.shrink, 1), first, max(KEPT_LEAST, KEPT_PER_SEP * options.sep)
    )
    rounds = Rounds(
        averaging,
        made["classaverager"] or build("averagers", "mean"),
        options.classiter,
        options.classkeep,
        options.classkeepsig,
        made["classnormproc"],
        options.classautomask,
        options.classrefsf,
        options.prefilt,
    )
    views = Views(
        made["projector"],
        made["orientgen"],
        options.prethreshold,
        options.breaksym,
        build("processors", "normalize.circlemean"),
    )
    maps = MapMaking(
        made["recon"],
        options.pad,
        options.m3diter,
        options.m3dkeep,
        options.m3dkeepsig,
        made["m3dpreprocess"],
        made["m3dpostprocess"],
        factor,
    )
    return ClassMethod(views, search, rounds, maps, automask=mask is None)


def without_snr(made: dict[str, Any], ctf: bool) -> list[str]:
    """Complaints of components that ask for what there is not: an SNR of particles without CTF, or of averages that
    have none.
    """
    known = {name: one for name, one in made.items() if one is not None}
    problems = [
        f"{flag_of(name)} {one.name}: weighting by SNR or CTF needs particles with a CTF"
        for name, one in known.items()
        if not ctf and any(one.parameters.get(key) for key in ("snrweight", "ctfweight"))
    ]
    averager, recon = known.get("classaverager"), known.get("recon")
    if averager is not None and "corrects_ctf" in averager.traits and not ctf:
        problems.append(f"--classaverager {averager.name}: the particles have no CTF: use mean")
    if (
        recon is not None
        and "needs_snr" in recon.traits
        and (averager is None or "gives_snr" not in averager.traits)
    ):
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
    """The project's curve (n, 2): 1/Å and intensity."""
    if not Path(STRUCTURE_FACTOR).exists():
        raise InputError(f"--m3dsetsf: no {STRUCTURE_FACTOR} in this folder: two columns, 1/Å and intensity")
    return load(STRUCTURE_FACTOR)
