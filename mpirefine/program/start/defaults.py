"""Every automatic value of an option, with its reason; rank 0 decides before any work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mpirefine.data.grid import Grid
from mpirefine.errors import InputError, ParameterError, Problems
from mpirefine.maths.geometry.helix import Helix, parse_helix
from mpirefine.maths.geometry.symmetry import operations
from mpirefine.maths.image.resampling import good_box
from mpirefine.program.eman2 import presets
from mpirefine.program.options import Options
from mpirefine.program.settings import parse_automask

# automatic --targetres in units of the Nyquist resolution: coarser features separate the classes, at less cost
TARGET_NYQUISTS = 1.5
FINEST_TARGET = 12.0  # Å, the finest automatic --targetres; EMAN2's default
# automatic --iter for maps that differ, and for seeds of one map, which leaves room for two or three merges and splits
ITERATIONS, SEED_ITERATIONS = 8, 40
SHIFT_SHARE = 0.08  # automatic --maxshift, as a share of the box
LEAST_RINGS = 6  # fewest Fourier rings that particles are matched on
FINER_THAN_TARGET = 1.5  # --targetres divided by the Nyquist resolution of the automatic working box
TOO_LARGE = "the particles have {} px, which is the most"
WORTH_CROPPING = 0.75  # largest automatic working box, as a share of the particles' box: a larger one would gain little
PROJECTIONS = 8  # automatic --sep of the likelihood: more projections add little of the posterior


@dataclass(frozen=True)
class Resolved:
    """Options with every automatic value filled in, symmetry and mass of each map, and the reasons in words."""

    options: Options
    symmetries: tuple[str, ...]
    mass: tuple[float, ...] | None
    reasons: tuple[str, ...]

    @property
    def targetres(self) -> float:
        """The finest resolution of matching, in Å."""
        assert self.options.targetres is not None, "resolved options have it"
        return self.options.targetres

    @property
    def maxshift(self) -> float:
        """The largest shift that is searched, in pixels of the particle file."""
        assert self.options.maxshift is not None, "resolved options have it"
        return self.options.maxshift

    def working_grid(self, particles: Grid) -> Grid:
        """The grid in which particles are matched, one field with that of the `particles`."""
        assert self.options.box is not None, "resolved options have it"
        return Grid(self.options.box, particles.length / self.options.box)

    def working_shift(self, particles: Grid) -> float:
        """The largest shift that is searched, in pixels of the working grid.

        It is at least one of these, or --maxshift where that is less than a pixel.
        """
        in_working_pixels = self.maxshift * self.working_grid(particles).nx / particles.nx
        return max(in_working_pixels, min(self.maxshift, 1.0))


def per_model(text: str, models: int, option: str) -> list[str]:
    """Split a comma list with one value for all maps or one for each; InputError for any other number of values."""
    values = [value.strip() for value in text.split(",")]
    if len(values) == 1:
        return values * models
    if len(values) != models:
        raise InputError(f"{option} has {len(values)} values for {models} maps: give one for all, or one for each")
    return values


def count_models(options: Options, maps: int) -> int:
    """The number of maps that are refined: the `maps` in --models, or --nmodels seeds of one map.

    InputError when both are more than one and differ.
    """
    if options.nmodels is None:
        return maps
    if maps > 1 and options.nmodels != maps:
        raise InputError(
            f"--nmodels {options.nmodels} makes seeds from one map, but --models names {maps}: leave one of them out"
        )
    return options.nmodels


def check_symmetries(names: list[str]) -> tuple[str, ...]:
    """The names of symmetries in lower case; ParameterError for an unknown one, or a helix of no height."""
    for name in names:
        operations(name)
        coil = parse_helix(name)
        if coil is not None and not coil.tz:
            raise ParameterError(f"symmetry '{name}': a helix rises by more than 0: without a rise it is c<n>")
    return tuple(name.strip().lower() for name in names)


@dataclass(frozen=True)
class PerMap:
    """Symmetry and mass of each map, and every problem of the options that give them."""

    symmetries: tuple[str, ...]
    mass: tuple[float, ...] | None
    problems: tuple[str, ...]


def per_map(options: Options, maps: int) -> PerMap:
    """Parse the options that need only the number of starting `maps`: --sym, --mass, --nmodels, --automask3d.

    Nothing is raised: problems are in the result.
    """
    problems = Problems()
    symmetries: tuple[str, ...] = ()
    models, mass = 1, None
    with problems.collect():
        models = count_models(options, maps)
    with problems.collect():
        symmetries = check_symmetries(per_model(options.sym, models, "--sym"))
    with problems.collect():
        if options.automask3d:
            parse_automask(options.automask3d)
    with problems.collect():
        mass = parse_mass(options.mass, models) if options.mass else None
    if options.seeds_from == "random-subsets" and len(set(symmetries)) > 1:
        problems.add(f"--sym {options.sym}: seeds from random subsets are copies of one map: give one symmetry for all")
    return PerMap(symmetries, mass, tuple(problems.texts))


def parse_mass(text: str, models: int) -> tuple[float, ...]:
    """The mass of each map in kDa; InputError when it is not a positive number."""
    try:
        mass = tuple(float(value) for value in per_model(text, models, "--mass"))
    except ValueError:
        raise InputError(f"--mass {text}: give kDa, as one number or one for each map") from None
    if not all(0 < value < float("inf") for value in mass):
        raise InputError(f"--mass {text}: each must be more than 0 kDa")
    return mass


def resolve(options: Options, grid: Grid, maps: int) -> Resolved:
    """Fill in every automatic value; `maps` is the number of starting maps. InputError with every problem."""
    known = per_map(options, maps)
    chosen = [
        choose_target_resolution(options, grid),
        choose_largest_shift(options, grid),
        choose_from_options(options, differ=(options.nmodels or maps) == maps),
    ]
    target = chosen[0].changes["targetres"] if options.targetres is None else options.targetres
    chosen.append(choose_working_box(options, grid, target))
    chosen.append(settle_helices(known.symmetries, options, grid))
    problems = Problems()
    problems.add(*known.problems, *(problem for choice in chosen for problem in choice.problems))
    problems.raise_if_any()
    changes = {name: value for choice in chosen for name, value in choice.changes.items()}
    symmetries = tuple(in_particle_pixels(name, options, grid) for name in known.symmetries)
    if options.breaksym and not options.by_classes:
        symmetries = ("c1",) * len(symmetries)
    reasons = tuple(reason for choice in chosen for reason in choice.reasons)
    return Resolved(replace(options, **changes), symmetries, known.mass, reasons)


def in_particle_pixels(name: str, options: Options, grid: Grid) -> str:
    """A symmetry; a helix with its rise in Å, which is in pixels of the particle file before, and its largest tilt."""
    coil = parse_helix(name)
    return name if coil is None else coil.in_angstrom(grid.apix, options.helical_tilt).text


def settle_helices(symmetries: tuple[str, ...], options: Options, grid: Grid) -> Choice:
    """What the helices among the symmetries mean, in words, and what is wrong with them."""
    reasons, problems = [], []
    for m, name in enumerate(symmetries, 1):
        coil = parse_helix(name)
        if coil is None:
            continue
        reasons.append(f"map {m}: {describe_helix(coil.in_angstrom(grid.apix, options.helical_tilt), grid)}")
        if abs(coil.rise()) > options.helical_z * grid.nx:
            problems.append(
                f"--sym {name}: a rise of {abs(coil.rise()):g} px is more than the central {options.helical_z:g} of "
                f"the box ({grid.nx} px), from which symmetry is imposed: give a larger --helical-z, or c{coil.nstart}"
            )
        if options.breaksym:
            problems.append(
                f"--sym {name}: --breaksym searches all views, helices are seen from the side: leave it out"
            )
    helical = [parse_helix(name) is not None for name in symmetries]
    if options.helical_search and symmetries and not any(helical):
        problems.append("--helical-search: no map is a helix: give --sym h<copies>:<starts>:<twist>:<rise>")
    return Choice({}, reasons, problems)


def describe_helix(coil: Helix, grid: Grid) -> str:
    """A helix in words; its rise is in Å."""
    return (
        f"a helix of {coil.nstart} start{'s' * (coil.nstart > 1)}, twist {coil.daz:g}°, rise {coil.tz:.4g} Å "
        f"({coil.rise(grid.apix):.4g} px of {grid.apix:.4g} Å); "
        f"inserted at {coil.nsym} place{'s' * (coil.nsym > 1)} along it, views to {coil.tilt:g}° from the equator"
    )


@dataclass(frozen=True)
class Choice:
    """Automatic values by option, the reasons in words, and problems of values that the user gave."""

    changes: dict[str, Any]
    reasons: list[str]
    problems: list[str]


def choose_target_resolution(options: Options, grid: Grid) -> Choice:
    """Choose or check --targetres, in Å."""
    if options.targetres is None:
        target = min(max(TARGET_NYQUISTS * grid.nyquist, FINEST_TARGET), grid.length / LEAST_RINGS)
        reason = (
            f"--targetres {target:.1f} Å: {TARGET_NYQUISTS:g} x Nyquist ({grid.nyquist:.2f} Å), not finer than "
            f"{FINEST_TARGET:g} Å; classes separate on coarser features"
        )
        return Choice({"targetres": target}, [reason], [])
    if options.targetres < grid.nyquist:
        problem = (
            f"--targetres {options.targetres:g} Å is beyond Nyquist, {grid.nyquist:.2f} Å for a pixel of "
            f"{grid.apix:g} Å: give a larger number"
        )
        return Choice({}, [], [problem])
    return Choice({}, [], [])


def choose_working_box(options: Options, grid: Grid, targetres: float) -> Choice:
    """Choose or check --box in pixels: Nyquist 1.5 times finer than the target, prime factors 2, 3, 5 and 7."""
    if options.box is not None and options.box > grid.nx:
        return Choice({}, [], [f"--box {options.box}: {TOO_LARGE.format(grid.nx)}"])
    if options.box is not None:
        asked = [f"--box {options.box} px of {grid.length / options.box:.3f} Å, as asked for"]
        return Choice({}, asked if options.box < grid.nx else [], [])
    box = good_box(2 * grid.length * FINER_THAN_TARGET / targetres)
    if options.by_classes or box > WORTH_CROPPING * grid.nx:
        return Choice({"box": grid.nx}, [], [])
    pixel = grid.length / box
    reason = (
        f"--box {box} px of {pixel:.3f} Å, out of {grid.nx} of {grid.apix:.3f}: particles are Fourier-cropped to a "
        f"Nyquist of {2 * pixel:.1f} Å, enough for --targetres {targetres:.1f}; full-size maps are made at the end"
    )
    return Choice({"box": box}, [reason], [])


def choose_largest_shift(options: Options, grid: Grid) -> Choice:
    """Choose or check --maxshift, in pixels of the particle file."""
    if options.maxshift is None:
        shift = float(max(2, round(SHIFT_SHARE * grid.nx)))
        reason = f"--maxshift {shift:g} px ({shift * grid.apix:.1f} Å): {100 * SHIFT_SHARE:g} % of the box"
        return Choice({"maxshift": shift}, [] if options.by_classes else [reason], [])
    if options.maxshift > grid.nx / 4:
        problem = (
            f"--maxshift {options.maxshift:g} px is more than a quarter of the box ({grid.nx} px): centre the "
            "particles first"
        )
        return Choice({}, [], [problem])
    return Choice({}, [], [])


def choose_from_options(options: Options, *, differ: bool) -> Choice:
    """Choose what follows from other options alone; `differ`: the starting maps are not seeds of one map."""
    changes: dict[str, Any] = {}
    reasons: list[str] = []
    if options.temperature is None:
        changes["temperature"] = 1.0 if differ else 4.0
        why = "the starting maps differ" if differ else "seeds made from one map separate slowly"
        reasons.append(f"temperature starts at {changes['temperature']:g}: {why}")
    if options.breaksym:
        reasons.append("--breaksym: all views are searched, and maps are reconstructed without symmetry")
    if options.speed is not None:
        reasons.append(
            "--speed sets the angular step of --orientgen only: the likelihood takes its step from particle radius and "
            "resolution, see --delta"
        )
    if options.sep is None:
        changes["sep"] = presets.projections_per_particle(options) if options.by_classes else PROJECTIONS
    if options.iter is None:
        changes["iter"] = ITERATIONS if differ else SEED_ITERATIONS
    return Choice(changes, [] if options.by_classes else reasons, [])
