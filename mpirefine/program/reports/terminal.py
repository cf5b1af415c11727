"""The text about each iteration, for the terminal and the log."""

from __future__ import annotations

from collections.abc import Sequence

from mpirefine.maths.likelihood.held_out_test import SIGNIFICANT
from mpirefine.program.logs import table
from mpirefine.steps.state import Difference
from mpirefine.steps.summary import Summary

EMPTY = {"reseed": "replaced by a seed of the largest map", "freeze": "kept as it was", "drop": "left out from now on"}
HESITATION = 0.97  # share of all other maps that the mean particle is undecided about, above which the user is warned
SUSPECT = 0.05  # p-values below it do not speak for one state either
ENOUGH_POWER = 0.9  # power of the test from which a high p-value means one state
LEAST_COVERAGE = 0.8  # covered share of the directions of Fourier space below which the user is warned
FEW_PARTICLES = 100  # particles from which on a map gets this warning


def decide_difference(pair: Difference, compared: int) -> str:
    """The verdict whether two maps are different states, in words.

    Significance is corrected for the number of pairs that are compared (Bonferroni). "No sign" requires a test with
    enough power to find two states.
    """
    if pair.p is None:
        return "cannot tell, too few held-out particles: raise --held-out"
    if pair.p * compared < SIGNIFICANT:
        return "different states"
    if pair.p < SUSPECT or pair.power is None or pair.power < ENOUGH_POWER:
        return (
            f"cannot tell from {pair.particles} held-out particles (power {percent(pair.power)}): raise "
            "--held-out or add particles"
        )
    return "no sign of two states: take the maps as one"


def percent(share: float | None) -> str:
    """A share in percent; a dash for None."""
    return "-" if share is None else f"{100 * share:.0f} %"


def difference_rows(differences: Sequence[Difference]) -> list[list[str]]:
    """Table cells, a row for each pair of maps."""
    return [
        [
            f"{pair.a + 1} and {pair.b + 1}",
            "-" if pair.p is None else "< 0.001" if pair.p < 1e-3 else f"{pair.p:.3f}",
            str(pair.particles),
            percent(pair.power),
            decide_difference(pair, len(differences)),
        ]
        for pair in differences
    ]


def difference_table(differences: Sequence[Difference]) -> str:
    """The table of all pairs of maps, for the terminal."""
    names = ["maps", "p-value", "particles", "power", "verdict"]
    title = "Are the maps different states? Tested with particles that no map was made from:\n"
    return title + table(names, difference_rows(differences))


def nothing_separates(summary: Summary) -> list[str]:
    """A warning when nearly every particle is undecided between all maps that take part."""
    maps = sum(share > 0 for share in summary.soft)
    if maps < 2 or summary.maps_per_particle < 1 + HESITATION * (maps - 1):
        return []
    why = (
        "later iterations with finer rings may change that"
        if summary.coarse.continues
        else "check that the maps belong to these particles, differ, and have the same sign of contrast (--invert)"
    )
    return [
        f"warning: nothing separates the maps: nearly every particle is undecided between all {maps} of them; {why}"
    ]


def iteration_table(summary: Summary, number: int, last: int, seconds: float) -> str:
    """The table of maps, and lines about moved particles, warnings and decisions."""
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
            *lines_of_helices(summary),
            *warnings_of_maps(summary),
            *lines_of_decisions(summary),
        ]
    )


def lines_of_particles(summary: Summary) -> list[str]:
    """Lines about how far particles moved, how certain their maps are, and how many are left out."""
    lines = []
    if summary.motion is not None:
        lines.append(
            f"{100 * summary.motion.moved:.1f} % of the particles changed map; for all others the view changed by "
            f"{summary.motion.view_change:.1f}°, the shift by {summary.motion.shift_change:.1f} Å (medians)"
        )
    if summary.posteriors:
        lines.append(
            f"a particle is spread over {summary.maps_per_particle:.2f} maps and "
            f"{summary.projections_per_particle:.1f} projections (means)"
        )
        lines += nothing_separates(summary)
    else:
        counts = enumerate(summary.class_averages, 1)
        lines.append(
            "class averages: " + ", ".join(f"{used} in map {m} ({left} left out)" for m, (used, left) in counts)
        )
    if summary.outliers or summary.doubtful:
        lines.append(
            f"{summary.outliers} particles that fit no map are left out, {summary.doubtful} have a weight below 1"
        )
    return lines


def lines_of_helices(summary: Summary) -> list[str]:
    """Lines about twist and rise, with --helical-search."""
    return [
        f"map {found.model + 1}: twist {found.twist:.3f}°, rise {found.rise:.4g} Å (agrees with its copies along the "
        f"helix by {found.agreement:.2f})"
        for found in summary.helices
    ]


def warnings_of_maps(summary: Summary) -> list[str]:
    """Warnings of uneven views, half-maps without particles, empty maps, and maps that are the same."""
    uneven = [
        f"warning: the views of map {m} leave {100 * (1 - covered):.0f} % of the directions of Fourier space empty: "
        "its resolution will depend on direction"
        for m, (covered, share) in enumerate(zip(summary.coverage, summary.hard), 1)
        if covered < LEAST_COVERAGE and share * summary.particles >= FEW_PARTICLES
    ]
    lone = [
        f"warning: no particle of half {half + 1} is in map {m + 1}: its resolution is not known without a second "
        "half-map"
        for m, half in summary.lone_halves
    ]
    empty = [f"warning: map {m + 1} has hardly any particles: {EMPTY[action]}" for m, action in summary.empty]
    same = [f"warning: maps {a + 1} and {b + 1} are the same within noise" for a, b in summary.same]
    return [*uneven, *lone, *empty, *same]


def lines_of_decisions(summary: Summary) -> list[str]:
    """Lines about merges and splits, the change to finer rings, and the end."""
    lines = []
    coarse = summary.coarse
    if coarse.trial == "begins":
        lines.append(
            f"trial: map {coarse.split + 1} is split in two and replaces map {coarse.freed + 1}, the smaller of the "
            "two most similar maps"
        )
    elif coarse.trial == "kept":
        lines.append("trial: the likelihood has risen, the split is kept")
    elif coarse.trial == "undone":
        lines.append("trial: the likelihood has fallen, the maps from before are restored")
    if coarse.stage == "last":
        lines.append("the maps have separated on coarse features: matching uses finer rings from now on")
    return [*lines, *(["stopping: " + summary.stopped] if summary.stopped else [])]
