"""Every automatic choice in one place, each with its reason, decided on rank 0 before any work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mpirefine.data.grid import Grid
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.program.options import Options
from mpirefine.steps.likelihood.postprocess import automask_values

TARGET_NYQUISTS = (
    1.5  # automatic --targetres, in units of Nyquist: classes separate on coarser features, and every step costs less
)
FINEST_TARGET = 12.0  # Å; EMAN2's default
ITERATIONS, SEED_ITERATIONS = (
    8,
    40,
)  # for maps that differ, and for seeds of one map: room for two or three merges and splits
SHIFT_SHARE = 0.08  # automatic --maxshift, as a share of the box
LEAST_RINGS = 6
PROJECTIONS = 8  # automatic --sep of the likelihood: what is left of the posterior beyond them is small


@dataclass(frozen=True)
class Resolved:
    """Options without anything left to choose, the values they stand for, and the reasons, in words."""

    options: Options
    symmetries: tuple[str, ...]
    mass: tuple[float, ...] | None
    reasons: tuple[str, ...]


def per_model(text: str, models: int, option: str) -> list[str]:
    """A comma list with one value for all maps or one for each."""
    values = [value.strip() for value in text.split(",")]
    if len(values) == 1:
        return values * models
    if len(values) != models:
        raise InputError(f"{option} has {len(values)} values for {models} maps: give one for all, or one for each")
    return values


def count_models(options: Options, maps: int) -> int:
    """How many maps are refined: the `maps` that were given, or --nmodels seeds of one."""
    if options.nmodels is None:
        return maps
    if maps > 1 and options.nmodels != maps:
        raise InputError(
            f"--nmodels {options.nmodels} makes seeds from one map, but --models names {maps}: leave one of them out"
        )
    return options.nmodels


def check_symmetries(names: list[str]) -> tuple[str, ...]:
    """Lower-case names, each known."""
    for name in names:
        operations(name)
    return tuple(name.lower() for name in names)


@dataclass(frozen=True)
class PerMap:
    """What options say of each map, and every complaint about it."""

    symmetries: tuple[str, ...]
    mass: tuple[float, ...] | None
    problems: tuple[str, ...]


def per_map(options: Options, maps: int) -> PerMap:
    """Symmetries, masses and mask numbers, which need nothing but how many maps were given."""
    problems: list[str] = []
    symmetries: tuple[str, ...] = ()
    models, mass = 1, None
    for check in ("models", "symmetry", "automask3d", "mass"):
        try:
            if check == "models":
                models = count_models(options, maps)
            elif check == "symmetry":
                symmetries = check_symmetries(per_model(options.sym, models, "--sym"))
            elif check == "automask3d" and options.automask3d:
                automask_values(options.automask3d)
            elif check == "mass" and options.mass:
                mass = tuple(float(value) for value in per_model(str(options.mass), models, "--mass"))
                if not all(0 < value < float("inf") for value in mass):
                    raise InputError(f"--mass {options.mass}: each must be more than 0 kDa")
        except (InputError, ParameterError) as error:
            problems.append(str(error))
        except ValueError:
            problems.append(f"--mass {options.mass}: give kDa, as one number or one for each map")
    if options.seeds_from == "random-subsets" and len(set(symmetries)) > 1:
        problems.append(f"--sym {options.sym}: seeds of random subsets are alike, so their symmetry must be one")
    return PerMap(symmetries, mass, tuple(problems))


def resolve(options: Options, grid: Grid, maps: int) -> Resolved:
    """Replace what is automatic; `maps` is how many were given. Raises InputError with every complaint."""
    known = per_map(options, maps)
    problems, reasons, symmetries = list(known.problems), [], known.symmetries
    changes: dict[str, Any] = {}
    if options.targetres is None:
        target = max(TARGET_NYQUISTS * grid.nyquist, FINEST_TARGET)
        changes["targetres"] = min(target, grid.length / LEAST_RINGS)
        reasons.append(
            f"--targetres {changes['targetres']:.1f} Å: {TARGET_NYQUISTS:g} x Nyquist ({grid.nyquist:.2f} Å), not "
            "finer than "
            f"{FINEST_TARGET:g} Å; classes separate on coarser features"
        )
    elif options.targetres < grid.nyquist:
        problems.append(
            f"--targetres {options.targetres:g} Å is beyond Nyquist, {grid.nyquist:.2f} Å for a pixel of "
            f"{grid.apix:g} Å: "
            "give a larger number"
        )
    if options.maxshift is None:
        changes["maxshift"] = float(max(2, round(SHIFT_SHARE * grid.nx)))
        if not options.by_classes:
            reasons.append(f"--maxshift {changes['maxshift']:g} px: {100 * SHIFT_SHARE:g} % of the box")
    elif options.maxshift > grid.nx / 4:
        problems.append(
            f"--maxshift {options.maxshift:g} px is more than a quarter of the box ({grid.nx} px): centre the "
            "particles first"
        )
    more, told = others(options, differ=(options.nmodels or maps) == maps)
    if options.breaksym and not options.by_classes:
        symmetries = ("c1",) * len(symmetries)
    if problems:
        raise InputError(*problems)
    return Resolved(replace(options, **changes, **more), symmetries, known.mass, (*reasons, *told))


def others(options: Options, *, differ: bool) -> tuple[dict[str, Any], list[str]]:
    """Choices that follow from the options alone, and their reasons; `differ`: the starting maps do, they are not made
    of one.
    """
    changes: dict[str, Any] = {}
    reasons: list[str] = []
    if options.temperature is None:
        changes["temperature"] = 1.0 if differ else 4.0
        if not options.by_classes:
            reasons.append(
                f"temperature starts at {changes['temperature']:g}: "
                + ("the starting maps differ" if differ else "seeds made from one map separate slowly")
            )
    if options.breaksym and not options.by_classes:
        reasons.append("--breaksym: views are searched everywhere, maps are reconstructed without symmetry")
    if options.speed is not None and not options.by_classes:
        reasons.append(
            "--speed steers the steps of --orientgen only: those of the likelihood follow from radius and "
            "resolution, see --delta"
        )
    if options.sep is None:
        eman_speed = options.speed or 5 if options.preset == "eman2" else options.speed
        # e2refinemulti's rule, where a speed is given or its defaults are asked for
        changes["sep"] = PROJECTIONS if not options.by_classes else max(1, 6 - eman_speed) if eman_speed else 1
    if options.iter is None:
        changes["iter"] = ITERATIONS if differ else SEED_ITERATIONS
    return changes, reasons
