"""What the terminal and the log say of each iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mpirefine.maths.likelihood.held_out_test import SIGNIFICANT
from mpirefine.program.logs import table
from mpirefine.steps.likelihood.held_out_test import Difference

EMPTY = {"reseed": "made anew from the largest map", "freeze": "kept as it was", "drop": "left out from now on"}

COLUMNS = ("soft", "hard", "matched_to", "resolution", "coverage")
HESITATION = 0.97  # of all maps that a particle hesitates between, in the mean, from which on nothing separates them
SUSPECT = 0.05  # a p-value below it is no sign of one state either
ENOUGH_POWER = 0.9  # of the test, before its silence means anything
LEAST_COVERAGE, FEW_PARTICLES = (
    0.8,
    100,
)  # a warning below this share of directions, where there are enough particles to tell


def verdict(pair: Difference, pairs: int) -> str:
    """Is the split real? Significance is corrected for the number of pairs (Bonferroni); "no sign" only where states
    would have been found.
    """
    if pair.p is None:
        return "too few held-out particles to tell: raise --held-out"
    if pair.p * pairs < SIGNIFICANT:
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


def by_likelihood(summary: dict[str, Any]) -> bool:
    """Whether particles have probabilities; where they are assigned by score and averaged in classes they have none."""
    return "class_averages" not in summary


def nothing_separates(summary: dict[str, Any]) -> list[str]:
    """A warning when nearly every particle hesitates between all maps that take part."""
    maps = sum(share > 0 for share in summary["soft"])
    if maps < 2 or summary["classes_per_particle"] < 1 + HESITATION * (maps - 1):
        return []
    why = (
        "finer iterations may change that"
        if summary.get("coarse")
        else "are the maps those of these particles, are they different, is the contrast's sign the same (--invert)?"
    )
    return [f"warning: nothing separates the maps: nearly every particle hesitates between all {maps} of them; {why}"]


def iteration_table(summary: dict[str, Any], number: int, last: int, seconds: float) -> str:
    """Map, share soft and hard, particles, resolution; below it what moved."""
    rows = [
        [
            f"{m + 1}",
            f"{100 * soft:.1f} %",
            f"{100 * hard:.1f} %",
            f"{round(hard * summary['particles'])}",
            f"{matched:.1f} Å",
            "-" if resolution != resolution else f"{resolution:.1f} Å",
            f"{100 * covered:.0f} %",
        ]
        for m, (soft, hard, matched, resolution, covered) in enumerate(zip(*(summary[name] for name in COLUMNS)))
    ]
    lines = [
        f"Iteration {number} of {last}, {seconds:.0f} s",
        table(["map", "share (soft)", "share (hard)", "particles", "matched to", "resolution", "directions"], rows),
    ]
    if "moved" in summary:
        lines.append(
            f"{100 * summary['moved']:.1f} % of the particles changed map; the others' view changed by "
            f"{summary['view_change']:.1f}°, "
            f"their shift by {summary['shift_change']:.1f} Å (medians)"
        )
    if by_likelihood(summary):
        lines.append(
            f"a particle hesitates between {summary['classes_per_particle']:.2f} maps and "
            f"{summary['projections_per_particle']:.1f} "
            "projections (means)"
        )
        lines += nothing_separates(summary)
    else:
        counts = enumerate(summary["class_averages"], 1)
        lines.append(
            "class averages: " + ", ".join(f"{used} in map {m} ({left} left out)" for m, (used, left) in counts)
        )
    if summary.get("outliers") or summary.get("doubtful"):
        lines.append(
            f"{summary['outliers']} particles that no map explains are left out, {summary['doubtful']} count less"
        )
    for m, covered in enumerate(summary["coverage"]):
        if covered < LEAST_COVERAGE and summary["hard"][m] * summary["particles"] >= FEW_PARTICLES:
            lines.append(
                f"warning: the views of map {m + 1} leave {100 * (1 - covered):.0f} % of the directions of Fourier "
                "space empty: "
                "its resolution will differ by direction"
            )
    for m, half in summary.get("one_half", ()):
        lines.append(
            f"warning: no particle of half {half + 1} is in map {m + 1}: its resolution is not known, since "
            "half-maps cannot be compared"
        )
    for m, action in summary["empty"]:
        lines.append(f"warning: map {m + 1} has hardly any particles: {EMPTY[action]}")
    for a, b in summary["same"]:
        lines.append(f"warning: maps {a + 1} and {b + 1} are the same within noise")
    if summary.get("trial"):
        freed, split = (m + 1 for m in summary["exchange"])
        lines.append(
            f"trial: map {split} is split in two, in place of map {freed}, the smaller one of the two most alike"
        )
    if "kept" in summary:
        lines.append(
            "trial: the particles are more likely than before it, it is kept"
            if summary["kept"]
            else "trial: the particles were more likely before it, the maps from then are taken up again"
        )
    if summary.get("coarse") is False:
        lines.append("the maps have separated on coarse features: finer rings from now on")
    if "stopped" in summary:
        lines.append("stopping: " + summary["stopped"])
    return "\n".join(lines)
