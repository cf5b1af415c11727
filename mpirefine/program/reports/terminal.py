"""What the terminal and the log say of each iteration."""

from __future__ import annotations

from collections.abc import Sequence

from mpirefine.maths.likelihood.held_out_test import SIGNIFICANT
from mpirefine.program.logs import table
from mpirefine.steps.state import Difference
from mpirefine.steps.summary import Summary

EMPTY = {"reseed": "made anew from the largest map", "freeze": "kept as it was", "drop": "left out from now on"}

HESITATION = 0.97  # of all maps that a particle hesitates between, in the mean, from which on nothing separates them
SUSPECT = 0.05  # a p-value below it is no sign of one state either
ENOUGH_POWER = 0.9  # of the test, before its silence means anything
LEAST_COVERAGE = 0.8  # share of the directions of Fourier space below which the user is warned ...
FEW_PARTICLES = 100  # ... where a map has at least so many particles


def verdict(pair: Difference, compared: int) -> str:
    """Is the split real? Significance is corrected for the number of pairs that are compared (Bonferroni).

    "No sign" is said only where the test had enough power to find two states.
    """
    if pair.p is None:
        return "too few held-out particles to tell: raise --held-out"
    if pair.p * compared < SIGNIFICANT:
        return "different states"
    if pair.p < SUSPECT or pair.power is None or pair.power < ENOUGH_POWER:
        return (
            f"cannot tell from {pair.particles} held-out particles (power {percent(pair.power)}): raise "
            "--held-out or add particles"
        )
    return "no sign of two states: take the maps as one"


def percent(share: float | None) -> str:
    """Of the power; a dash where it was not asked for."""
    return "-" if share is None else f"{100 * share:.0f} %"


def difference_rows(found: Sequence[Difference]) -> list[list[str]]:
    """One row for each pair of maps."""
    return [
        [
            f"{pair.a + 1} and {pair.b + 1}",
            "-" if pair.p is None else "< 0.001" if pair.p < 1e-3 else f"{pair.p:.3f}",
            str(pair.particles),
            percent(pair.power),
            verdict(pair, len(found)),
        ]
        for pair in found
    ]


def difference_table(found: Sequence[Difference]) -> str:
    """The same for the terminal."""
    names = ["maps", "p-value", "particles", "power", "verdict"]
    return "Is the split real? By particles that no map was made from:\n" + table(names, difference_rows(found))


def nothing_separates(summary: Summary) -> list[str]:
    """A warning when nearly every particle hesitates between all maps that take part."""
    maps = sum(share > 0 for share in summary.soft)
    if maps < 2 or summary.maps_per_particle < 1 + HESITATION * (maps - 1):
        return []
    why = (
        "finer iterations may change that"
        if summary.coarse is not None and summary.coarse.continues
        else "are the maps those of these particles, are they different, is the contrast's sign the same (--invert)?"
    )
    return [f"warning: nothing separates the maps: nearly every particle hesitates between all {maps} of them; {why}"]


def iteration_table(summary: Summary, number: int, last: int, seconds: float) -> str:
    """One row for each map, and below it what moved, what looks wrong, and what was decided."""
    columns = summary.soft, summary.hard, summary.matched_to, summary.resolution, summary.coverage
    rows = [
        [
            f"{m}",
            f"{100 * soft:.1f} %",
            f"{100 * hard:.1f} %",
            f"{round(hard * summary.particles)}",
            f"{matched:.1f} Å",
            "-" if resolution != resolution else f"{resolution:.1f} Å",
            f"{100 * covered:.0f} %",
        ]
        for m, (soft, hard, matched, resolution, covered) in enumerate(zip(*columns), 1)
    ]
    names = ["map", "share (soft)", "share (hard)", "particles", "matched to", "resolution", "directions"]
    return "\n".join(
        [
            f"Iteration {number} of {last}, {seconds:.0f} s",
            table(names, rows),
            *lines_of_particles(summary),
            *warnings_of_maps(summary),
            *lines_of_decisions(summary),
        ]
    )


def lines_of_particles(summary: Summary) -> list[str]:
    """How particles moved, how sure they are, and how many are left out."""
    lines = []
    if summary.motion is not None:
        lines.append(
            f"{100 * summary.motion.moved:.1f} % of the particles changed map; the others' view changed by "
            f"{summary.motion.view_change:.1f}°, their shift by {summary.motion.shift_change:.1f} Å (medians)"
        )
    if summary.posteriors:
        lines.append(
            f"a particle hesitates between {summary.maps_per_particle:.2f} maps and "
            f"{summary.projections_per_particle:.1f} projections (means)"
        )
        lines += nothing_separates(summary)
    else:
        counts = enumerate(summary.class_averages, 1)
        lines.append(
            "class averages: " + ", ".join(f"{used} in map {m} ({left} left out)" for m, (used, left) in counts)
        )
    if summary.outliers or summary.doubtful:
        lines.append(f"{summary.outliers} particles that no map explains are left out, {summary.doubtful} count less")
    return lines


def warnings_of_maps(summary: Summary) -> list[str]:
    """Uneven views, half-maps without particles, empty maps, and maps that agree."""
    uneven = [
        f"warning: the views of map {m} leave {100 * (1 - covered):.0f} % of the directions of Fourier space empty: "
        "its resolution will differ by direction"
        for m, (covered, share) in enumerate(zip(summary.coverage, summary.hard), 1)
        if covered < LEAST_COVERAGE and share * summary.particles >= FEW_PARTICLES
    ]
    lone = [
        f"warning: no particle of half {half + 1} is in map {m + 1}: its resolution is not known, since half-maps "
        "cannot be compared"
        for m, half in summary.lone_halves
    ]
    empty = [f"warning: map {m + 1} has hardly any particles: {EMPTY[action]}" for m, action in summary.empty]
    same = [f"warning: maps {a + 1} and {b + 1} are the same within noise" for a, b in summary.same]
    return [*uneven, *lone, *empty, *same]


def lines_of_decisions(summary: Summary) -> list[str]:
    """Merges and splits, the change to finer rings, and the end."""
    lines = []
    coarse = summary.coarse
    if coarse is not None and coarse.trial == "begins":
        lines.append(
            f"trial: map {coarse.split + 1} is split in two, in place of map {coarse.freed + 1}, the smaller one of "
            "the two most alike"
        )
    elif coarse is not None and coarse.trial == "kept":
        lines.append("trial: the particles are more likely than before it, it is kept")
    elif coarse is not None and coarse.trial == "undone":
        lines.append("trial: the particles were more likely before it, the maps from then are taken up again")
    if coarse is not None and not coarse.continues:
        lines.append("the maps have separated on coarse features: finer rings from now on")
    return [*lines, *(["stopping: " + summary.stopped] if summary.stopped else [])]
