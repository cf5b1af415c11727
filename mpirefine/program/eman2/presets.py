"""The automatic values of EMAN2's options: every component and number that was left out, with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.maths.eman2.processors.fitted_filters import LARGEST_PIXEL
from mpirefine.maths.eman2.similarity import CCC, FLIP
from mpirefine.maths.image.resampling import good_box
from mpirefine.program.declaration import flag_of
from mpirefine.program.options import Options

STRUCTURE_FACTOR = "strucfac.txt"
FLATTEN = "filter.lowpass.autob"
ONE_PASS = "class averages cannot be compared with its map, so that it makes one pass of all of them"
DEFAULT_SPEED = 5
PADDING = 1.25
LARGE_BOX = 256  # pixels, from which on the first search shrinks images by 4 instead of 2
LOGGED = ("orientgen", "simcmp", "classaverager", "classiter", "pad")  # choices that are logged
Value = str | int | float | bool


def choose(options: Options, grid: Grid, ctf: bool) -> tuple[Options, tuple[str, ...]]:
    """Fill in options that were left out, and give the reasons; --preset eman2 uses e2refinemulti's own rules.

    `ctf`: the particles have a CTF.
    """
    auto = choose_values(options, grid, ctf)
    changes: dict[str, Value] = {
        name: value
        for name, (value, _) in auto.items()
        if getattr(options, name) is None or name == "shrinks1" and not options.shrinks1
    }
    if changes.get("shrinks1") and options.twostage:
        changes["shrinks1"] = options.twostage  # in 2011 --twostage was the shrink factor itself
    reasons = [
        f"{flag_of(name)} {value}" + (f": {auto[name][1]}" if auto[name][1] else "")
        for name, value in changes.items()
        if name in LOGGED
    ]
    if options.preset == "eman2":
        filters, why = choose_filters(options, grid, ctf)
        changes |= filters
        reasons += why
    return replace(options, **changes, held_out=0.0, assign="hard"), tuple(reasons)  # type: ignore[arg-type]


def choose_filters(options: Options, grid: Grid, ctf: bool) -> tuple[dict[str, Value], list[str]]:
    """e2refinemulti's automatic choices for maps before their Wiener filter, and the reasons: the structure factor of
    this folder or, for particles with a CTF, a flat spectrum.
    """
    if options.m3dsetsf or options.m3dpostprocess is not None:
        return {}, []
    if Path(STRUCTURE_FACTOR).exists():
        return {"m3dsetsf": True}, [f"--m3dsetsf: {STRUCTURE_FACTOR} was found in this folder"]
    if not ctf or grid.apix > LARGEST_PIXEL:
        return {}, []
    why = (
        f"no {STRUCTURE_FACTOR} in this folder: spectra are flattened before the maps' Wiener filter, as e2refinemulti"
    )
    return {"m3dpostprocess": FLATTEN}, [f"--m3dpostprocess {FLATTEN}: {why}"]


def choose_values(options: Options, grid: Grid, ctf: bool) -> dict[str, tuple[Value, str]]:
    """The automatic value of every option of EMAN2's way, and its reason."""
    return {**choose_for_scores(options, grid, ctf), **choose_for_maps(options, grid, ctf)}


def choose_for_scores(options: Options, grid: Grid, ctf: bool) -> dict[str, tuple[Value, str]]:
    """Automatic values for projections and scores."""
    eman, target = options.preset == "eman2", options.targetres or 12.0
    speed = options.speed or DEFAULT_SPEED
    step = angular_step(grid.nx, grid.apix, target, speed)
    by_likelihood = "it fits noise and signal of each ring, so that rings of noise hardly count"
    return {
        "projector": ("standard", ""),
        "orientgen": (f"eman:delta={step:.5f}:inc_mirror=0:perturb=0", f"for speed {speed} and {target:g} Å"),
        "simcmp": (eman_simcmp(target, ctf), "e2refinemulti's rule")
        if eman
        else (f"likelihood:maxres={target:g}", by_likelihood),
        "simalign": (FLIP, ""),
        "simaligncmp": (CCC, ""),
        "simralign": ("refine", ""),
        "simraligncmp": ("frc:zeromask=1:snrweight=1" if eman and target < 7 and ctf else CCC, ""),
        "shrink": (0, ""),
        "twostage": (1, "all projections are first searched coarsely"),
        "shrinks1": (first_shrink(grid.nx), "by the box"),
    }


def choose_for_maps(options: Options, grid: Grid, ctf: bool) -> dict[str, tuple[Value, str]]:
    """Automatic values for class averages and reconstructions."""
    eman, target = options.preset == "eman2", options.targetres or 12.0
    plain = f"e2refinemulti's rule for {target:g} Å" if ctf else "no CTF"
    by_ctf = ctf and (target < 15 or not eman)
    return {
        "classiter": (classiter(options, grid, target), ""),
        "classkeep": (0.9, ""),
        "classcmp": ("frc:snrweight=1" if eman and ctf else CCC, ""),
        "classalign": (FLIP, ""),
        "classaligncmp": (CCC, ""),
        "classralign": ("refine", ""),
        "classraligncmp": ("frc:snrweight=1:zeromask=1" if eman and ctf and target <= 15 else CCC, ""),
        "classaverager": ("ctfw.auto", "the particles have a CTF") if by_ctf else ("mean", plain),
        "classnormproc": ("normalize.edgemean", ""),
        "pad": (good_box(PADDING * grid.nx), f"{PADDING:g} times the box"),
        "recon": ("fourier", ""),
        "m3dkeep": (0.8, ""),
        "m3diter": (2, ""),
        "m3dpreprocess": ("normalize.edgemean", ""),
    }


def projections_per_particle(options: Options) -> int:
    """e2refinemulti's automatic --sep with --speed or --preset eman2; otherwise 1."""
    speed = options.speed or DEFAULT_SPEED if options.preset == "eman2" else options.speed
    return max(1, 6 - speed) if speed else 1


def angular_step(nx: int, apix: float, targetres: float, speed: int) -> float:
    """EMAN2's automatic angular step in degrees: 89.99 / ceil(810 / ((speed + 3) √(4300 / B))), as e2refinemulti.

    B is 2 nx apix / targetres when targetres is above 4 apix, else nx; `apix` and `targetres` in Å.
    """
    wanted = 2 * nx * apix / targetres if targetres > 4 * apix else nx
    return 89.99 / np.ceil(810 / ((speed + 3) * np.sqrt(4300 / wanted)))


def eman_simcmp(target: float, ctf: bool) -> str:
    """e2refinemulti's automatic --simcmp for a `target` resolution in Å."""
    return f"frc:snrweight=1:maxres={max(7.0, target):g}" if ctf and target <= 18 else f"frc:maxres={target:g}"


def first_shrink(nx: int) -> int:
    """e2refinemulti's automatic shrink factor of the first search, for a box of `nx` pixels."""
    return 4 if nx >= LARGE_BOX else 2


def classiter(options: Options, grid: Grid, target: float) -> int:
    """e2refinemulti's automatic --classiter: more rounds for a coarser `target` (Å)."""
    if options.orientgen is not None or target <= 4 * grid.apix:
        return 1
    return 3 if target > 12 else 2 if target > 8 else 1
