"""The pixel size of RELION's particle files: from columns, or from the headers of stacks, which must agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mpirefine.errors import Problems
from mpirefine.storage.image_file import StackHeader
from mpirefine.storage.places import shortened
from mpirefine.storage.relion.optics import read_numbers
from mpirefine.storage.star import StarTable

TOLERANCE = 0.01  # relative difference of pixel sizes that are taken for the same
FEW = 0.1  # up to this share of rows a different pixel size is a mistake; more rows are another data set ...
FAR = 3.0  # ... unless it differs by this factor, which is always a mistake
UNSET = 1e-3  # headers this close to 1 Å were never set


def read_pixel_size(
    path: Path,
    particles: StarTable,
    optics: StarTable | None,
    group: np.ndarray,
    headers: Sequence[StackHeader | None],
    problems: Problems,
) -> tuple[float, str]:
    """Å per pixel and where it was read, in words; `group` (p,) is each particle's row of `optics`. After a problem 1
    or NaN.
    """
    found = _from_columns(path, particles, optics, group, problems)
    stacks = [(h.apix, h.path) for h in headers if h is not None and h.apix > 0 and abs(h.apix - 1) > UNSET]
    if found is None and stacks:
        found = stacks[0][0], f"the header of {stacks[0][1]}"
    if found is None:
        problems.add(f"{path}: no pixel size, in columns (_rlnImagePixelSize) or stack headers: give --apix")
        return 1.0, ""
    for apix, stack in stacks if np.isfinite(found[0]) else ():
        if abs(apix / found[0] - 1) > TOLERANCE:
            problems.add(
                f"{stack}: {apix:.4g} Å per pixel, but {path} says {found[0]:.4g}: correct one of them, or decide "
                "with --apix"
            )
            break
    return found


def _from_columns(
    path: Path, particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Problems
) -> tuple[float, str] | None:
    """Pixel size of columns and their names; None where there are no such columns, NaN after a problem."""
    for table, *names in (
        (optics, "rlnImagePixelSize"),
        (particles, "rlnImagePixelSize"),
        (optics, "rlnMicrographPixelSize"),
        (particles, "rlnDetectorPixelSize", "rlnMagnification"),
        (optics, "rlnDetectorPixelSize", "rlnMagnification"),
    ):
        if table is not None and all(name in table for name in names):
            break
    else:
        return None
    rows = np.unique(group) if table is optics else np.arange(len(particles))
    columns = {name: values[rows] for name in names if (values := read_numbers(table, name, problems)) is not None}
    where = f"column{'s' * (len(names) > 1)} {' and '.join(f'_{name}' for name in names)}"
    where += f" of table '{table.name}'" * bool(table.name)
    if len(columns) < len(names):
        return np.nan, where
    with np.errstate(all="ignore"):  # RELION 3.0: detector pixel in µm over magnification
        values = columns[names[0]] * (1e4 / columns[names[1]] if len(names) > 1 else 1)
    good = np.isfinite(values) & (values > 0)
    if not good.any():
        cells = ", ".join(f"column _{name}: {shortened(table.cell(name, int(rows[0])))}" for name in names)
        problems.add_rows(path, rows, f"{cells}: no pixel size: correct it, or give --apix")
        return np.nan, where
    usual = _lower_median(values[good])
    off = np.flatnonzero(~good | ~(np.abs(values / usual - 1) <= TOLERANCE))
    if len(off):
        _add_difference(path, table, columns, values, rows, off, problems)
        return np.nan, where
    return usual, where


def _lower_median(values: np.ndarray) -> float:
    """The median, or the lower of both middle values."""
    return float(np.sort(values)[(len(values) - 1) // 2])


def _add_difference(
    path: Path,
    table: StarTable,
    columns: Mapping[str, np.ndarray],
    values: np.ndarray,
    rows: np.ndarray,
    off: np.ndarray,
    problems: Problems,
) -> None:
    """A problem about pixel sizes that differ: the rows `off` that cannot be right, or the different sizes."""
    usual = _lower_median(values[np.isfinite(values) & (values > 0)])
    with np.errstate(all="ignore"):
        far = ~(np.abs(np.log(values[off] / usual)) < np.log(FAR))
    if not far.any() and len(off) > FEW * len(rows):
        different = zip(*np.unique(np.round(values, 5), return_index=True))
        sizes = ", ".join([f"{size:g} (row {rows[at] + 1})" for size, at in different][:4])
        problems.add(
            f"{path}: table '{table.name}': pixel sizes {sizes} Å differ: particles must be brought to one pixel size "
            "first"
        )
        return
    row = off[np.argmax(far)]
    name, others = _farthest_column(columns, row)
    problems.add_rows(
        path,
        rows[off],
        f"column _{name}{' of table optics' * (table.name == 'optics')}: {columns[name][row]:g}, where others have "
        f"{others:g}: {values[row]:g} Å per pixel, not {usual:g}: correct or leave out such rows",
    )


def _farthest_column(columns: Mapping[str, np.ndarray], row: int) -> tuple[str, float]:
    """The column in which a row differs most from the others, by ratio, and what the others have."""
    usual = {name: _lower_median(cells[cells > 0]) if (cells > 0).any() else 0.0 for name, cells in columns.items()}
    with np.errstate(all="ignore"):
        ratio = {name: np.abs(np.log(cells[row] / usual[name])) for name, cells in columns.items()}
    name = max(ratio, key=lambda column: ratio[column] if np.isfinite(ratio[column]) else np.inf)
    return name, usual[name]
