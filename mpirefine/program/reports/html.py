"""report.html: one page with all figures inside, which rank 0 writes again as the run goes on."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.maths.fourier.fsc import resolution_at
from mpirefine.maths.fourier.half_maps import HALF_MAP_FSC
from mpirefine.program.reports.terminal import ENOUGH_POWER
from mpirefine.steps.state import State
from mpirefine.steps.summary import Summary
from mpirefine.storage.atomic import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name("report.html.j2")
FULL_SIZE_COLUMNS = 4  # maps in a row
HALF_MAP_CURVES = {  # name of a curve -> what it is called
    "half_fsc_unmasked": "unmasked",
    "half_fsc_masked": "masked",
    "half_fsc_randomised": "phases randomised",
    "half_fsc": "corrected",
}
GREY_RANGE = (1.0, 99.7)  # percentiles of the density of all maps that slices show as black and as white


@dataclass(frozen=True)
class RunFacts:
    """What stays the same over a run: its title, the options, and the automatic values in words."""

    title: str
    options: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FullSizeCurves:
    """FSC curves (k,) by name of the half-maps of each map at the particles' own size, on `grid`."""

    grid: Grid
    of_maps: Sequence[Mapping[str, np.ndarray]]


def write_page(
    folder: Path,
    state: State,
    grid: Grid,
    about: RunFacts,
    timing: Sequence[dict[str, Any]],
    differences: Sequence[Sequence[str]] = (),
    full: FullSizeCurves | None = None,
) -> None:
    """On rank 0. Write report.html.

    `timing` holds the iterations of the clock, `differences` the rows of `terminal.difference_rows`; `full` is of the
    full-size maps, if there are any. OSError when the disk is full.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        about=about,
        iteration=state.iteration,
        summary=state.summary,
        maps=range(len(state.root_volumes)),
        history=list(enumerate(state.history, 1)),
        differences=differences,
        enough_power=ENOUGH_POWER,
        pictures=draw_pictures(state, grid, full),
        full=full,
        timing=timing[-1] if timing else None,
    )
    write_text(folder / "report.html", text)


def draw_pictures(state: State, grid: Grid, full: FullSizeCurves | None) -> dict[str, str]:
    """All figures, by name, as data URLs."""
    figures = {
        "slices": as_url(draw_slices(state.root_volumes)),
        "curves": as_url(draw_curves(state, grid)),
        "progress": as_url(draw_progress(state.history)),
    }
    if full is not None:
        figures["full"] = as_url(draw_full_size_curves(full))
    if state.summary.posteriors:
        figures["certainty"] = as_url(draw_certainty(state.summary.certainty))
    return figures


def as_url(figure: Figure) -> str:
    """A figure as a data URL, which embeds it in the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches; made without pyplot, which needs a display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def draw_slices(volumes: np.ndarray) -> Figure:
    """Draw the central sections of maps (mzyx) across z, y and x (rows) for each map (columns), in one grey scale."""
    models, nx = len(volumes), volumes.shape[-1]
    low, high = np.percentile(volumes, GREY_RANGE)
    look = dict(cmap="gray", vmin=low, vmax=max(high, low + 1e-12), origin="lower", interpolation="bilinear")
    figure = new_figure(min(2.2 * models + 0.4, 16), min(2.2, 16 / models) * 3)
    axes = np.reshape(figure.subplots(3, models), (3, models))
    for m, volume in enumerate(volumes):
        for row, name in enumerate("zyx"):
            axis = axes[row, m]
            axis.imshow(np.take(volume, nx // 2, axis=row), **look)
            axis.set(xticks=[], yticks=[])
            if row == 0:
                axis.set_title(f"map {m + 1}", fontsize=10)
            if m == 0:
                axis.set_ylabel(f"across {name}", fontsize=9)
    return figure


def draw_curves(state: State, grid: Grid) -> Figure:
    """Draw the FSC between half-maps, to the iteration before, and between maps."""
    frequency = np.arange(1, grid.nx // 2 + 1) / grid.length
    figure = new_figure(13, 3.8)
    models = len(state.curves["half_fsc"])
    compared = [(a, b) for a in range(models) for b in range(a + 1, models)]
    panels = [
        ("between half-maps", [(f"map {m + 1}", state.curves["half_fsc"][m]) for m in range(models)]),
        ("to the iteration before", [(f"map {m + 1}", state.curves["previous_fsc"][m]) for m in range(models)]),
        ("between maps", [(f"{a + 1} and {b + 1}", state.curves["between_fsc"][a, b]) for a, b in compared]),
    ]
    for axis, (title, rows) in zip(figure.subplots(1, 3), panels):
        for label, curve in rows:
            axis.plot(frequency, curve[1 : grid.nx // 2 + 1], label=label, linewidth=1.3)
        axis.axvline(1 / min(state.summary.matched_to), color="0.6", linestyle=":", linewidth=1)
        if title == "between half-maps":
            axis.axhline(HALF_MAP_FSC, color="0.6", linewidth=0.8)
        axis.set(title=f"FSC {title}", xlabel="1/Å", ylim=(-0.1, 1.05), xlim=(0, frequency[-1]))
        if rows:
            axis.legend(fontsize="x-small", ncols=1 if len(rows) < 8 else 2)
    return figure


def draw_full_size_curves(full: FullSizeCurves) -> Figure:
    """Draw the FSC of each map's full-size half-maps: unmasked, masked, with random phases, corrected."""
    frequency = np.arange(1, full.grid.nx // 2 + 1) / full.grid.length
    columns = min(len(full.of_maps), FULL_SIZE_COLUMNS)
    rows = -(-len(full.of_maps) // columns)
    figure = new_figure(max(13 / FULL_SIZE_COLUMNS * columns, 5), 3.4 * rows)
    for m, (axis, curves) in enumerate(zip(np.ravel(figure.subplots(rows, columns, squeeze=False)), full.of_maps)):
        for name, label in HALF_MAP_CURVES.items():
            axis.plot(frequency, curves[name][1 : len(frequency) + 1], label=label, linewidth=1.3)
        axis.axhline(HALF_MAP_FSC, color="0.6", linewidth=0.8)
        resolution = resolution_at(curves["half_fsc"], HALF_MAP_FSC, full.grid)
        known = "one half is empty" if np.isnan(resolution) else f"{resolution:.1f} Å"
        axis.set(title=f"map {m + 1}: {known}", xlabel="1/Å", ylim=(-0.1, 1.05), xlim=(0, frequency[-1]))
        axis.legend(fontsize="x-small")
    for axis in figure.axes[len(full.of_maps) :]:
        axis.set_visible(False)
    return figure


def draw_progress(history: Sequence[Summary]) -> Figure:
    """Draw the share and the resolution of each map, and how far particles moved, over iterations."""
    number = np.arange(1, len(history) + 1)
    figure = new_figure(13, 3.4)
    share, resolution, moves = figure.subplots(1, 3)
    for m in range(len(history[0].hard)):
        share.plot(
            number, [100 * summary.hard[m] for summary in history], marker="o", markersize=3, label=f"map {m + 1}"
        )
        resolution.plot(
            number, [summary.resolution[m] for summary in history], marker="o", markersize=3, label=f"map {m + 1}"
        )
    moved = [(i, summary.motion) for i, summary in zip(number, history) if summary.motion is not None]
    moves.plot(
        [i for i, _ in moved],
        [100 * motion.moved for _, motion in moved],
        marker="o",
        markersize=3,
        label="changed map, %",
    )
    moves.plot(
        [i for i, _ in moved],
        [motion.view_change for _, motion in moved],
        marker="s",
        markersize=3,
        label="median change of view, °",
    )
    share.set(title="particles in each map, %", xlabel="iteration", ylim=(0, None))
    resolution.set(title="resolution (half-maps), Å", xlabel="iteration")
    moves.set(title="moves", xlabel="iteration", ylim=(0, None))
    for axis in (share, resolution, moves):
        axis.legend(fontsize="x-small")
        axis.set_xlim(0.5, max(len(history), 2) + 0.5)
        axis.xaxis.get_major_locator().set_params(integer=True)
    return figure


def draw_certainty(counts: Sequence[Sequence[int]]) -> Figure:
    """Draw a histogram of the probability of the particles' own map: `counts` (m, bin)."""
    figure = new_figure(6.5, 3.2)
    axis = figure.subplots()
    edges = np.linspace(0, 1, len(counts[0]) + 1)
    below = np.zeros(len(counts[0]))
    for m, row in enumerate(counts):
        axis.bar(edges[:-1], row, width=edges[1], align="edge", bottom=below, label=f"map {m + 1}")
        below = below + row
    axis.set(title="probability of the particles' own map", xlabel="probability", ylabel="particles", xlim=(0, 1))
    if below.max() > 0:
        axis.set_yscale("symlog", linthresh=max(1.0, below.max() / 100))
    axis.legend(fontsize="x-small")
    return figure
